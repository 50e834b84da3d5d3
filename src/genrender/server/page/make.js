// The page to work in: the picture, the words below it, and everything else beside it.

import { api } from "./api.js";
import { el, fill, later } from "./dom.js";
import { draft, SHOT_SETTINGS, shotSettings } from "./draft.js";
import { complain } from "./notices.js";
import { morePanel } from "./more_panel.js";
import { objectsPanel } from "./objects_panel.js";
import { openScene } from "./open.js";
import { promptPanel } from "./prompt_panel.js";
import { scenePanel } from "./scene_panel.js";
import { shotPanel } from "./shot_panel.js";
import { startBar } from "./start_bar.js";
import { settingField } from "./settings_form.js";
import { viewer } from "./viewer.js";
import { Vocabulary } from "./words.js";

const OBJECT_SETTINGS = ["objects", "merge", "ignore"];

/** Shows the page; returns what ends it. */
export function makePage(main, known) {
  const closers = [];
  const closeAll = () => closers.splice(0).forEach((close) => close());
  let isLeft = false;

  async function begin() {
    closeAll();
    if (!draft.scene) return choose(null);
    fill(main, el("p", { class: "waiting", role: "status" }, "Opening the scene…"));
    try {
      const scene = await api.scene(draft.scene);
      return isLeft || workspace(scene);
    } catch (error) {
      if (isLeft) return undefined;
      // The scene of a draft may be gone; the words of the draft are not.
      if (error.status === 404) draft.setScene(null);
      else complain(error);
      return choose(null);
    }
  }

  function choose(onBack) {
    closeAll();
    fill(
      main,
      openScene(known.about.limits, (scene) => draft.setScene(scene.id), onBack),
    );
    closers.push(
      draft.follow((names) => {
        if (draft.scene && (names.includes("scene") || names.includes("all"))) begin();
      }),
    );
  }

  function workspace(scene) {
    closeAll();
    const settings = new Map(
      known.groups.flatMap((group) => group.settings).map((setting) => [setting.name, setting]),
    );
    const fileNames = (scene.report.objects ?? []).map((thing) => thing.name);
    const wrong = el("p", { class: "wrong small wrap-any", role: "alert" });
    const tellWrong = (error) => {
      wrong.textContent = error ? error.message : "";
    };
    const vocabulary = () =>
      new Vocabulary(known.models.find((one) => one.name === draft.get("model", "pocket")));

    const picture = viewer({ pick: ({ name }) => name && objects.open(name), wrong: tellWrong });
    const words = promptPanel(known, settingField(settings.get("steps"), { about: null }));
    const about = scenePanel(scene, () => choose(() => workspace(scene)));
    const shot = shotPanel(scene, (name) => settings.get(name));
    const objects = objectsPanel(fileNames, vocabulary(), scene.kind === "scene");
    const more = morePanel(known);
    const start = startBar();
    words.setVocabulary(vocabulary());
    objects.setScene(scene);

    let asked = 0;
    async function showShot() {
      asked += 1;
      const own = asked;
      try {
        const found = await api.shot(scene.id, shotSettings());
        if (own !== asked) return;
        tellWrong(null);
        shot.setShot(found);
        await picture.setShot(found);
      } catch (error) {
        if (own === asked) tellWrong(error);
      }
    }
    async function showObjects() {
      try {
        objects.setScene(await api.inspect(scene.id, shotSettings()));
      } catch (error) {
        tellWrong(error);
      }
    }
    const soon = later(showShot, 120);

    function changed(names) {
      if (names.includes("all") || names.includes("scene")) {
        begin();
        return;
      }
      if (names.some((name) => SHOT_SETTINGS.includes(name))) soon();
      if (names.some((name) => OBJECT_SETTINGS.includes(name))) showObjects();
      if (names.includes("model")) {
        words.setVocabulary(vocabulary());
        objects.setVocabulary(vocabulary());
        soon();
      }
      [words, shot, more].forEach((panel) => panel.show());
      start.check();
    }

    const hasRules = OBJECT_SETTINGS.some((name) => draft.get(name) !== null);
    fill(
      main,
      el("h1", { class: "unseen" }, `Make a video of ${scene.name}`),
      el(
        "div",
        { class: "workspace" },
        el("div", { class: "seen" }, picture, wrong, words),
        el("div", { class: "panels" }, about, shot, objects, more),
      ),
      start,
    );
    closers.push(draft.follow(changed), picture.close, start.close);
    const submitKey = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        start.submit();
      }
    };
    document.addEventListener("keydown", submitKey);
    closers.push(() => document.removeEventListener("keydown", submitKey));
    showShot();
    if (hasRules) showObjects();
    start.check();
  }

  begin();
  return () => {
    isLeft = true;
    closeAll();
  };
}
