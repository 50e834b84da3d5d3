// All other settings, folded away by what they are about, each with one line of explanation.

import { api } from "./api.js";
import { el, field, fill } from "./dom.js";
import { draft } from "./draft.js";
import { kindBoxes, upscaleField } from "./extras.js";
import { busy, notice } from "./notices.js";
import { folded, settingField } from "./settings_form.js";
import { list } from "./wording.js";

// These have a place of their own on the page.
const ELSEWHERE = new Set([
  "prompt",
  "negative_prompt",
  "prompt_for",
  "preset",
  "seed",
  "model",
  "frames",
  "size",
  "camera",
  "animation",
  "backdrop",
  "loop",
  "repeat",
  "steps",
  "merge",
  "ignore",
  "appearance_from",
]);

// Groups by the names that the server gives them.
const TITLES = {
  moments: "Moments",
  content: "The scene",
  objects: "What an object is",
  looks: "Prompts over time",
  adapters: "LoRA, reference picture, control",
  sampling: "Sampling",
  networks: "Where it computes",
  consistency: "How frames agree",
  rival: "Other methods",
  extras: "For compositing",
};

/** Reference pictures: chosen, sent at once, and named by what the server calls them. */
function pictureField(setting) {
  const input = el("input", {
    type: "file",
    accept: "image/*",
    "aria-label": "Reference picture files",
    multiple: true,
    class: "unseen",
    tabIndex: -1,
  });
  const list = el("ul", { class: "small" });
  const button = el("button", { type: "button", onClick: () => input.click() }, "Choose a picture…");
  input.addEventListener("change", () =>
    busy(button, "Sending…", async () => {
      for (const file of input.files) {
        const { id, name } = await api.uploadPicture(file);
        names.set(id, name);
        draft.set({ [setting.name]: [...draft.get(setting.name, []), id] });
      }
      input.value = "";
      show();
    }),
  );
  const names = new Map();
  function show() {
    fill(
      list,
      draft.get(setting.name, []).map((id) =>
        el(
          "li",
          { class: "row between" },
          el("span", { class: "one-line" }, names.get(id) ?? id),
          el(
            "button",
            {
              type: "button",
              class: "link",
              onClick: () => {
                draft.set({ [setting.name]: draft.get(setting.name).filter((other) => other !== id) });
                show();
              },
            },
            "Remove",
          ),
        ),
      ),
    );
  }
  const whole = field("Reference picture", button, "What it shall look like; an IP-Adapter reads it.");
  whole.append(list, input);
  whole.show = show;
  show();
  return whole;
}

/** Where one look is taken over from another run. */
function lookField() {
  const told = el("p", { class: "row between small look" });
  told.show = () => {
    const run = draft.get("appearance_from");
    told.hidden = run === null;
    fill(
      told,
      el("span", { class: "one-line" }, `With the look of ${run}`),
      el(
        "button",
        { type: "button", class: "link", onClick: () => draft.set({ appearance_from: null }) },
        "Without it",
      ),
    );
  };
  told.show();
  return told;
}

/** Everything but the scene and the prompt as it was at first. */
function asUsual() {
  const before = draft.asked();
  draft.replace({ scene: before.scene, settings: { prompt: before.settings.prompt } });
  notice("All settings are as usual again.", { action: ["Undo", () => draft.replace(before)] });
}

/** Files for compositors, which are made when the video is done. */
function alsoField(setting) {
  const boxes = kindBoxes([], (chosen) => draft.set({ [setting.name]: chosen.join(",") }));
  boxes.show = () => boxes.choose(draft.get(setting.name, "").split(","));
  boxes.show();
  return boxes;
}

/** A setting's field, of its own kind where it has one; null where nothing can be chosen. */
function fieldOf(setting, sources) {
  if (setting.name === "ip_image") return pictureField(setting);
  if (setting.name === "also") return alsoField(setting);
  if (setting.name !== "upscale") return settingField(setting);
  const larger = upscaleField(sources, draft.get("upscale"), (name) => draft.set({ upscale: name }));
  if (larger === null) return null;
  const { show } = larger;
  larger.show = () => show(draft.get("upscale"));
  return larger;
}

/** What may be named; a page names no files of the server by itself. */
function aboutSources(sources) {
  return sources.length
    ? `What is added to the model. This server knows ${list(sources)}.`
    : "What is added to the model. This server knows no files for it; begin it with `--source FILE`, and they can be named here.";
}

function aboutGroup({ name, title }, sources) {
  if (name === "adapters") return aboutSources(sources);
  if (name === "extras") return "Files that are made beside the video; a finished one can get them as well.";
  return TITLES[name] ? title : null;
}

/**
 * @param {object} known what the server told at the start: groups of settings, schedulers, sources
 */
export function morePanel({ groups, schedulers, sources }) {
  const look = lookField();
  const folds = [];
  for (const group of groups) {
    const settings = group.settings.filter((setting) => !ELSEWHERE.has(setting.name));
    if (settings.length === 0) continue;
    const described = settings.map((setting) =>
      setting.name === "scheduler" && schedulers.length
        ? { ...setting, kind: "choice", choices: schedulers }
        : setting,
    );
    const fields = described.map((setting) => fieldOf(setting, sources)).filter(Boolean);
    folds.push(
      folded(
        TITLES[group.name] ?? group.title,
        aboutGroup(group, sources),
        fields,
        settings.map((setting) => setting.name),
      ),
    );
  }
  const whole = el(
    "section",
    { class: "card more" },
    el(
      "div",
      { class: "row between" },
      el("h2", {}, "More settings"),
      el("button", { type: "button", class: "link small", onClick: asUsual }, "All as usual"),
    ),
    look,
    folds,
  );
  whole.show = () => [look, ...folds].forEach((one) => one.show());
  return whole;
}
