// One run: waiting, going on, interrupted, or its result.

import { api } from "./api.js";
import { el, fill, prefersStill } from "./dom.js";
import { Frames } from "./frames.js";
import { busy } from "./notices.js";
import { resultView } from "./result.js";
import { isActive, makeAgain, runs, shareOf } from "./runs.js";
import { factsOf, nameOf, runTitle, settingsButton } from "./run_parts.js";
import { sheetView } from "./sheet.js";
import { transport } from "./transport.js";
import { stateWords, timeWords } from "./wording.js";

/**
 * Shows a run; returns what ends it.
 *
 * @param {string} path ID, or ID/compare/OTHER
 */
export function runPage(main, known, path) {
  const [id, , other] = path.split("/");
  let close = () => {};
  let shown = null;

  function show(run) {
    // A finished run that gets more files is a result all the while.
    const now = viewOf(run);
    if (now !== shown) {
      close();
      shown = now;
      const view = VIEWS[now] ? VIEWS[now](run, other, known.sources) : workView(run);
      fill(main, view);
      close = () => view.close?.();
      document.title = `${nameOf(run)} – genrender`;
      view.update?.(run);
    } else main.firstElementChild.update?.(run);
  }

  fill(main, el("p", { class: "waiting", role: "status" }, "Opening the run…"));
  const stop = runs.follow((run) => run?.id === id && show(run));
  api.run(id).then(
    (run) => runs.note(run),
    (error) =>
      fill(
        main,
        el(
          "div",
          { class: "card narrow", role: "alert" },
          el("h1", {}, "This run cannot be shown"),
          el("p", {}, error.message),
          el("a", { href: "#gallery" }, "All runs"),
        ),
      ),
  );
  return () => {
    stop();
    close();
    document.title = "genrender";
  };
}

const VIEWS = { result: resultView, sheet: sheetView };

/** Which view a run has now. */
function viewOf(run) {
  if (run.has_video && run.state !== "deleted") return "result";
  if (run.seeds && run.state === "finished") return "sheet";
  return isActive(run) ? "active" : run.state;
}

/** What the run has told on its way, for who wants to know. */
function notesOf({ notes }) {
  return (
    notes.length > 0 &&
    el(
      "details",
      { class: "fold" },
      el("summary", {}, `Notes (${notes.length})`),
      notes.map((line) => el("p", { class: "quiet wrap-any" }, line)),
    )
  );
}

