// What is being prepared: the scene and the settings that differ from their defaults. It outlives a reload.

const KEY = "genrender-draft";
const EMPTY = { scene: null, settings: { prompt: "" }, from: null };

function stored() {
  try {
    const value = JSON.parse(localStorage.getItem(KEY));
    if (value && typeof value.settings === "object") return { ...EMPTY, ...value };
  } catch {
    // Storage is off, or holds something else: begin afresh.
  }
  return structuredClone(EMPTY);
}

let value = stored();
const listeners = new Set();

export const draft = {
  get scene() {
    return value.scene;
  },
  get settings() {
    return value.settings;
  },
  get from() {
    return value.from;
  },

  /** A setting, or what stands for it where none is given. */
  get(name, fallback = null) {
    return value.settings[name] ?? fallback;
  },

  /** What is sent. */
  asked() {
    return structuredClone(value);
  },

  /** Changes settings; null, "" and [] are the default, which is left out. */
  set(changes) {
    const settings = { ...value.settings };
    for (const [name, own] of Object.entries(changes)) {
      const isDefault =
        own === null ||
        own === undefined ||
        (name !== "prompt" && own === "") ||
        (Array.isArray(own) && own.length === 0);
      if (isDefault) delete settings[name];
      else settings[name] = own;
    }
    value = { ...value, settings };
    tell(Object.keys(changes));
  },

  /** Another scene; what names parts of the old one goes with it. */
  setScene(scene) {
    const settings = { ...value.settings };
    for (const name of [
      "animation",
      "camera",
      "frames",
      "start",
      "end",
      "fps",
      "merge",
      "ignore",
      "prompt_for",
      "objects",
    ])
      delete settings[name];
    value = { ...value, scene, settings };
    tell(["scene"]);
  },

  /** Everything anew, such as the settings of a run. */
  replace({ scene = null, settings = {}, from = null }) {
    value = { scene, settings: { prompt: "", ...settings }, from };
    tell(["all"]);
  },

  /** Calls a function with the names of what has changed; returns what ends that. */
  follow(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

function tell(names) {
  try {
    localStorage.setItem(KEY, JSON.stringify(value));
  } catch {
    // It then lives as long as the page.
  }
  for (const listener of [...listeners]) listener(names);
}

/** Settings that decide what is seen; the others decide how it is painted. */
export const SHOT_SETTINGS = [
  "animation",
  "frames",
  "fps",
  "start",
  "end",
  "camera",
  "loop",
  "backdrop",
  "objects",
  "merge",
  "ignore",
  "uv",
  "size",
  // Where no size is given, the model says it.
  "model",
];

export function shotSettings(settings = value.settings) {
  return Object.fromEntries(
    SHOT_SETTINGS.filter((name) => name in settings).map((name) => [name, settings[name]]),
  );
}
