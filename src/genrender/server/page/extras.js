// What compositors take beside a video: which files a run gets, and those that it has got.

import { api } from "./api.js";
import { choice, el, field, fill, icon } from "./dom.js";
import { busy } from "./notices.js";
import { isActive, runs, shareOf } from "./runs.js";
import { sentence, stateWords, timeWords } from "./wording.js";

const KINDS = [
  ["alpha", "Frames with alpha (PNG)", "alpha.zip"],
  ["exr", "Linear light with alpha (EXR)", "exr.zip"],
  ["mattes", "Mattes of objects (Cryptomatte)", "mattes.zip"],
  ["prores", "Video with alpha (ProRes 4444)", "prores.mov"],
];
const LARGER = [
  ["upscaled.mp4", "Enlarged video (MP4)"],
  ["upscaled.zip", "Enlarged frames (PNG)"],
];

/**
 * Boxes to tick.
 *
 * @param {string[]} chosen names of kinds
 * @param {(chosen: string[]) => void} onChange
 */
export function kindBoxes(chosen, onChange) {
  const boxes = KINDS.map(([name, title]) => {
    const box = el("input", { type: "checkbox", value: name, onChange: () => onChange(whole.chosen()) });
    return el("label", { class: "check" }, box, title);
  });
  const whole = el("fieldset", { class: "kinds small" }, el("legend", { class: "unseen" }, "Files to make"), boxes);
  const inputs = () => [...whole.querySelectorAll("input")];
  whole.chosen = () =>
    inputs()
      .filter((box) => box.checked)
      .map((box) => box.value);
  whole.choose = (names) => inputs().forEach((box) => (box.checked = names.includes(box.value)));
  whole.choose(chosen);
  return whole;
}

/** Networks that the server knows, one of which may enlarge frames; null where there is none. */
export function upscaleField(sources, value, onChange) {
  if (sources.length === 0) return null;
  // Of a path its end says enough.
  const titles = sources.map((name) => [name, `with ${name.split("/").slice(-2).join("/")}`]);
  const options = [["", "no"], ...titles];
  const network = choice(options, value ?? "", (name) => onChange(name || null));
  const whole = field("Enlarge the frames", network);
  whole.show = (name) => (network.value = name ?? "");
  return whole;
}

/**
 * The card of a finished run. It follows the run while files are made.
 *
 * @param {object} run finished
 * @param {string[]} sources that the server knows
 */
export function extrasPanel(run, sources) {
  let upscale = null;
  let before = null;
  const boxes = kindBoxes([], () => showButton());
  const larger = upscaleField(sources, null, (name) => {
    upscale = name;
    showButton();
  });
  const state = el("p", { class: "small", role: "status" });
  const bar = el("progress", { max: 1, "aria-hidden": "true" });
  const wrong = el("p", { class: "wrong small wrap-any", role: "alert" });
  const files = el("div", { class: "downloads" });
  const make = el(
    "button",
    {
      type: "button",
      onClick: async () => {
        await busy(make, "Asking…", async () => {
          runs.note(await api.finish(run.id, { also: boxes.chosen(), upscale }));
          boxes.choose([]);
          upscale = null;
          larger?.show(null);
        });
        showButton();
      },
    },
    "Make these files",
  );
  const stop = el(
    "button",
    { type: "button", onClick: () => busy(stop, "Stopping…", () => api.cancel(run.id)) },
    "Stop",
  );
  const asking = el("div", { class: "asking" }, boxes, larger, make);
  const whole = el(
    "section",
    { class: "card extras" },
    el("h2", {}, "For compositing"),
    files,
    asking,
    el("div", { class: "row between" }, state, stop),
    bar,
    wrong,
  );

  function showButton() {
    make.disabled = boxes.chosen().length === 0 && !upscale;
  }

  whole.update = (now) => {
    const isBusy = isActive(now);
    asking.hidden = isBusy;
    for (const one of [state, stop, bar]) one.hidden = !isBusy;
    state.textContent = isBusy ? [stateWords(now), timeWords(now)].filter(Boolean).join(", ") : "";
    bar.value = shareOf(now);
    wrong.textContent = now.error ? sentence(now.error) : "";
    const made = JSON.stringify(now.also);
    if (made === before) return;
    before = made;
    const link = ([name, title]) =>
      el(
        "a",
        { class: "button", href: api.file(now.id, `also/${name}`), download: "" },
        icon("download"),
        title,
      );
    fill(
      files,
      KINDS.filter(([name]) => now.also.includes(name)).map(([, title, file]) => link([file, title])),
      now.also.includes("upscaled") && LARGER.map(link),
    );
    files.hidden = now.also.length === 0;
  };
  showButton();
  whole.update(run);
  return whole;
}
