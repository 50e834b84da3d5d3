// The shot: which clip, from where, through which lens, before what.

import { titleOfCamera } from "./camera_move.js";
import { choice, el, field, setOptions } from "./dom.js";
import { draft } from "./draft.js";
import { settingField } from "./settings_form.js";

const MOVES = [
  ["static", "Standing still"],
  ["orbit", "Circling"],
  ["turntable", "Turntable"],
  ["dolly", "Approaching"],
  ["handheld", "Held by hand"],
];
const LENSES = [
  ["", "Normal (40°)"],
  ["24mm", "Wide, 24 mm"],
  ["35mm", "35 mm"],
  ["50mm", "50 mm"],
  ["85mm", "Long, 85 mm"],
  ["ortho", "Parallel (orthographic)"],
];
const BACKDROPS = [
  ["none", "None"],
  ["ground", "Ground"],
  ["dome", "Dome"],
  ["both", "Ground and dome"],
  ["colour", "A colour"],
];
const MINE = "my view";
const COLOUR = "colour";

/** "orbit,35mm" as ["orbit", "35mm"]; a camera that was dragged is `my view`. */
function parts(camera) {
  if (camera === null) return ["static", ""];
  if (typeof camera === "object") return [MINE, ""];
  if (camera.startsWith("scene:")) return [camera, ""];
  const [move, lens = ""] = camera.split(",").map((word) => word.trim());
  return [move, lens];
}

const joined = (move, lens) => (lens ? `${move},${lens}` : move === "static" ? null : move);

/**
 * @param {object} scene as the server tells it
 * @param {(name: string) => object} setting finds a setting's description
 */
export function shotPanel(scene, setting) {
  const { animations = [], cameras = [], plays = null } = scene.report;
  const clips = animations.filter((clip) => !clip.together?.length);
  const clipTitle = (one) => `${one.name ?? `clip ${one.index}`}, ${one.duration_s.toFixed(1)} s`;
  const played = animations.find((one) => one.name === plays);
  const clip = choice(
    [
      ["", played ? clipTitle(played) : "Nothing moves"],
      ...clips.filter((one) => one !== played).map((one) => [one.name ?? String(one.index), clipTitle(one)]),
    ],
    "",
    (name) => draft.set({ animation: name, frames: null }),
  );
  const camera = choice([], "", (move) => {
    if (move !== MINE)
      draft.set({ camera: joined(move, MOVES.some(([own]) => own === move) ? lens.value : "") });
  });
  const lens = choice(LENSES, "", (own) => draft.set({ camera: joined(parts(draft.get("camera"))[0], own) }));

  const color = el("input", {
    type: "color",
    value: "#808080",
    "aria-label": "Colour of the backdrop",
    onInput: () => draft.set({ backdrop: color.value }),
  });
  const backdrop = choice(BACKDROPS, "none", (own) =>
    draft.set({ backdrop: own === "none" ? null : own === COLOUR ? color.value : own }),
  );
  const backdropField = field("Backdrop", backdrop);
  backdropField.append(color);
  function showBackdrop() {
    const own = draft.get("backdrop", "none");
    const isColour = !BACKDROPS.some(([value]) => value === own);
    backdrop.value = isColour ? COLOUR : own;
    backdropField.classList.toggle("with-colour", isColour);
    color.hidden = !isColour;
    if (/^#[0-9a-f]{6}$/i.test(own)) color.value = own;
  }

  function show() {
    const [move, own] = parts(draft.get("camera"));
    const options = [...MOVES, ...cameras.map((one) => [`scene:${one.name}`, `Camera “${one.name}”`])];
    if (!options.some(([value]) => value === move)) options.push([move, titleOfCamera(draft.get("camera")) ?? move]);
    setOptions(camera, options, move);
    setOptions(lens, LENSES.some(([value]) => value === own) ? LENSES : [...LENSES, [own, own]], own);
    lens.disabled = move === MINE || move.startsWith("scene:");
    lens.title = lens.disabled ? "Views that you drag and cameras of the file have lenses of their own" : "";
    showBackdrop();
    clip.value = draft.get("animation", "");
    for (const one of fields) one.show();
  }

  const fields = [
    settingField(setting("frames"), { title: "Frames", about: null }),
    settingField(setting("size"), { title: "Picture size", about: null }),
    settingField(setting("loop"), { title: "Begin again where the clip ends", about: null }),
    settingField(setting("repeat"), { title: "Repeats", about: null }),
  ];
  const isScene = scene.kind === "scene";
  const whole = el(
    "section",
    { class: "card" },
    el("h2", {}, "Shot"),
    isScene &&
      el(
        "div",
        { class: "pairs" },
        field("Clip", clip),
        backdropField,
        field("Camera", camera),
        field("Lens", lens),
      ),
    el("div", { class: "triples" }, fields[0], fields[1], fields[3]),
    isScene && fields[2],
  );
  whole.show = show;
  /** What the fields mean where nothing is given. */
  whole.setShot = (found) => {
    fields[0].control.placeholder = found.n_frames;
    fields[1].control.placeholder = `${found.width}x${found.height}`;
  };
  show();
  return whole;
}
