// A run in the gallery: a picture that moves under the pointer, and what can be done with it.

import { api } from "./api.js";
import { el, fill, prefersStill } from "./dom.js";
import { busy, complain, notice } from "./notices.js";
import { nameOf } from "./run_parts.js";
import { isActive, runs, shareOf } from "./runs.js";
import { stateWords, timeWords } from "./wording.js";

/** A still picture of a run, or null while there is none. */
function posterOf(run) {
  if (run.has_video && run.n_frames) return `frames/${Math.floor(run.n_frames / 2)}.png`;
  if (run.seeds && run.state === "finished") return "seeds.png";
  return run.preview;
}

/** Deletes a run, and offers to bring it back. */
async function removeRun(run) {
  await api.remove(run.id);
  notice(`“${nameOf(run)}” is deleted.`, {
    action: [
      "Undo",
      async () => {
        try {
          runs.note(await api.restore(run.id));
          window.dispatchEvent(new HashChangeEvent("hashchange"));
        } catch (error) {
          complain(error);
        }
      },
    ],
  });
}

/**
 * @param {object} run
 * @param {object} on isChosen, onChoose(id, isOn), onGone(id)
 */
export function runCard(run, { isChosen, onChoose, onGone }) {
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  // Before there is a picture: what it will be of.
  const wanted = el("p", { class: "card-prompt small" });
  const frame = el(
    "a",
    { class: "card-picture", href: `#run/${run.id}`, tabIndex: -1, "aria-hidden": "true" },
    image,
    wanted,
  );
  const name = el("a", { href: `#run/${run.id}`, class: "card-name" });
  const state = el("p", { class: "small quiet one-line" });
  const bar = el("progress", { max: 1, "aria-hidden": "true" });
  const buttons = el("div", { class: "row between" });
  const pick = el("input", {
    type: "checkbox",
    checked: isChosen,
    onChange: () => onChoose(run.id, pick.checked),
  });
  let now = run;
  let video = null;

  function moving(isOn) {
    if (isOn && now.has_video && !video && !prefersStill()) {
      video = el("video", {
        src: api.file(now.id, "video.mp4"),
        muted: true,
        loop: true,
        autoplay: true,
        playsInline: true,
      });
      frame.append(video);
    } else if (!isOn && video) {
      video.remove();
      video = null;
    }
  }

  const remove = el(
    "button",
    {
      type: "button",
      class: "link small",
      onClick: () =>
        busy(remove, "Deleting…", async () => {
          await removeRun(now);
          onGone(now.id);
        }),
    },
    "Delete",
  );
  const resume = el(
    "button",
    {
      type: "button",
      class: "small",
      onClick: () => busy(resume, "Asking…", async () => runs.note(await api.resume(now.id))),
    },
    "Go on",
  );

  function update(given) {
    now = given;
    const poster = posterOf(now);
    image.hidden = !poster;
    wanted.hidden = Boolean(poster);
    wanted.textContent = now.prompt;
    const address = poster && api.file(now.id, poster);
    if (poster && image.getAttribute("src") !== address) image.src = address;
    name.textContent = nameOf(now);
    state.textContent =
      now.state === "finished"
        ? [
            stateWords(now).replace("Finished ", ""),
            now.seeds ? `seeds ${now.seeds}` : `seed ${now.seed}`,
            now.scene?.name,
          ]
            .filter(Boolean)
            .join(" · ")
        : [stateWords(now), timeWords(now)].filter(Boolean).join(" · ");
    state.classList.toggle("wrong", now.state === "failed");
    bar.hidden = !isActive(now);
    bar.value = shareOf(now);
    fill(
      buttons,
      now.has_video && !isActive(now) && el("label", { class: "check small" }, pick, "Compare"),
      now.can_resume && resume,
      !isActive(now) && remove,
    );
  }

  const whole = el(
    "li",
    {
      class: "run-card",
      onPointerenter: () => moving(true),
      onPointerleave: () => moving(false),
      onFocusin: () => moving(true),
      onFocusout: () => moving(false),
    },
    frame,
    el("div", { class: "card-words" }, name, state, bar, buttons),
  );
  whole.update = update;
  whole.choose = (isOn) => {
    pick.checked = isOn;
  };
  update(run);
  return whole;
}
