// What the run will take, what stands in its way, and the button that asks for it.

import { api } from "./api.js";
import { el, fill, later } from "./dom.js";
import { draft } from "./draft.js";
import { busy } from "./notices.js";
import { runs } from "./runs.js";
import { plain } from "./settings_form.js";
import { seedsFrom } from "./sheet.js";
import { bytes, count, seconds } from "./wording.js";

const AGAIN_MS = 1500;

// Words that the model does not know are told where they are written.
const OF_WORDS = "the model does not know these words";

export function startBar() {
  const words = el("p", { class: "estimate" }, "Checking…");
  const extra = el("ul", { class: "small extra" });
  const start = el("button", { type: "button", class: "main", onClick: () => submit() }, "Make the video");
  const sheet = el(
    "button",
    {
      type: "button",
      title: "A sheet with four frames each of four seeds, to choose from before the long run",
      onClick: () => submit(seedsFrom(draft.get("seed", 0)), sheet),
    },
    "Try four seeds",
  );
  const whole = el(
    "section",
    { class: "start-bar", "aria-label": "Start" },
    el("div", { class: "start-words", role: "status" }, words, extra),
    sheet,
    start,
  );
  let asking = null;
  let isClosed = false;

  async function check() {
    if (isClosed) return;
    asking?.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const found = await api.check(draft.asked(), signal);
      if (signal.aborted || isClosed) return;
      show(found);
      // The model's speed is being measured; it is told when it is known.
      if (!found.error && found.seconds === null) setTimeout(() => signal.aborted || check(), AGAIN_MS);
    } catch (error) {
      if (error.name !== "AbortError") show({ error: error.message });
    }
  }

  /** Points at the field that the server complains about. */
  function mark(name) {
    for (const one of document.querySelectorAll("[data-setting][aria-invalid]"))
      one.removeAttribute("aria-invalid");
    if (name)
      document.querySelector(`[data-setting="${CSS.escape(name)}"]`)?.setAttribute("aria-invalid", "true");
  }

  function show(found) {
    const isEmpty = !draft.get("prompt", "").trim();
    // Who has not begun to write has made no mistake.
    mark(isEmpty ? null : found.error && found.field);
    start.disabled = sheet.disabled = Boolean(found.error);
    words.classList.toggle("wrong", Boolean(found.error) && !isEmpty);
    if (found.error) {
      words.textContent = isEmpty ? "Say what the video shows, and it can begin." : plain(found.error);
      fill(extra);
      return;
    }
    const size = `${count(found.n_frames, "frame")} of ${found.width} × ${found.height}, ${count(found.steps, "step")}`;
    const cost =
      found.seconds === null
        ? "measuring how fast this machine is…"
        : [`about ${seconds(found.seconds)}`, found.memory_bytes && `${bytes(found.memory_bytes)} memory`]
            .filter(Boolean)
            .join(", ");
    fill(words, el("strong", {}, cost), el("span", { class: "quiet" }, ` · ${size}`));
    fill(
      extra,
      (found.warnings ?? [])
        .filter((line) => !line.startsWith(OF_WORDS))
        .map((line) => el("li", { class: "care" }, plain(line))),
      (found.notes ?? []).map((line) => el("li", { class: "quiet" }, plain(line))),
    );
  }

  function submit(seeds = null, button = start) {
    return busy(button, "Asking…", async () => {
      const asked = draft.asked();
      if (seeds) asked.settings.seeds = seeds;
      const run = runs.note(await api.submit(asked));
      location.hash = `#run/${run.id}`;
    });
  }

  const soon = later(check, 250);
  whole.check = () => {
    asking?.abort();
    soon();
  };
  whole.submit = () => {
    if (!start.disabled) submit();
  };
  whole.close = () => {
    isClosed = true;
    asking?.abort();
  };
  return whole;
}
