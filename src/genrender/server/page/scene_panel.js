// The file: what is in it, and whether its texture coordinates will do.

import { el } from "./dom.js";
import { bytes, count } from "./wording.js";

/** Objects whose coordinates are told in the same words, together. */
function uvGroups(objects) {
  const groups = new Map();
  for (const thing of objects) {
    const words = thing.words;
    groups.set(words, [...(groups.get(words) ?? []), thing]);
  }
  return [...groups].sort((a, b) => rank(a[1][0]) - rank(b[1][0]));
}

const rank = (thing) => (thing.uv.state === "ok" ? 1 : 0);

function uvHealth(objects) {
  const groups = uvGroups(objects);
  const good = objects.filter((thing) => thing.uv.state === "ok").length;
  const rest = objects.length - good;
  const head =
    rest === 0
      ? "Texture coordinates are fine"
      : `${rest === objects.length ? (rest === 1 ? "The object" : "All objects") : `${rest} of ${objects.length} objects`} without good texture coordinates`;
  const lines = groups.map(([words, things]) =>
    el(
      "li",
      {},
      el("p", {}, words),
      objects.length > 1 &&
        el(
          "p",
          { class: "quiet small wrap-any" },
          things
            .slice(0, 12)
            .map((thing) => thing.name)
            .join(", ") + (things.length > 12 ? ` and ${things.length - 12} more` : ""),
        ),
    ),
  );
  return el(
    "details",
    { class: "health", open: good < objects.length && objects.length < 8 },
    el(
      "summary",
      {},
      el("span", { class: good === objects.length ? "dot good" : "dot care", "aria-hidden": "true" }),
      head,
    ),
    el("ul", { class: "small" }, lines),
  );
}

/**
 * @param {object} scene as the server tells it
 * @param {() => void} onOther somebody wants another file
 */
export function scenePanel(scene, onOther) {
  const { report } = scene;
  const facts =
    scene.kind === "exr"
      ? ["EXR passes", count(report.frames.length, "frame"), report.size.join(" × ")]
      : [
          count(report.totals.objects, "object"),
          `${report.totals.triangles.toLocaleString("en")} triangles`,
          report.totals.animations ? count(report.totals.animations, "clip") : "nothing moves",
        ];
  const warnings = [...(report.warnings ?? []), ...(report.problems ?? [])];
  const notes = new Set([...(scene.notes ?? []), ...(report.notes ?? [])]);
  return el(
    "section",
    { class: "card" },
    el(
      "div",
      { class: "row between" },
      el("h2", { class: "one-line", title: scene.name }, scene.name),
      el("button", { type: "button", onClick: onOther }, "Other scene…"),
    ),
    el("p", { class: "quiet small" }, [...facts, bytes(scene.bytes)].join(" · ")),
    warnings.map((line) => el("p", { class: "care small wrap-any" }, line)),
    [...notes].map((line) => el("p", { class: "quiet small wrap-any" }, line)),
    scene.kind === "scene" && report.objects?.length ? uvHealth(report.objects) : null,
  );
}
