// The token that a server beyond this machine asks for.

import { api } from "./api.js";
import { el, field, fill } from "./dom.js";

/** Asks for the token until it is right. */
export function signIn(main) {
  return new Promise((resolve) => {
    const token = el("input", { type: "password", autocomplete: "current-password", required: true });
    const wrong = el("p", { class: "wrong small", role: "alert" });
    const form = el(
      "form",
      { class: "card narrow", onSubmit: send },
      el("h1", {}, "This server asks for its token"),
      field(
        "Token",
        token,
        "What `genrender serve --token` was started with. It is kept in a cookie of this browser.",
      ),
      wrong,
      el("button", { class: "main" }, "Open the page"),
    );

    async function send(event) {
      event.preventDefault();
      try {
        await api.signIn(token.value);
        resolve();
      } catch (error) {
        wrong.textContent =
          error.status === 401 ? "That is not the token. Nothing was changed." : error.message;
        token.select();
      }
    }

    fill(main, form);
    token.focus();
  });
}
