// Figures of a result, with what each means and which way is better.

import { api } from "./api.js";
import { el, fill } from "./dom.js";
import { busy, complain } from "./notices.js";
import { figure } from "./wording.js";

const WAYS = { lower: "lower is better", higher: "higher is better" };

const saysItself = (text) => /\b(less|more|better|most)\b/.test(text);

/** What a figure says, and which way is better where that does not tell. */
function meaningOf({ meaning, better }) {
  return [meaning, saysItself(meaning) ? null : WAYS[better]].filter(Boolean).join("; ");
}

export function metricsPanel(run) {
  const place = el("div", { class: "scroll-x" });
  const measure = el(
    "button",
    {
      type: "button",
      onClick: () =>
        busy(measure, "Measuring, this takes a while…", async () => show(await api.measure(run.id))),
    },
    "Measure",
  );

  function show({ metrics, table }) {
    measure.textContent = metrics ? "Measure again" : "Measure";
    const known = table.filter((row) => row.value !== null && row.value !== undefined);
    if (!known.length) {
      fill(
        place,
        el(
          "p",
          { class: "quiet small" },
          "Not measured yet. Figures say how steady surfaces are, how sharp, and how well the prompt was met.",
        ),
      );
      return;
    }
    fill(
      place,
      el(
        "table",
        { class: "small" },
        el(
          "tbody",
          {},
          known.map((row) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, row.title, el("span", { class: "quiet meaning" }, meaningOf(row))),
              el("td", { class: "figures value" }, row.text ?? figure(row.value)),
            ),
          ),
        ),
      ),
    );
  }

  api.metrics(run.id).then(show, complain);
  return el(
    "section",
    { class: "card" },
    el("div", { class: "row between" }, el("h2", {}, "Figures"), measure),
    place,
  );
}
