// Messages that come and go at the foot of the page. What needs an answer stays; the rest leaves by itself.

import { el, iconButton } from "./dom.js";

const SHOWN_MS = 8000;

/**
 * @param {string} text
 * @param {{kind?: "wrong"|"good", action?: [string, () => void], stays?: boolean}} given
 */
export function notice(text, { kind = "", action = null, stays = kind === "wrong" } = {}) {
  const close = () => whole.remove();
  const whole = el(
    "div",
    { class: `notice ${kind}`, role: kind === "wrong" ? "alert" : "status" },
    el("p", { class: "wrap-any" }, text),
    action &&
      el(
        "button",
        {
          type: "button",
          onClick: () => {
            close();
            action[1]();
          },
        },
        action[0],
      ),
    iconButton("close", "Close this message", close, { class: "icon plain" }),
  );
  const region = document.getElementById("notices");
  region.append(whole);
  while (region.children.length > 4) region.firstElementChild.remove();
  if (!stays) {
    // It waits for whoever is reading or about to press its button.
    const leave = () => (whole.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : close());
    setTimeout(leave, SHOWN_MS);
  }
  return close;
}

/** Tells what went wrong, in the server's words. Work that was given up is no fault. */
export function complain(error) {
  if (error.name === "AbortError") return;
  notice(error.message, { kind: "wrong" });
}

/** Runs what a button is for; meanwhile the button cannot be pressed again, and says what is being done. */
export async function busy(button, words, work) {
  const before = [...button.childNodes];
  button.disabled = true;
  if (words) button.replaceChildren(words);
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  } finally {
    button.disabled = false;
    button.replaceChildren(...before);
  }
}
