// Figures of a result, with what each means and which way is better.

import { api } from "./api.js";
import { el, fill } from "./dom.js";
import { busy, complain } from "./notices.js";
import { figure } from "./wording.js";

const WAYS = { less: "lower is better", more: "higher is better" };

const saysItself = (text) => /\b(less|more|better|most)\b/.test(text);

/** What a figure says, and which way is better where that does not tell. */
function meaningOf({ meaning, better }) {
  return [meaning, saysItself(meaning) ? null : WAYS[better]].filter(Boolean).join("; ");
}

/** Not one of several distances or quarters of a clip, but for the first. */
const isFirst = ({ key }) => !key.includes(".") || /^[^.]+\.1$/.test(key);

/** A number with its unit, where it has one. */
const numberOf = ({ value, text }) =>
  [figure(value), text?.split(" ").slice(1).join(" ")].filter(Boolean).join(" ");

function tableOf(rows) {
  const row = (one) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, one.title, el("span", { class: "quiet meaning" }, meaningOf(one))),
      el("td", { class: "figures value" }, numberOf(one)),
    );
  return el("table", { class: "small" }, el("tbody", {}, rows.map(row)));
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

  function show({ table }) {
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
    // The first number of each figure says most; the others are there for who wants to know.
    const [first, others] = [known.filter(isFirst), known.filter((row) => !isFirst(row))];
    fill(
      place,
      tableOf(first),
      others.length > 0 &&
        el("details", { class: "fold" }, el("summary", {}, `All figures (${known.length})`), tableOf(others)),
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
