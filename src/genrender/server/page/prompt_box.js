// A text field that underlines words the model does not know, and suggests the ones it does.

import { el, field, fill, later, newId } from "./dom.js";

// Who has not typed for so long has written the word.
const SETTLED_MS = 1200;

/**
 * A text area with a label.
 *
 * @param {object} given label, about, value, rows, placeholder, onInput(text)
 * @returns an element with `setVocabulary(vocabulary)`, `setText(text)`, `addWord(word)` and `textarea`
 */
export function promptBox({ label, about = null, value = "", rows = 2, placeholder = "", onInput }) {
  const mirror = el("div", { class: "prompt-mirror", "aria-hidden": "true" });
  const textarea = el("textarea", {
    rows,
    placeholder,
    value,
    spellcheck: false,
    autocomplete: "off",
    maxLength: 4000,
  });
  const told = el("p", { class: "small prompt-told", "aria-live": "polite" });
  const suggestions = el("div", {
    class: "suggestions",
    role: "listbox",
    id: newId("words"),
    hidden: true,
    "aria-label": "Words that the model knows",
  });
  const whole = field(label, textarea, about);
  const layer = el("div", { class: "prompt-layer" }, suggestions);
  textarea.replaceWith(layer);
  layer.prepend(mirror, textarea);
  whole.append(told);
  textarea.setAttribute("aria-controls", suggestions.id);
  textarea.setAttribute("aria-autocomplete", "list");

  let vocabulary = null;
  let chosen = -1;
  let isWriting = false;

  /** Whether the cursor is at the end of a word that is still being written, and not judged yet. */
  const isBeingWritten = ({ end }) =>
    isWriting && document.activeElement === textarea && textarea.selectionStart === end;

  function paint() {
    const text = textarea.value;
    const unknown = (vocabulary?.unknown(text) ?? []).filter((found) => !isBeingWritten(found));
    const parts = [];
    let at = 0;
    for (const { word, start, end } of unknown) {
      parts.push(text.slice(at, start), el("span", { class: "unknown" }, word));
      at = end;
    }
    // A line break at the end has no height of its own.
    fill(mirror, ...parts, `${text.slice(at)}\u200b`);
    mirror.scrollTop = textarea.scrollTop;
    tell(unknown);
  }

  function tell(unknown) {
    const words = new Map(unknown.map(({ word, suggestion }) => [word.toLowerCase(), suggestion]));
    const said = JSON.stringify([...words]);
    if (told.dataset.said === said) return;
    told.dataset.said = said;
    fill(
      told,
      words.size > 0 && "The model does not know: ",
      [...words].map(([word, suggestion], i) => [
        i > 0 && ", ",
        el("span", { class: "care" }, word),
        suggestion && [
          " ",
          el(
            "button",
            { type: "button", class: "word", onClick: () => replace(word, suggestion) },
            `try ${suggestion}`,
          ),
        ],
      ]),
    );
  }

  function replace(word, by) {
    const sign = word.replace(/[^\p{L}\p{N}]/gu, "\\$&");
    textarea.value = textarea.value.replace(
      new RegExp(`(?<![\\p{L}\\p{N}])${sign}(?![\\p{L}\\p{N}])`, "giu"),
      by,
    );
    changed();
    suggestions.hidden = true;
  }

  const learn = later(async () => {
    const own = vocabulary;
    try {
      if (await own?.learn(textarea.value)) paint();
    } catch {
      // Underlining is a help; what is wrong with the server the check below the page tells.
    }
  }, 200);

  /** The word that the cursor is at the end of. */
  function begun() {
    const end = textarea.selectionStart;
    if (end !== textarea.selectionEnd) return null;
    const before = textarea.value.slice(0, end).match(/\p{L}+$/u);
    const after = textarea.value.slice(end).match(/^\p{L}/u);
    return before && !after ? { start: end - before[0].length, end, text: before[0].toLowerCase() } : null;
  }

  function suggest() {
    const word = begun();
    const fits = (word && vocabulary?.beginning(word.text)) || [];
    chosen = -1;
    suggestions.hidden = fits.length === 0;
    textarea.removeAttribute("aria-activedescendant");
    fill(
      suggestions,
      fits.map((text) =>
        el(
          "div",
          {
            role: "option",
            id: newId("word"),
            "aria-selected": "false",
            onPointerdown: (event) => {
              event.preventDefault();
              take(text);
            },
          },
          text,
        ),
      ),
    );
  }

  function choose(step) {
    const options = [...suggestions.children];
    chosen = (chosen + step + options.length) % options.length;
    options.forEach((option, i) => option.setAttribute("aria-selected", String(i === chosen)));
    textarea.setAttribute("aria-activedescendant", options[chosen].id);
  }

  function take(text) {
    const word = begun();
    if (!word) return;
    textarea.setRangeText(`${text} `, word.start, word.end, "end");
    changed();
    suggestions.hidden = true;
  }

  const settle = later(() => {
    isWriting = false;
    paint();
  }, SETTLED_MS);

  function changed() {
    isWriting = true;
    settle();
    paint();
    suggest();
    learn();
    onInput(textarea.value);
  }

  textarea.addEventListener("input", changed);
  textarea.addEventListener("scroll", () => {
    mirror.scrollTop = textarea.scrollTop;
  });
  textarea.addEventListener("blur", () => {
    suggestions.hidden = true;
    paint();
  });
  textarea.addEventListener("keydown", (event) => {
    if (suggestions.hidden || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp")
      choose(event.key === "ArrowDown" ? 1 : chosen < 0 ? 0 : -1);
    else if (event.key === "Enter" && chosen >= 0) take(suggestions.children[chosen].textContent);
    else if (event.key === "Escape") suggestions.hidden = true;
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  whole.textarea = textarea;
  whole.setVocabulary = (own) => {
    vocabulary = own;
    paint();
    learn();
  };
  whole.setText = (text) => {
    if (textarea.value !== text) {
      textarea.value = text;
      paint();
      learn();
    }
  };
  /** Adds a word behind the text, as a button with that word does. */
  whole.addWord = (word) => {
    const gap = textarea.value && !/\s$/.test(textarea.value) ? " " : "";
    textarea.value += `${gap}${word}`;
    changed();
    suggestions.hidden = true;
  };
  paint();
  return whole;
}
