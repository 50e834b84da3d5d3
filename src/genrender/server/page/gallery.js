// All runs: found by words, resumed, compared, deleted and brought back.

import { api } from "./api.js";
import { batchList } from "./batches.js";
import { runCard } from "./card.js";
import { choice, el, field, fill, later } from "./dom.js";
import { complain } from "./notices.js";
import { isActive, runs } from "./runs.js";

const PAGE = 48;
const STATES = [
  ["", "All"],
  ["finished", "Finished"],
  ["waiting,running", "Going on"],
  ["stopped,failed", "Interrupted"],
];

/** Shows the gallery; returns what ends it. */
export function galleryPage(main, known, search) {
  const cards = new Map();
  const chosen = new Set();
  let next = null;
  let asked = 0;
  let isClosed = false;

  const words = el("input", {
    type: "search",
    value: search,
    placeholder: "Words of a prompt, a scene, a model",
    autocomplete: "off",
  });
  const states = choice(STATES, "", () => load());
  const batches = batchList(() => load());
  const grid = el("ul", { class: "cards" });
  const told = el("p", { class: "quiet", role: "status" });
  const more = el("button", { type: "button", hidden: true, onClick: () => load(next) }, "Show older ones");
  const compare = el("div", { class: "start-bar compare-bar", hidden: true });

  async function load(before = null) {
    asked += 1;
    const own = asked;
    try {
      const chosen = { search: words.value.trim(), state: states.value, batch: batches.chosen() };
      const answer = await api.runs({ ...chosen, limit: PAGE, before });
      if (own !== asked || isClosed) return;
      if (before === null) {
        cards.clear();
        fill(grid);
      }
      for (const run of answer.runs) add(run);
      next = answer.next;
      more.hidden = next === null;
      told.textContent =
        answer.total === 0
          ? words.value || states.value
            ? "Nothing fits. Other words find more."
            : "No runs yet. What you make is kept here."
          : "";
    } catch (error) {
      complain(error);
    }
  }

  function add(run, first = false) {
    const card = runCard(run, { isChosen: chosen.has(run.id), onChoose: choose, onGone: gone });
    cards.get(run.id)?.remove();
    cards.set(run.id, card);
    if (first) grid.prepend(card);
    else grid.append(card);
  }

  function gone(id) {
    cards.get(id)?.remove();
    cards.delete(id);
    choose(id, false);
  }

  function choose(id, isOn) {
    if (isOn) chosen.add(id);
    else chosen.delete(id);
    // Two are compared: a third takes the place of the first.
    while (chosen.size > 2) {
      const [first] = chosen;
      chosen.delete(first);
      cards.get(first)?.choose(false);
    }
    const [a, b] = chosen;
    compare.hidden = chosen.size === 0;
    fill(
      compare,
      el("p", {}, b ? "Two are chosen." : "One is chosen; choose another to compare them."),
      el(
        "button",
        {
          type: "button",
          class: "plain",
          onClick: () => {
            for (const id of [...chosen]) {
              chosen.delete(id);
              cards.get(id)?.choose(false);
            }
            compare.hidden = true;
          },
        },
        "Choose none",
      ),
      b && el("a", { class: "button main", href: `#run/${a}/compare/${b}` }, "Compare"),
    );
  }

  function changed(run) {
    if (!run || run.batch !== null) batches.refresh();
    if (!run) return;
    const card = cards.get(run.id);
    if (run.state === "deleted") {
      if (card) gone(run.id);
    } else if (card) card.update(run);
    else if (isActive(run) && !words.value && !states.value && batches.shows(run)) add(run, true);
  }

  const soon = later(() => load(), 250);
  words.addEventListener("input", soon);
  fill(
    main,
    el("h1", { class: "unseen" }, "Gallery"),
    el(
      "div",
      { class: "gallery" },
      el("search", { class: "gallery-head" }, field("Search", words), field("Show", states)),
      batches.whole,
      told,
      grid,
      more,
    ),
    compare,
  );
  const stop = runs.follow(changed);
  batches.refresh();
  load();
  return () => {
    isClosed = true;
    stop();
  };
}
