// What the model will get, drawn by the server's ray caster. Who drags looks around, and films from there.

import { api } from "./api.js";
import { cameraMove, withView } from "./camera_move.js";
import { draft, shotSettings } from "./draft.js";
import { el, segments } from "./dom.js";
import { gestures } from "./gestures.js";
import { HOME, dollied, orbitOf, panned, turned } from "./orbit.js";
import { transport } from "./transport.js";

const MODES = [
  ["shaded", "Shaded"],
  ["depth", "Depth"],
  ["uv", "UV"],
  ["objects", "Objects"],
];
// Pixels of the longer side: while something moves, and at rest.
const MOVING = 256;
const STILL = 640;

/**
 * @param {object} on pick({object_id, name}) when an object is clicked; wrong(error or null)
 * @returns an element with `setShot(shot)` and `close()`
 */
export function viewer(on) {
  const canvas = el("canvas", {
    width: 16,
    height: 16,
    tabIndex: 0,
    role: "img",
    "aria-label":
      "The scene. Arrow keys turn it, plus and minus come nearer and go farther, shift and arrow keys move it.",
  });
  const told = el("p", { class: "stage-told small" });
  const home = el(
    "button",
    {
      type: "button",
      class: "small",
      hidden: true,
      onClick: () => {
        draft.set({ camera: before });
        home.hidden = true;
      },
    },
    "Back to the camera",
  );
  let mode = "shaded";
  let shot = null;
  let orbit = null;
  let camera = null;
  let beginning_s = 0;
  let before = null;
  let calibrated = null;
  let isClosed = false;

  const modes = segments("What is shown", MODES, mode, (chosen) => {
    mode = chosen;
    draw();
  });
  const exact = el("input", { type: "checkbox", onChange: () => draw() });
  const clock = transport({ n: 1, fps: 24, show: () => draw(), name: nameOf });
  const cameraRow = cameraMove({
    seen: () => camera,
    set: (own) => draft.set({ camera: own }),
    go(time) {
      const away = shot.times_s.map((one) => Math.abs(one - beginning_s - time));
      clock.go(away.indexOf(Math.min(...away)));
    },
  });

  function passed(time_s) {
    return `${(shot ? time_s - shot.times_s[0] : 0).toFixed(2)} s`;
  }
  function nameOf(frame) {
    return `frame ${frame} · ${passed(shot?.times_s[frame])}`;
  }

  function size(longest) {
    if (exact.checked) return [shot.width, shot.height];
    const scale = longest / Math.max(shot.width, shot.height);
    return [Math.max(16, Math.round(shot.width * scale)), Math.max(16, Math.round(shot.height * scale))];
  }

  function view(longest) {
    const [width, height] = size(longest);
    return { settings: shotSettings(), frame: clock.frame(), mode, width, height, orbit };
  }

  // One picture is on its way at a time; what was asked for meanwhile is asked for last.
  let underway = null;
  let isWanted = false;
  function draw() {
    isWanted = true;
    underway ??= (async () => {
      try {
        while (isWanted && shot && !isClosed) {
          isWanted = false;
          const isMoving = orbit !== null || clock.isMoving();
          const { picture, about } = await api.view(draft.scene, view(isMoving ? MOVING : STILL));
          if (isClosed) return;
          paint(picture, about);
          on.wrong(null);
        }
      } catch (error) {
        on.wrong(error);
      } finally {
        underway = null;
      }
    })();
    return underway;
  }

  function paint(picture, about) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.dataset.frame = about.frame;
    canvas.classList.toggle("pixels", exact.checked);
    picture.close();
    camera = about.camera;
    // Moments of cameras count from where the clip begins in the file.
    beginning_s = about.time_s - (camera?.time ?? 0);
    cameraRow.show(draft.get("camera"), (time) => passed(time + beginning_s));
  }

  // Where the viewer's camera of distance 1 stands, with the lens that is in use.
  async function calibrate() {
    const lens = { yfov_deg: camera.yfov_deg ?? HOME.yfov_deg, is_orthographic: Boolean(camera.ymag) };
    const wanted = {
      ...view(16),
      width: 16,
      height: Math.max(2, Math.round((16 * shot.height) / shot.width)),
      orbit: { ...HOME, ...lens },
    };
    const { picture, about } = await api.view(draft.scene, wanted);
    picture.close();
    return about.camera;
  }

  // Moves that come before the viewer's camera is known wait for it.
  let moves = [];
  let gesture = 0;
  async function begin() {
    if (!shot || !camera) return;
    gesture += 1;
    clock.pause();
    if (home.hidden) before = draft.get("camera");
    calibrated = calibrate();
    try {
      const found = await calibrated;
      orbit = moves.reduce((own, move) => move(own), orbitOf(camera, found));
      moves = [];
      await draw();
    } catch (error) {
      on.wrong(error);
    }
  }

  function move(change) {
    if (orbit === null) moves.push(change);
    else {
      orbit = change(orbit);
      draw();
    }
  }

  async function end() {
    const own = gesture;
    await calibrated;
    await draw();
    if (own !== gesture || orbit === null) return;
    orbit = null;
    moves = [];
    home.hidden = false;
    draft.set({ camera: withView(draft.get("camera"), camera) });
  }

  async function click(x, y) {
    if (!shot) return;
    const wanted = view(STILL);
    try {
      const found = await api.pick(draft.scene, {
        ...wanted,
        x: Math.floor(x * wanted.width),
        y: Math.floor(y * wanted.height),
      });
      told.textContent = found.name ?? "Nothing is here";
      on.pick(found);
    } catch (error) {
      on.wrong(error);
    }
  }

  gestures(canvas, {
    begin,
    end,
    click,
    turn: (right, down) => move((own) => turned(own, right, down)),
    pan: (right, down) => move((own) => panned(own, right, down)),
    dolly: (amount) => move((own) => dollied(own, amount)),
  });

  const whole = el(
    "section",
    { class: "viewer", "aria-label": "Viewer" },
    el(
      "div",
      { class: "row viewer-head" },
      modes,
      told,
      el(
        "label",
        { class: "check small quiet", title: "One square for each pixel that the model is given" },
        exact,
        "model's pixels",
      ),
      home,
    ),
    el("div", { class: "stage" }, canvas),
    clock,
    cameraRow,
  );
  whole.setShot = (given) => {
    shot = given;
    whole.style.setProperty("--shape", shot.width / shot.height);
    clock.set({ n: shot.n_frames, fps: shot.fps });
    return draw();
  };
  whole.close = () => {
    isClosed = true;
    clock.pause();
  };
  return whole;
}
