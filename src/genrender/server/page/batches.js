// Runs that were asked for together: how far they are, and a choice of those that the gallery shows.

import { api } from "./api.js";
import { el, fill, later } from "./dom.js";
import { complain } from "./notices.js";
import { count } from "./wording.js";

const WORDS = { running: "going on", waiting: "waiting", failed: "failed", stopped: "stopped" };

/** One line about a batch, such as "12 of 20 finished, 1 failed". */
function batchWords(batch) {
  const finished = batch.counts.finished ?? 0;
  if (finished === batch.total) return `${count(batch.total, "run")}, all finished`;
  const others = Object.entries(WORDS)
    .filter(([state]) => batch.counts[state])
    .map(([state, words]) => `${batch.counts[state]} ${words}`);
  return [`${finished} of ${batch.total} finished`, ...others].join(", ");
}

/** @param {() => void} onChoose is called when another batch, or none, is chosen */
export function batchList(onChoose) {
  const whole = el("ul", { class: "batches", "aria-label": "Batches", hidden: true });
  let chosen = null;

  function choose(name) {
    chosen = name;
    for (const button of whole.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(button.dataset.batch === name));
    onChoose();
  }

  function item(batch) {
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          "data-batch": batch.name,
          "aria-pressed": String(batch.name === chosen),
          onClick: () => choose(chosen === batch.name ? null : batch.name),
        },
        el("strong", {}, batch.name),
        el("span", { class: "small" }, batchWords(batch)),
        el("progress", { max: batch.total, value: batch.counts.finished ?? 0, "aria-hidden": "true" }),
      ),
    );
  }

  async function refresh() {
    try {
      const { batches } = await api.batches();
      const focused = whole.contains(document.activeElement) ? document.activeElement.dataset.batch : null;
      whole.hidden = batches.length === 0;
      fill(whole, batches.map(item));
      if (focused !== null) whole.querySelector(`[data-batch="${CSS.escape(focused)}"]`)?.focus();
    } catch (error) {
      complain(error);
    }
  }

  return {
    whole,
    chosen: () => chosen,
    shows: (run) => chosen === null || chosen === run.batch,
    refresh: later(refresh, 250),
  };
}
