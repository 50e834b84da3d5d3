// What the video shows, in words, and how well it is painted.

import { choice, el, field, fill, iconButton, segments } from "./dom.js";
import { draft } from "./draft.js";
import { promptBox } from "./prompt_box.js";
import { otherSeed } from "./runs.js";

// What the presets are for; the numbers come from the server.
const PRESETS = { balanced: "Balanced", fast: "Fast", preview: "Sketch", paper: "Paper" };

/**
 * @param {object} known what the server told at the start
 * @param {HTMLElement} steps the field of the number of steps
 * @returns an element with `setVocabulary(vocabulary)` and `show()`
 */
export function promptPanel(known, steps) {
  const prompt = promptBox({
    label: "Prompt",
    value: draft.get("prompt", ""),
    placeholder: "What the video shows, for instance “a red and white striped biped on a green background”",
    onInput: (text) => draft.set({ prompt: text }),
  });
  prompt.classList.add("main-prompt");
  prompt.textarea.dataset.setting = "prompt";
  const negative = promptBox({
    label: "Not in the picture",
    about: "What the model is steered away from; it works where the guidance is above 1.",
    rows: 1,
    value: draft.get("negative_prompt", ""),
    onInput: (text) => draft.set({ negative_prompt: text }),
  });
  negative.textarea.dataset.setting = "negative_prompt";
  const negativeFold = el(
    "details",
    { class: "fold", open: Boolean(draft.get("negative_prompt")) },
    el("summary", {}, "Negative prompt"),
    negative,
  );
  const words = el("div", { class: "vocabulary" });
  const wordsFold = el("details", { class: "fold" }, el("summary", {}, "Words that the model knows"), words);

  const presets = known.presets.map(({ name }) => [name, PRESETS[name] ?? name]);
  const preset = segments("Preset", presets, draft.get("preset", "balanced"), (name) =>
    draft.set({ preset: name === "balanced" ? null : name }),
  );

  const seed = el("input", { type: "number", step: 1, min: 0, inputMode: "numeric", placeholder: "0" });
  seed.dataset.setting = "seed";
  seed.addEventListener("input", () =>
    draft.set({ seed: seed.value === "" || seed.value === "0" ? null : Number(seed.value) }),
  );
  const dice = iconButton("dice", "Another seed", () => {
    draft.set({ seed: otherSeed() });
    seed.value = draft.get("seed");
  });
  const seedField = field("Seed", seed);
  seedField.append(dice);
  seedField.classList.add("seed-field");
  const model = choice(
    known.models.map((one) => [one.name, one.title ?? one.name]),
    draft.get("model", "pocket"),
    (name) => draft.set({ model: name === "pocket" ? null : name }),
  );
  const modelField = known.models.length > 1 && field("Model", model);

  const whole = el(
    "section",
    { class: "card prompt-card", "aria-label": "Words" },
    prompt,
    el(
      "div",
      { class: "painted" },
      el("div", { class: "field" }, el("span", { class: "label", "aria-hidden": "true" }, "Preset"), preset),
      steps,
      seedField,
      modelField,
    ),
    el("div", { class: "prompt-folds" }, wordsFold, negativeFold),
  );

  whole.setVocabulary = (vocabulary) => {
    prompt.setVocabulary(vocabulary);
    negative.setVocabulary(vocabulary);
    wordsFold.hidden = !vocabulary.groups;
    fill(
      words,
      Object.entries(vocabulary.groups ?? {}).map(([group, some]) =>
        el(
          "div",
          {},
          el("h3", {}, group),
          el(
            "div",
            { class: "words" },
            some.map((word) =>
              el("button", { type: "button", class: "word", onClick: () => prompt.addWord(word) }, word),
            ),
          ),
        ),
      ),
    );
  };
  whole.show = () => {
    if (document.activeElement !== prompt.textarea) prompt.setText(draft.get("prompt", ""));
    if (document.activeElement !== negative.textarea) negative.setText(draft.get("negative_prompt", ""));
    negativeFold.open ||= Boolean(draft.get("negative_prompt"));
    preset.choose(draft.get("preset", "balanced"));
    if (document.activeElement !== seed) seed.value = draft.get("seed") ?? "";
    model.value = draft.get("model", "pocket");
    const own = known.presets.find(({ name }) => name === draft.get("preset", "balanced"));
    steps.control.placeholder = own?.settings.steps ?? "";
    steps.show();
  };
  whole.show();
  return whole;
}
