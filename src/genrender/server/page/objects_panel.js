// The objects of the scene: what each shows, which belong together, and which are left out.

import { draft } from "./draft.js";
import { choice, el, fill } from "./dom.js";
import { broughtBack, leftOut, members, merged, promptFor, separated, withPrompt } from "./object_rules.js";
import { promptBox } from "./prompt_box.js";
import { count } from "./wording.js";

const SHOWN = 40;

/**
 * @param {string[]} fileNames objects as the file has them
 * @param {object} words the model's vocabulary
 * @param {boolean} canDivide whether objects can be joined and left out, which those of EXR passes cannot
 * @returns an element with `setScene(scene)` and `open(name)`
 */
export function objectsPanel(fileNames, words, canDivide) {
  const list = el("ul", { class: "objects" });
  const away = el("div", { class: "small" });
  const head = el("h2", {}, "Objects");
  const hint = el(
    "p",
    { class: "quiet small" },
    canDivide
      ? "Click one in the picture, or open it here, to say what it shows, to join it with another or to leave it out."
      : "Click one in the picture, or open it here, to say what it shows.",
  );
  const whole = el("section", { class: "card" }, head, hint, list, away);
  const rows = new Map();
  let known = words;

  /** What joins an object with others, separates it again, and leaves it out. */
  function divide(name, others) {
    const parts = members(draft.settings, name, fileNames);
    const into = choice(
      [["", "Join with…"], ...others.map((other) => [other, other])],
      "",
      (other) => other && draft.set(merged(draft.settings, name, other, fileNames)),
      { "aria-label": `Join ${name} with another object` },
    );
    const separate = el(
      "button",
      { type: "button", class: "link", onClick: () => draft.set(separated(draft.settings, name)) },
      "Separate them",
    );
    const leave = el(
      "button",
      {
        type: "button",
        disabled: others.length === 0,
        title: others.length ? "" : "It is the only object",
        onClick: () => draft.set(leftOut(draft.settings, name, fileNames)),
      },
      "Leave it out",
    );
    return [
      parts.length > 1 &&
        el("p", { class: "quiet small wrap-any" }, `Made of ${parts.join(", ")}. `, separate),
      el("div", { class: "row" }, others.length > 0 && into, leave),
    ];
  }

  function row(thing, others) {
    const { name } = thing;
    const box = promptBox({
      label: `What “${name}” shows`,
      rows: 1,
      value: promptFor(draft.settings, name),
      placeholder: "as the prompt says",
      onInput: (text) => {
        draft.set(withPrompt(draft.settings, name, text));
        tell();
      },
    });
    box.setVocabulary(known);
    const swatch = el("span", { class: "swatch", "aria-hidden": "true" });
    swatch.hidden = !thing.color;
    swatch.style.background = thing.color ?? "";
    const said = el("span", { class: "quiet small one-line said" });
    const tell = () => {
      said.textContent = promptFor(draft.settings, name);
    };
    tell();
    const details = el(
      "details",
      { name: "object" },
      el(
        "summary",
        {},
        swatch,
        el("span", { class: "one-line name" }, name),
        said,
        thing.triangles !== undefined &&
          el(
            "span",
            { class: "quiet small figures", title: "triangles" },
            thing.triangles.toLocaleString("en"),
          ),
      ),
      el("div", { class: "fields" }, box, canDivide && divide(name, others)),
    );
    rows.set(name, { details, box });
    return el("li", {}, details);
  }

  whole.setScene = (scene) => {
    const opened = [...rows].find(([, { details }]) => details.open)?.[0];
    const things = scene.report.objects ?? [];
    rows.clear();
    const names = things.map((thing) => thing.name);
    head.textContent = `Objects (${things.length})`;
    fill(
      list,
      things.slice(0, SHOWN).map((thing) =>
        row(
          thing,
          names.filter((name) => name !== thing.name),
        ),
      ),
      things.length > SHOWN &&
        el("li", { class: "quiet small" }, `and ${things.length - SHOWN} more; click one in the picture`),
    );
    const out = scene.left_out ?? [];
    fill(
      away,
      out.length > 0 && [
        el("h3", {}, `Left out (${count(out.length, "object")})`),
        el(
          "ul",
          {},
          out.map((name) =>
            el(
              "li",
              { class: "row between" },
              el("span", { class: "one-line" }, name),
              el(
                "button",
                {
                  type: "button",
                  class: "link",
                  onClick: () => draft.set(broughtBack(draft.settings, name)),
                },
                "Bring back",
              ),
            ),
          ),
        ),
      ],
    );
    if (opened) rows.get(opened)?.details.setAttribute("open", "");
  };
  /** Shows an object's row, as a click on it in the picture does. */
  whole.open = (name) => {
    const found = rows.get(name);
    if (!found) return;
    found.details.open = true;
    found.details.scrollIntoView({ block: "nearest", behavior: "smooth" });
    found.box.textarea.focus({ preventScroll: true });
  };
  whole.setVocabulary = (own) => {
    known = own;
    for (const { box } of rows.values()) box.setVocabulary(own);
  };
  return whole;
}
