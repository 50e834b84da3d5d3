// One line in the head of the page: what is running, wherever one is.

import { el, fill } from "./dom.js";
import { runs, shareOf } from "./runs.js";
import { timeWords } from "./wording.js";

export function showNow(place) {
  const bar = el("progress", { max: 1, value: 0, "aria-hidden": "true" });
  const words = el("span", { class: "one-line" });
  const link = el("a", { class: "now" }, words, bar);
  const away = el(
    "span",
    { class: "now wrong", role: "status" },
    "The server does not answer; waiting for it",
  );

  function show() {
    const active = runs.active();
    const running = active.find((run) => run.state === "running") ?? active[0];
    if (!runs.isConnected()) return fill(place, away);
    if (!running) return fill(place);
    const share = shareOf(running);
    const others = active.length - 1;
    words.textContent = [
      running.state === "waiting" ? "Waiting" : `${Math.round(100 * share)} %`,
      timeWords(running),
      others ? `${others} more` : "",
    ]
      .filter(Boolean)
      .join(" · ");
    bar.value = share;
    link.href = `#run/${running.id}`;
    link.title = running.prompt;
    if (link.parentNode !== place) fill(place, link);
    return undefined;
  }

  runs.follow(show);
  show();
}
