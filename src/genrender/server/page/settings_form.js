// Fields for settings as the server describes them: label, kind, default and one line of explanation.

import { el, choice, field, setOptions } from "./dom.js";
import { draft } from "./draft.js";
import { sentence } from "./wording.js";

const TITLES = {
  uv: "Texture coordinates",
  fps: "Frames per second",
  lora: "LoRA",
  vae: "Autoencoder (VAE)",
  ip_adapter: "IP-Adapter",
  ip_image: "Reference picture",
  controlnet: "Control networks",
  dtype: "Numbers",
  set: "Any other setting",
  exr_map: "EXR channels",
};

/** What a setting is called on the page. */
export function titleOf(name) {
  const words = name.replaceAll("_", " ");
  return TITLES[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** The command line's words with options called as they are here. */
export const plain = (words) => words.replace(/--([a-z-]+)/g, (_, name) => `“${titleOf(name.replaceAll("-", "_"))}”`);

/** Its line of explanation, in the page's words where the command line's do not fit; none that says the title again. */
function aboutOf(setting) {
  const words = sentence(plain(setting.about.replace("; may be given several times", "; one a line")));
  return words === `${titleOf(setting.name)}.` ? null : words;
}

/**
 * A field that is bound to the draft.
 *
 * @param {object} setting as GET /api/settings gives it
 * @param {{title?: string, about?: string|null}} given other words than its own
 */
export function settingField(setting, { title = titleOf(setting.name), about = aboutOf(setting) } = {}) {
  const { control, show } = KINDS[setting.kind](setting);
  control.dataset.setting = setting.name;
  const whole =
    setting.kind === "flag"
      ? el(
          "div",
          { class: "field" },
          el("label", { class: "check" }, control, title),
          about && el("small", { class: "quiet" }, about),
        )
      : field(title, control, about);
  show(draft.get(setting.name));
  whole.show = () => {
    if (document.activeElement !== control) show(draft.get(setting.name));
  };
  whole.control = control;
  return whole;
}

const put = (setting, value) => draft.set({ [setting.name]: value });

function typed(setting, props) {
  const control = el("input", {
    placeholder: plain(setting.default_text ?? "") || String(setting.default ?? ""),
    autocomplete: "off",
    spellcheck: false,
    ...props,
  });
  return {
    control,
    show: (value) => {
      control.value = value ?? "";
    },
  };
}

function numbers(setting, step) {
  const made = typed(setting, { type: "number", step, inputMode: "decimal" });
  made.control.addEventListener("input", () => {
    const { value, validity } = made.control;
    made.control.setAttribute("aria-invalid", String(validity.badInput));
    if (!validity.badInput) put(setting, value === "" ? null : Number(value));
  });
  return made;
}

const KINDS = {
  text(setting) {
    const made = typed(setting, { type: "text" });
    made.control.addEventListener("input", () => put(setting, made.control.value.trim()));
    return made;
  },
  integer: (setting) => numbers(setting, 1),
  number: (setting) => numbers(setting, "any"),
  flag(setting) {
    const control = el("input", {
      type: "checkbox",
      onChange: () => put(setting, control.checked === Boolean(setting.default) ? null : control.checked),
    });
    return {
      control,
      show: (value) => {
        control.checked = value ?? Boolean(setting.default);
      },
    };
  },
  choice(setting) {
    const standard = plain(setting.default_text ?? "") || String(setting.default ?? "");
    const has = setting.choices.includes(setting.default);
    const options = has
      ? setting.choices.map((own) => [own, own])
      : [["", standard], ...setting.choices.map((own) => [own, own])];
    const control = choice(options, "", (value) => put(setting, value === setting.default ? null : value));
    return {
      control,
      show(value) {
        const wanted = value ?? (has ? setting.default : "");
        // What a run of another version asked for is shown as it is.
        if (![...control.options].some((option) => option.value === wanted))
          setOptions(control, [...options, [wanted, wanted]], wanted);
        control.value = wanted;
      },
    };
  },
  texts(setting) {
    const control = el("textarea", {
      rows: 2,
      spellcheck: false,
      placeholder: `${setting.example ?? setting.default_text ?? "none"}, one a line`,
    });
    control.addEventListener("input", () =>
      put(
        setting,
        control.value
          .split("\n")
          .map((line) => line.trim())
          .filter(Boolean),
      ),
    );
    return {
      control,
      show: (value) => {
        control.value = (value ?? []).join("\n");
      },
    };
  },
};

/**
 * Several settings under one folded heading, with how many of them are not as usual.
 *
 * @param {string} title
 * @param {string} about
 * @param {HTMLElement[]} fields of settingField, or others with a name in `data-settings`
 * @param {string[]} names of the settings
 */
export function folded(title, about, fields, names) {
  const changed = el("span", { class: "chip small" });
  const whole = el(
    "details",
    { class: "fold" },
    el("summary", {}, el("span", {}, title), changed),
    about && el("p", { class: "quiet small" }, about),
    el("div", { class: "fields" }, fields),
  );
  whole.show = () => {
    const n = names.filter((name) => draft.get(name) !== null).length;
    changed.hidden = n === 0;
    changed.textContent = `${n} changed`;
    for (const one of fields) one.show?.();
  };
  whole.show();
  return whole;
}
