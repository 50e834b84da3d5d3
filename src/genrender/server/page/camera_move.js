// A camera that moves: views that were dragged, each with its moment, as the setting `camera` holds them.

import { el, fill } from "./dom.js";

// Moments of two frames are farther apart.
const SAME_S = 1e-5;

const isAt = (time) => (view) => Math.abs(view.time - time) < SAME_S;

/** A view of a move: between two of them the camera circles around what it looks at. */
const ofMove = (view) => ({ ...view, orbit: true });

/** The setting with a view in it; where the camera does not move, it is the only one. */
export function withView(setting, view) {
  if (!Array.isArray(setting)) return view;
  const others = setting.filter((one) => !isAt(view.time)(one));
  return [...others, view].map(ofMove).sort((a, b) => a.time - b.time);
}

/** The setting without the view of a moment; the last one that is left stands still. */
function withoutView(setting, time) {
  const kept = setting.filter((one) => !isAt(time)(one));
  return kept.length ? kept : setting[0];
}

/** What the setting is called, or null where it was not dragged. */
export function titleOfCamera(setting) {
  if (Array.isArray(setting)) return "My move";
  return typeof setting === "object" && setting !== null ? "My view" : null;
}

/**
 * The row below the picture.
 *
 * @param {object} on set(camera) the setting, go(time) to a moment, seen() the camera that is seen now
 * @returns an element with `show(setting, nameOf)`; nameOf(time) says when that is
 */
export function cameraMove(on) {
  const whole = el("div", { class: "row small camera-move", role: "group", "aria-label": "Camera move" });
  const button = (text, title, onClick) => el("button", { type: "button", class: "small", title, onClick }, text);

  whole.show = (setting, nameOf) => {
    const seen = on.seen();
    whole.hidden = !seen;
    if (!seen) return;
    if (!Array.isArray(setting)) {
      fill(
        whole,
        button("Move the camera…", "Begins a move with the view that is seen at this moment", () => on.set([ofMove(seen)])),
      );
      return;
    }
    fill(
      whole,
      el("span", { class: "quiet" }, "Views at"),
      setting.map((view) =>
        el(
          "span",
          { class: "view-key" },
          button(nameOf(view.time), "Shows this moment", () => on.go(view.time)),
          el(
            "button",
            {
              type: "button",
              class: "small",
              "aria-label": `Without the view at ${nameOf(view.time)}`,
              title: "Takes this view out of the move",
              onClick: () => on.set(withoutView(setting, view.time)),
            },
            "×",
          ),
        ),
      ),
      !setting.some(isAt(seen.time)) &&
        button(`Keep this view at ${nameOf(seen.time)}`, "The camera passes here", () => on.set(withView(setting, seen))),
      button("Stand still", "The view that is seen now, all the time", () => on.set(seen)),
      setting.length < 2 &&
        el("span", { class: "quiet" }, "Go to another moment and drag: the camera moves from view to view."),
    );
  };
  return whole;
}
