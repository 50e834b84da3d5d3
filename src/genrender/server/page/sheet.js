// A sheet of several seeds, to choose from before the long run.

import { api } from "./api.js";
import { el, icon } from "./dom.js";
import { busy } from "./notices.js";
import { factsOf, runTitle } from "./run_parts.js";
import { makeAgain } from "./runs.js";

/** How many seeds one sheet has. */
const N_SEEDS = 4;

/** The seeds of a sheet that begins with one, as the server takes them. */
export const seedsFrom = (first) => `${first}-${first + N_SEEDS - 1}`;

/** "0-3" or "1,5,9-12" as numbers. */
function seedsOf(text) {
  return [
    ...new Set(
      text.split(",").flatMap((word) => {
        const [first, last = first] = word.split("-").map(Number);
        return Array.from({ length: last - first + 1 }, (_, i) => first + i);
      }),
    ),
  ];
}

/** @param {object} run finished, with `seeds` */
export function sheetView(run) {
  const seeds = seedsOf(run.seeds);
  const begin = (seed) => {
    const button = el(
      "button",
      {
        type: "button",
        onClick: () => busy(button, "Asking…", () => makeAgain(run, { seed })),
      },
      `Seed ${seed}`,
    );
    return button;
  };
  const more = el(
    "button",
    {
      type: "button",
      onClick: () =>
        busy(more, "Asking…", () => makeAgain(run, { seeds: seedsFrom(Math.max(...seeds) + 1) })),
    },
    icon("dice"),
    "Other seeds",
  );
  const address = api.file(run.id, "seeds.png");
  return el(
    "article",
    { class: "run seeds" },
    el("div", { class: "seen" }, el("img", { class: "sheet", src: address, alt: `Four frames each of the seeds ${run.seeds}` })),
    el(
      "div",
      { class: "panels" },
      el(
        "section",
        { class: "card" },
        runTitle(run),
        el("p", { class: "small" }, "Each row is a seed. Make the whole video with:"),
        el("div", { class: "actions" }, seeds.map(begin)),
        el(
          "p",
          { class: "quiet small" },
          "These frames were made without the ones between them: the video has a seed's look, not exactly these pictures.",
        ),
        el(
          "div",
          { class: "row" },
          more,
          el("a", { class: "button", href: `${address}?download=1`, download: "" }, icon("download"), "The sheet"),
        ),
        factsOf(run),
        run.warnings.map((line) => el("p", { class: "care small wrap-any" }, line)),
      ),
    ),
  );
}
