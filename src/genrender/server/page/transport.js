// Play, pause, step and scrub: one clock for whatever shows frames.

import { el, fill, icon, iconButton } from "./dom.js";

/**
 * @param {object} given n frames, fps, show(frame) that returns a promise once the frame is on the screen,
 *   name(frame) for its label
 * @returns an element with `go(frame)`, `play()`, `pause()`, `set({n, fps})`, `frame` and `keys(event)`
 */
export function transport({ n, fps, show, name = (frame) => `frame ${frame}` }) {
  let frame = 0;
  let playing = false;
  let scrubbing = false;
  let last = 0;
  let ticking = 0;
  let showing = false;
  let wanted = null;

  const slider = el("input", {
    type: "range",
    min: 0,
    max: Math.max(0, n - 1),
    step: 1,
    value: 0,
    "aria-label": "Frame",
  });
  const told = el("output", { class: "figures small quiet frame-told" });
  const toggle = iconButton("play", "Play", () => (playing ? rest() : play()));
  const whole = el(
    "div",
    { class: "transport" },
    toggle,
    iconButton("back", "One frame back", () => step(-1)),
    iconButton("forward", "One frame on", () => step(1)),
    slider,
    told,
  );

  function tell() {
    slider.value = frame;
    slider.setAttribute("aria-valuetext", name(frame));
    told.textContent = name(frame);
  }

  // A frame that is asked for while another one is on its way is shown next; those between are passed over.
  async function go(index) {
    frame = ((index % n) + n) % n;
    tell();
    wanted = frame;
    if (showing) return;
    showing = true;
    try {
      while (wanted !== null) {
        const now = wanted;
        wanted = null;
        await show(now);
      }
    } finally {
      showing = false;
    }
  }

  function tick(now) {
    if (!playing || !whole.isConnected) {
      playing = playing && whole.isConnected;
      return;
    }
    if (!showing && now - last >= 1000 / fps - 2) {
      last = now;
      go(frame + 1);
    }
    ticking = requestAnimationFrame(tick);
  }

  function play() {
    if (n < 2) return;
    playing = true;
    swap();
    cancelAnimationFrame(ticking);
    ticking = requestAnimationFrame(tick);
  }

  function pause() {
    playing = false;
    swap();
  }

  /** Stops, and shows the frame once more, as well as it can be. */
  function rest() {
    pause();
    go(frame);
  }

  function swap() {
    fill(toggle, icon(playing ? "pause" : "play"));
    toggle.title = playing ? "Pause" : "Play";
    toggle.setAttribute("aria-label", toggle.title);
  }

  function step(by) {
    pause();
    return go(frame + by);
  }

  slider.addEventListener("input", () => {
    pause();
    scrubbing = true;
    go(Number(slider.value));
  });
  slider.addEventListener("change", () => {
    scrubbing = false;
    go(frame);
  });

  Object.assign(whole, {
    go,
    play,
    pause,
    /** Whether the next frame comes soon, so that this one may be coarse. */
    isMoving: () => playing || scrubbing,
    frame: () => frame,
    set(given) {
      n = given.n;
      fps = given.fps;
      slider.max = Math.max(0, n - 1);
      slider.disabled = n < 2;
      if (frame >= n) frame = 0;
      tell();
    },
    /** Keys for the picture above: arrows step, space plays, Home and End jump. */
    keys(event) {
      const actions = {
        ArrowLeft: () => step(-1),
        ArrowRight: () => step(1),
        " ": () => (playing ? rest() : play()),
        Home: () => {
          pause();
          go(0);
        },
        End: () => {
          pause();
          go(n - 1);
        },
      };
      const action = actions[event.key];
      if (!action || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      action();
    },
  });
  whole.set({ n, fps });
  return whole;
}
