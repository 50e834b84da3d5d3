// Two sequences of frames, seen at the same moment: one wiped over the other, or side by side.

import { el, segments } from "./dom.js";
import { Frames } from "./frames.js";
import { transport } from "./transport.js";

/**
 * @param {object} left {title, address(frame), n, width, height}
 * @param {object} right likewise
 * @param {number} fps frames per second
 * @param {"wipe"|"beside"} how
 * @returns an element with `close()`
 */
export function comparison(left, right, fps, how = "wipe") {
  const n = Math.min(left.n, right.n);
  const sides = [left, right].map((side) => ({
    ...side,
    frames: new Frames(side.address, n),
    canvas: el("canvas", { width: 1, height: 1 }),
  }));
  const names = sides.map((side) => el("figcaption", { class: "one-line" }, side.title));
  const handle = el("input", {
    type: "range",
    min: 0,
    max: 100,
    step: 1,
    value: 50,
    class: "wipe",
    "aria-label": "How much of the left one is seen",
  });
  const stage = el(
    "div",
    {
      class: "pair",
      tabIndex: 0,
      role: "group",
      "aria-label": "Comparison; arrow keys step, space plays",
      "data-how": how,
    },
    sides.map((side, i) => el("figure", {}, side.canvas, names[i])),
    el("div", { class: "edge", "aria-hidden": "true" }),
  );
  const shape = left.width / left.height;
  stage.style.setProperty("--shape", shape);
  const wrong = el("p", { class: "wrong small", role: "status" });

  function draw(side, bitmap) {
    const { canvas } = side;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.dataset.frame = side.frame;
  }

  /** Both are fetched before either is drawn: at every moment they show the same frame. */
  async function show(frame) {
    try {
      const bitmaps = await Promise.all(sides.map((side) => side.frames.get(frame)));
      sides.forEach((side, i) => {
        side.frame = frame;
        draw(side, bitmaps[i]);
      });
      sides.forEach((side) => side.frames.ahead(frame));
      wrong.textContent = "";
    } catch (error) {
      wrong.textContent = error.message;
    }
  }

  const wipeTo = (percent) => {
    const share = Math.max(0, Math.min(100, percent));
    handle.value = share;
    stage.style.setProperty("--wipe", `${share}%`);
    handle.setAttribute("aria-valuetext", `${Math.round(share)} % of ${left.title}`);
  };
  handle.addEventListener("input", () => wipeTo(Number(handle.value)));
  stage.addEventListener("pointerdown", (event) => {
    if (stage.dataset.how !== "wipe") return;
    stage.setPointerCapture(event.pointerId);
    follow(event);
    stage.addEventListener("pointermove", follow);
    // However the drag ends, also where the browser takes it away.
    stage.addEventListener("lostpointercapture", () => stage.removeEventListener("pointermove", follow), {
      once: true,
    });
  });
  function follow(event) {
    const box = sides[0].canvas.getBoundingClientRect();
    wipeTo((100 * (event.clientX - box.left)) / box.width);
  }

  const clock = transport({ n, fps, show, name: (frame) => `frame ${frame} of ${n - 1}` });
  stage.addEventListener("keydown", clock.keys);
  const mode = segments(
    "How to compare",
    [
      ["wipe", "Wipe"],
      ["beside", "Side by side"],
    ],
    how,
    (chosen) => {
      stage.dataset.how = chosen;
      handle.hidden = chosen !== "wipe";
    },
  );
  handle.hidden = how !== "wipe";
  wipeTo(50);
  const note =
    left.n === right.n
      ? null
      : el(
          "p",
          { class: "small quiet" },
          `They have ${left.n} and ${right.n} frames; the first ${n} are compared.`,
        );
  const whole = el(
    "div",
    { class: "comparison" },
    el("div", { class: "stage" }, stage),
    clock,
    el(
      "div",
      { class: "row" },
      mode,
      handle,
      el(
        "span",
        { class: "quiet small keys-told" },
        el("kbd", {}, "←"),
        " ",
        el("kbd", {}, "→"),
        " step, ",
        el("kbd", {}, "space"),
        " plays",
      ),
    ),
    note,
    wrong,
  );
  whole.close = () => {
    clock.pause();
    sides.forEach((side) => side.frames.close());
  };
  whole.clock = clock;
  clock.go(0);
  return whole;
}
