// What may be wrong with a result, in words, and buttons that try what helps.

import { api } from "./api.js";
import { el, fill } from "./dom.js";
import { busy } from "./notices.js";
import { makeAgain } from "./runs.js";
import { titleOf } from "./settings_form.js";
import { figure, sentence } from "./wording.js";

/** A changed setting as the page calls it: "alpha 0.9"; of further ones the last, which is the new one. */
function wordsOf(settings) {
  return Object.entries(settings)
    .map(([name, value]) =>
      name === "set" ? value.at(-1).replace("=", " ") : `${titleOf(name).toLowerCase()} ${value}`,
    )
    .join(", ");
}

const WAYS = { less: "below", more: "above" };

function symptomView(run, symptom) {
  const state =
    symptom.is_present === null
      ? ["quiet", "cannot be told from this clip"]
      : symptom.is_present
        ? ["care", "yes"]
        : ["good", "no"];
  const tries = (symptom.changes ?? []).map((change) => {
    const button = el(
      "button",
      {
        type: "button",
        title: "Makes the video again with this changed; this one stays",
        onClick: () => busy(button, "Asking…", () => makeAgain(run, change.settings)),
      },
      el("span", {}, change.about),
      el("small", { class: "quiet" }, wordsOf(change.settings)),
    );
    return button;
  });
  return el(
    "li",
    {},
    el(
      "p",
      {},
      el("strong", {}, symptom.name),
      " ",
      el("span", { class: state[0] }, state[1]),
      symptom.value !== null &&
        el(
          "span",
          { class: "quiet small figures" },
          ` ${figure(symptom.value)}, good is ${WAYS[symptom.better]} ${figure(symptom.limit)}`,
        ),
    ),
    symptom.is_present && el("p", { class: "small" }, `${sentence(symptom.meaning)} Make it again, and:`),
    symptom.is_present && el("div", { class: "tries" }, tries),
  );
}

export function advicePanel(run) {
  const list = el("ul", { class: "symptoms" });
  const told = el(
    "p",
    { class: "quiet small", role: "status" },
    "Looks for flicker, texture that sticks to the screen, blur and colours that drift. It takes some seconds.",
  );
  const look = el(
    "button",
    {
      type: "button",
      onClick: () =>
        busy(look, "Looking…", async () => {
          const { symptoms } = await api.diagnose(run.id);
          fill(
            list,
            symptoms.map((symptom) => symptomView(run, symptom)),
          );
          const found = symptoms.filter((symptom) => symptom.is_present).length;
          told.textContent = found
            ? "Each button makes the video again with one thing changed, so that you can compare."
            : "None of the known faults was found.";
        }),
    },
    "What could be better?",
  );
  return el(
    "section",
    { class: "card" },
    el("div", { class: "row between" }, el("h2", {}, "Advice"), look),
    told,
    list,
  );
}
