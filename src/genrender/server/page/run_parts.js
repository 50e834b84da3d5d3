// Parts of a run that several pages show: its name, its facts, its settings.

import { api } from "./api.js";
import { titleOfCamera } from "./camera_move.js";
import { draft } from "./draft.js";
import { el, fill, newId } from "./dom.js";
import { busy, complain } from "./notices.js";
import { runs } from "./runs.js";
import { titleOf } from "./settings_form.js";
import { ago, count } from "./wording.js";

export const nameOf = (run) => run.name || run.prompt || run.id;

/**
 * A button that opens the page to work in with a run's scene and settings.
 *
 * @param {object} run
 * @param {{label?: string, about?: string, change?: (found: object) => object}} given other words than its own, and
 *   what becomes of what was found
 */
export function settingsButton(
  run,
  {
    label = "Change its settings",
    about = "Opens the page with everything as it was here",
    change = (found) => found,
  } = {},
) {
  async function open() {
    try {
      draft.replace(change(await api.settingsOf(run.id)));
      location.hash = "#make";
    } catch (error) {
      complain(error);
    }
  }
  return el("button", { type: "button", title: about, onClick: open }, label);
}

/** The run's name, which a click lets one change. */
export function runTitle(run) {
  const place = el("div", { class: "run-title" });
  function rest(now) {
    fill(
      place,
      el("h1", { class: "wrap-any" }, nameOf(now)),
      el("button", { type: "button", class: "link small", onClick: () => edit(now) }, "Rename"),
    );
  }
  function edit(now) {
    const name = el("input", { value: nameOf(now), maxLength: 200, "aria-label": "Name" });
    const keep = el("button", { class: "main" }, "Keep");
    const form = el(
      "form",
      {
        class: "row",
        onSubmit: (event) => {
          event.preventDefault();
          busy(keep, "Keeping…", async () => rest(runs.note(await api.name(now.id, name.value.trim()))));
        },
      },
      name,
      keep,
      el("button", { type: "button", onClick: () => rest(now) }, "Cancel"),
    );
    fill(place, form);
    name.select();
  }
  rest(run);
  return place;
}

const shown = (name, value) =>
  (name === "camera" && titleOfCamera(value)) ||
  (Array.isArray(value) ? value.join("\n") : value === true ? "yes" : String(value));

/** What was asked for, as names and values. */
export function factsOf(run) {
  const rows = [
    run.name && run.name !== run.prompt && ["Prompt", run.prompt],
    run.negative_prompt && ["Negative prompt", run.negative_prompt],
    ["Scene", run.scene?.name ?? "gone"],
    run.n_frames && ["Frames", `${run.n_frames} at ${run.fps} per second, ${run.width} × ${run.height}`],
    [
      "Model",
      [run.model, run.steps && count(run.steps, "step"), `seed ${run.seed}`].filter(Boolean).join(", "),
    ],
    run.created && ["Asked for", ago(run.created)],
  ].filter(Boolean);
  const told = new Set(["prompt", "negative_prompt", "model", "seed", "frames", "fps", "size", "steps"]);
  const others = Object.entries(run.changed ?? {}).filter(([name]) => !told.has(name));
  const id = newId("facts");
  return el(
    "section",
    { class: "facts", "aria-labelledby": id },
    el("h2", { id, class: "unseen" }, "What was asked for"),
    el(
      "dl",
      { class: "small" },
      [...rows, ...others.map(([name, value]) => [titleOf(name), shown(name, value)])].map(([name, value]) =>
        el("div", {}, el("dt", { class: "quiet" }, name), el("dd", { class: "wrap-any" }, value)),
      ),
    ),
  );
}