/** A run that is no result yet. */
function workView(run) {
  const state = el("p", { class: "state-line" });
  // Steps are for the eye; who listens is told of what changes more seldom.
  const said = el("p", { class: "unseen", role: "status" });
  const time = el("p", { class: "quiet figures time-line" });
  const bar = el("progress", { max: 1, "aria-label": "Progress" });
  const steps = el("div", { class: "steps", "aria-hidden": "true" });
  const buttons = el("div", { class: "row" });
  const told = el("div", { class: "small" });
  const ahead = el("div", {});
  const picture = el("img", {
    class: "live",
    alt: "Frames as the model sees them finished now",
    hidden: true,
  });
  const pictureTold = el("p", { class: "small" });
  const given = givenView(run);
  let preview = null;
  let stateShown = null;

  function update(now) {
    state.textContent = stateWords(now);
    state.classList.toggle("wrong", now.state === "failed");
    time.textContent = timeWords(now) || "\u00a0";
    const { progress } = now;
    const share = shareOf(now);
    bar.hidden = !isActive(now);
    if (now.state === "running" && !progress) bar.removeAttribute("value");
    else bar.value = share;
    showSteps(progress);
    if (now.preview && now.preview !== preview) {
      preview = now.preview;
      picture.src = api.file(now.id, preview);
      picture.hidden = false;
    }
    pictureTold.textContent = preview
      ? ""
      : now.state === "running"
        ? "The first look at the frames comes some seconds into the painting. Below is what the model is given."
        : "Nothing is painted yet.";
    given.begin(now);
    const words = JSON.stringify([now.error, now.warnings, now.notes]);
    if (told.dataset.words !== words)
      fill(
        told,
        now.error && el("p", { class: "wrong wrap-any", role: "alert" }, now.error),
        now.warnings.map((line) => el("p", { class: "care wrap-any" }, line)),
        notesOf(now),
      );
    told.dataset.words = words;
    if (stateShown !== now.state) said.textContent = stateWords(now);
    if (stateShown !== now.state || !isActive(now)) showButtons(now);
    stateShown = now.state;
    const others = runs.active().filter((one) => one.id !== now.id);
    fill(
      ahead,
      others.length > 0 && [
        el("h2", {}, "Also in the queue"),
        el(
          "ul",
          { class: "queue small" },
          others.map((one) =>
            el(
              "li",
              { class: "row between" },
              el("a", { href: `#run/${one.id}`, class: "one-line" }, nameOf(one)),
              el("span", { class: "quiet" }, stateWords(one)),
            ),
          ),
        ),
      ],
    );
  }

  function showSteps(progress) {
    const n = progress?.work === "diffusion" && progress.total <= 60 ? progress.total : 0;
    if (steps.children.length !== n)
      fill(
        steps,
        Array.from({ length: n }, () => el("span")),
      );
    [...steps.children].forEach((one, i) => one.classList.toggle("done", i < progress.done));
    bar.classList.toggle("unseen", n > 0);
  }

  const note = async (asked) => runs.note(await asked);

  function showButtons(now) {
    const act = (words, label, work, main = false) => {
      const button = el(
        "button",
        {
          type: "button",
          class: main ? "main" : "",
          onClick: () => busy(button, words, work),
        },
        label,
      );
      return button;
    };
    fill(
      buttons,
      now.state === "waiting" && act("Taking it out…", "Take it out of the queue", () => note(api.cancel(now.id))),
      now.state === "running" && act("Stopping after this step…", "Stop", () => note(api.cancel(now.id))),
      now.state === "deleted" && act("Bringing it back…", "Bring it back", () => note(api.restore(now.id)), true),
      now.can_resume &&
        act(
          "Asking…",
          now.keeps_steps ? "Go on from the last step" : "Begin it again",
          () => note(api.resume(now.id)),
          true,
        ),
      !isActive(now) &&
        !now.can_resume &&
        act("Asking…", "Make it again", () => makeAgain(now), true),
      !isActive(now) && settingsButton(now),
      now.state === "running" &&
        el("p", { class: "quiet small" }, "What is stopped can go on later, to the same frames."),
    );
  }

  const stop = runs.follow((one) => one && one.id !== run.id && update(runs.get(run.id) ?? run));
  const whole = el(
    "article",
    { class: "run" },
    el("div", { class: "seen" }, el("div", { class: "live-frame" }, picture, pictureTold), given),
    el(
      "div",
      { class: "panels" },
      el(
        "section",
        { class: "card" },
        runTitle(run),
        state,
        said,
        bar,
        steps,
        time,
        buttons,
        factsOf(run),
        told,
      ),
      ahead,
    ),
  );
  // Six frames in a row, with numbers above and words before them.
  if (run.width) whole.style.setProperty("--strip", (5 * run.width) / run.height);
  whole.update = update;
  whole.close = () => {
    stop();
    given.close();
  };
  return whole;
}

/** What the model is given, as soon as it is there: a loop of depth pictures. */
function givenView(run) {
  const canvas = el("canvas", {
    width: run.width ?? 16,
    height: run.height ?? 16,
    role: "img",
    "aria-label": "Depth of the scene, as the model is given it",
  });
  let frames = null;
  let clock = null;
  const whole = el("div", { class: "given" });
  if (run.width) whole.style.setProperty("--shape", run.width / run.height);

  whole.begin = async (now) => {
    if (frames || !now.n_frames || now.state === "waiting") return;
    frames = new Frames((frame) => api.file(now.id, `depth/${frame}.png`), now.n_frames);
    try {
      await frames.get(now.n_frames - 1);
    } catch {
      // Not rendered yet; the next news of the run asks again.
      frames = null;
      return;
    }
    async function show(frame) {
      const bitmap = await frames.get(frame);
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      frames.ahead(frame);
    }
    clock = transport({ n: now.n_frames, fps: now.fps, show });
    fill(whole, el("div", { class: "stage" }, canvas), clock);
    await clock.go(0);
    if (!prefersStill()) clock.play();
  };
  whole.close = () => {
    clock?.pause();
    frames?.close();
  };
  return whole;
}
