// Elements without markup: text is always text, so that no prompt or name can become part of the page.

/**
 * An element. Props that are functions named on… listen; `class`, `data-…`, `aria-…` and other names with a dash or
 * without a property are attributes; the rest are properties. Children are nodes or texts; null and false are left out.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "class") node.className = value;
    else if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...present(children));
  return node;
}

/** Replaces what is in an element. */
export function fill(node, ...children) {
  node.replaceChildren(...present(children));
  return node;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

let lastId = 0;
/** An id that no other element has. */
export function newId(name) {
  lastId += 1;
  return `${name}-${lastId}`;
}

const PATHS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M8 5v14M16 5v14",
  back: "M15 6l-6 6 6 6",
  forward: "M9 6l6 6-6 6",
  close: "M6 6l12 12M18 6L6 18",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 3v1M12 20v1M3 12h1M20 12h1M5.6 5.6l.7.7M17.7 17.7l.7.7M5.6 18.4l.7-.7M17.7 6.3l.7-.7",
  moon: "M20 14.5A8 8 0 119.5 4a6.5 6.5 0 0010.5 10.5z",
  upload: "M12 16V5M7 9.5L12 5l5 4.5M5 19h14",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01",
  download: "M12 4v11M7 10.5l5 4.5 5-4.5M5 20h14",
};

/** A drawing that stands beside words or in a button that has a label. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with a drawing only, and what it does as label and tooltip. */
export function iconButton(name, label, onClick, props = {}) {
  return el(
    "button",
    { type: "button", class: "icon", "aria-label": label, title: label, onClick, ...props },
    icon(name),
  );
}

/** A label above a field, with one line about it below. The field gets an id and the line describes it. */
export function field(label, control, about = null) {
  control.id ||= newId("field");
  const line = about === null ? null : el("small", { class: "quiet", id: `${control.id}-about` }, about);
  if (line) control.setAttribute("aria-describedby", line.id);
  return el("div", { class: "field" }, el("label", { htmlFor: control.id }, label), control, line);
}

/** A list to choose one of; options are [value, text] or a text for both. */
export function choice(options, value, onChange, props = {}) {
  const select = el("select", { onChange: () => onChange(select.value), ...props });
  setOptions(select, options, value);
  return select;
}

export function setOptions(select, options, value) {
  fill(
    select,
    options.map((option) => {
      const [own, text] = Array.isArray(option) ? option : [option, option];
      return el("option", { value: own }, text);
    }),
  );
  select.value = value;
}

/** Buttons of which one is pressed, as radio buttons: arrow keys choose. */
export function segments(label, options, value, onChange) {
  const name = newId("segments");
  const set = el(
    "fieldset",
    { class: "segments" },
    el("legend", { class: "unseen" }, label),
    options.map(([own, text]) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name,
          value: own,
          checked: own === value,
          onChange: () => onChange(own),
        }),
        el("span", {}, text),
      ),
    ),
  );
  set.choose = (own) => {
    for (const input of set.querySelectorAll("input")) input.checked = input.value === own;
  };
  return set;
}

/** Whether whoever looks has asked their system for things that stand still. */
export const prefersStill = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Runs a function a little after the last call. */
export function later(run, wait_ms) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), wait_ms);
  };
}
