// A finished run: its video, what it can be compared with, and what can be made from it.

import { advicePanel } from "./advice.js";
import { api } from "./api.js";
import { comparison } from "./compare.js";
import { busy, complain } from "./notices.js";
import { el, field, fill, icon, prefersStill } from "./dom.js";
import { extrasPanel } from "./extras.js";
import { metricsPanel } from "./metrics.js";
import { factsOf, nameOf, runTitle, settingsButton } from "./run_parts.js";
import { makeAgain, otherSeed } from "./runs.js";
import { ago } from "./wording.js";

const PASSES = [
  ["depth", "Depth"],
  ["uv", "Texture coordinates"],
  ["objects", "Objects"],
];
const DOWNLOADS = [
  ["video.mp4", "Video (MP4)"],
  ["frames.zip", "Frames (PNG)"],
  ["exr.zip", "Passes (EXR)"],
  ["config.json", "Settings"],
  ["contact_sheet.png", "Contact sheet"],
  ["run.zip", "Everything (zip)"],
];

const side = (title, run, folder) => ({
  title,
  n: run.n_frames,
  width: run.width,
  height: run.height,
  address: (frame) => api.file(run.id, `${folder}/${frame}.png`),
});

/** The video, which loops and steps by frames with the arrow keys. */
function videoView(run) {
  const video = el("video", {
    src: api.file(run.id, "video.mp4"),
    loop: true,
    muted: true,
    autoplay: !prefersStill(),
    controls: true,
    playsInline: true,
    preload: "auto",
    "aria-label": `Video: ${nameOf(run)}`,
  });
  video.style.setProperty("--shape", run.width / run.height);
  video.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    video.pause();
    const last = Math.round(video.duration * run.fps) - 1;
    const frame = Math.floor(video.currentTime * run.fps + 1e-3) + by;
    // A frame's middle, so that rounding never shows its neighbour.
    video.currentTime = (Math.max(0, Math.min(last, frame)) + 0.5) / run.fps;
  });
  return el("div", { class: "stage" }, video);
}

function actions(run) {
  const again = el(
    "button",
    {
      type: "button",
      class: "main",
      onClick: () =>
        busy(again, "Asking…", () => makeAgain(run, { seed: otherSeed() })),
    },
    icon("dice"),
    "Again with another seed",
  );
  return el(
    "div",
    { class: "actions" },
    again,
    settingsButton(run),
    settingsButton(run, {
      label: "Use this look in another shot",
      about: "Another camera, clip or length; every object keeps its look",
      change: ({ scene, settings }) => ({ scene, settings: { ...settings, appearance_from: run.id } }),
    }),
    settingsButton(run, {
      label: "Same settings, other scene",
      about: "Choose a file; words and settings stay",
      change: ({ settings }) => ({ settings }),
    }),
  );
}

/**
 * @param {object} run finished
 * @param {string|undefined} other id of a run to compare with at once
 * @param {string[]} sources that the server knows
 */
export function resultView(run, other, sources) {
  const place = el("div", { class: "result-stage" });
  const select = el("select", { onChange: () => choose(select.value) });
  let shown = null;
  const others = el("optgroup", { label: "Another run" });
  fill(
    select,
    el("option", { value: "" }, "Nothing: the video"),
    el(
      "optgroup",
      { label: "What it was made from" },
      PASSES.map(([name, title]) => el("option", { value: name }, title)),
    ),
    others,
  );

  async function choose(value) {
    shown?.close?.();
    if (value === "") shown = videoView(run);
    else if (PASSES.some(([name]) => name === value))
      shown = comparison(
        side("Result", run, "frames"),
        side(PASSES.find(([name]) => name === value)[1], run, value),
        run.fps,
      );
    else {
      try {
        const found = await api.run(value);
        shown = comparison(side(nameOf(run), run, "frames"), side(nameOf(found), found, "frames"), run.fps);
      } catch (error) {
        complain(error);
        return;
      }
    }
    fill(place, shown);
  }

  async function listOthers() {
    try {
      const answer = await api.runs({ state: "finished", limit: 50 });
      const found = answer.runs.filter((one) => one.id !== run.id && one.has_video);
      fill(
        others,
        found.map((one) =>
          el("option", { value: one.id }, `${nameOf(one)} · seed ${one.seed} · ${ago(one.created)}`),
        ),
      );
      others.hidden = found.length === 0;
      if (other) {
        if (!found.some((one) => one.id === other)) others.append(el("option", { value: other }, other));
        select.value = other;
      }
    } catch (error) {
      complain(error);
    }
  }

  const downloads = el(
    "section",
    { class: "card" },
    el("h2", {}, "Download"),
    el(
      "div",
      { class: "downloads" },
      DOWNLOADS.map(([name, title]) =>
        el(
          "a",
          { class: "button", href: `${api.file(run.id, name)}?download=1`, download: "" },
          icon("download"),
          title,
        ),
      ),
    ),
  );
  const extras = extrasPanel(run, sources);
  const whole = el(
    "article",
    { class: "run result" },
    el("div", { class: "seen" }, place, el("div", { class: "compare-with" }, field("Compare with", select))),
    el(
      "div",
      { class: "panels" },
      el(
        "section",
        { class: "card" },
        runTitle(run),
        actions(run),
        factsOf(run),
        run.warnings.map((line) => el("p", { class: "care small wrap-any" }, line)),
      ),
      downloads,
      extras,
      advicePanel(run),
      metricsPanel(run),
    ),
  );
  whole.update = extras.update;
  whole.close = () => shown?.close?.();
  choose(other ?? "");
  listOthers();
  return whole;
}
