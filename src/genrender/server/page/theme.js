// Dark or light: as the system has it, until somebody chooses.

import { el, fill, icon } from "./dom.js";

const KEY = "genrender-theme";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function themeSwitch() {
  const button = el("button", { type: "button", class: "icon plain", onClick: turn });
  const isDark = () =>
    (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

  function show() {
    const label = isDark() ? "Light colours" : "Dark colours";
    fill(button, icon(isDark() ? "sun" : "moon"));
    button.title = label;
    button.setAttribute("aria-label", label);
  }

  function turn() {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It then lives as long as the page.
    }
    show();
  }

  const before = chosen();
  if (before === "dark" || before === "light") document.documentElement.dataset.theme = before;
  dark.addEventListener("change", show);
  show();
  return button;
}
