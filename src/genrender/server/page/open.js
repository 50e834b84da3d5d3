// Where a scene comes from: a file that is chosen or dropped, the example, or one from before.

import { api } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { complain } from "./notices.js";
import { ago, bytes } from "./wording.js";

const ACCEPTED = ".glb,.gltf,.bin,.usd,.usda,.usdc,.usdz,.obj,.mtl,.ply,.abc,.zip,.exr,.png,.jpg,.jpeg";

/** Why files are not worth sending, or null. */
function tooMuch(files, limits) {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  if (files.length > limits.upload_files)
    return `${files.length} files were given, expected at most ${limits.upload_files}; put them into a zip`;
  if (size > limits.upload_bytes)
    return `${files[0].name}: is ${bytes(size)} large, expected at most ${bytes(limits.upload_bytes)}; leave out textures and objects that the shot does not show`;
  return null;
}

/**
 * Sends files as a scene and tells how far it is.
 *
 * @param {File[]} files
 * @param {object} limits of GET /api/about
 * @param {(words: string, share: number|null) => void} tell
 */
export async function sendScene(files, limits, tell, signal) {
  const wrong = tooMuch(files, limits);
  if (wrong) throw new Error(wrong);
  tell("Sending", 0);
  return api.uploadScene(
    files,
    (share) =>
      share < 1 ? tell(`Sending, ${Math.round(100 * share)} %`, share) : tell("Reading the scene", null),
    signal,
  );
}

/**
 * The page before there is a scene.
 *
 * @param {object} limits
 * @param {(scene: object) => void} onScene
 * @param {(() => void)|null} onBack where there is a scene to go back to
 */
export function openScene(limits, onScene, onBack = null) {
  const input = el("input", {
    type: "file",
    multiple: true,
    accept: ACCEPTED,
    class: "unseen",
    tabIndex: -1,
    id: "scene-file",
    "aria-label": "Scene file",
  });
  const choose = el(
    "button",
    { type: "button", class: "main", onClick: () => input.click() },
    icon("upload"),
    "Choose a file…",
  );
  const example = el("button", { type: "button", onClick: takeExample }, "Try the walking figure");
  const told = el("p", { role: "status", class: "small told wrap-any" });
  const bar = el("progress", { max: 1, "aria-label": "Sending", hidden: true });
  const stop = el("button", { type: "button", class: "link", hidden: true }, "Give up");
  const before = el("ul", { class: "before" });
  input.addEventListener("change", () => {
    send([...input.files]);
    input.value = "";
  });

  async function work(begin) {
    const ending = new AbortController();
    choose.disabled = example.disabled = true;
    stop.hidden = false;
    stop.onclick = () => ending.abort();
    told.classList.remove("wrong");
    try {
      onScene(await begin(ending.signal));
    } catch (error) {
      told.textContent = error.name === "AbortError" ? "Given up; nothing was kept." : error.message;
      told.classList.toggle("wrong", error.name !== "AbortError");
    } finally {
      choose.disabled = example.disabled = false;
      stop.hidden = bar.hidden = true;
    }
  }

  function tell(words, share) {
    told.textContent = words;
    bar.hidden = false;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
  }

  const send = (files) => work((signal) => sendScene(files, limits, tell, signal));
  function takeExample() {
    return work(() => {
      tell("Reading the example", null);
      return api.exampleScene();
    });
  }

  async function showBefore() {
    try {
      const { scenes } = await api.scenes();
      fill(
        before,
        scenes.slice(0, 6).map((scene) =>
          el(
            "li",
            {},
            el(
              "button",
              {
                type: "button",
                onClick: () =>
                  work(() => {
                    tell(`Reading ${scene.name}`, null);
                    return api.scene(scene.id);
                  }),
              },
              el("span", { class: "one-line" }, scene.name),
              el("span", { class: "quiet small" }, ago(scene.added)),
            ),
          ),
        ),
      );
      if (scenes.length) before.before(el("h2", {}, "Scenes from before"));
    } catch (error) {
      complain(error);
    }
  }

  const whole = el(
    "section",
    { class: "open" },
    el(
      "div",
      { class: "open-zone" },
      el("h1", {}, "Begin with a scene"),
      el(
        "p",
        { class: "quiet" },
        "Drop a file anywhere on this page: glTF, USD, OBJ, PLY, Alembic, or a zip with EXR passes. The animation in it becomes a video of what you say in words.",
      ),
      el(
        "div",
        { class: "row" },
        choose,
        example,
        onBack && el("button", { type: "button", class: "plain", onClick: onBack }, "Back"),
      ),
      el("div", { class: "open-told" }, bar, told, stop),
      input,
    ),
    el("div", { class: "open-before" }, before),
  );
  whole.send = send;
  showBefore();
  return whole;
}
