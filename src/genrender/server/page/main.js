// Begins: theme, sign-in, what is fetched once, and which part of the page the address names.

import { api } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { dropAnywhere } from "./drop.js";
import { galleryPage } from "./gallery.js";
import { makePage } from "./make.js";
import { complain } from "./notices.js";
import { runPage } from "./run.js";
import { runs } from "./runs.js";
import { signIn } from "./sign_in.js";
import { themeSwitch } from "./theme.js";
import { showNow } from "./now.js";

const PAGES = { make: makePage, gallery: galleryPage, run: runPage };
let leave = null;
let known = null;

/** Shows what the address names: #make, #run/ID, #gallery, #gallery/SEARCH. */
async function show() {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const page = PAGES[name] ? name : "make";
  const main = document.getElementById("main");
  leave?.();
  leave = null;
  for (const link of document.querySelectorAll("nav a")) {
    const isCurrent = link.hash === `#${page}`;
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.dataset.page = page;
  window.scrollTo(0, 0);
  leave = PAGES[page](main, known, decodeURIComponent(rest.join("/")));
}

async function begin() {
  fill(document.getElementById("theme"), themeSwitch());
  const main = document.getElementById("main");
  try {
    let about = await api.about();
    if (about.needs_token && !about.is_allowed) {
      await signIn(main);
      about = await api.about();
    }
    const [settings, models] = await Promise.all([api.settings(), api.models()]);
    known = { about, groups: settings.groups, ...models };
  } catch (error) {
    fill(
      main,
      el(
        "div",
        { class: "card narrow", role: "alert" },
        el("h1", {}, "The page could not begin"),
        el("p", {}, error.message),
        el("button", { type: "button", onClick: () => location.reload() }, icon("forward"), "Try again"),
      ),
    );
    return;
  }
  runs.start();
  showNow(document.getElementById("now"));
  dropAnywhere(document.getElementById("drop"), known);
  window.addEventListener("hashchange", () => {
    show();
    // Who listens or uses the keyboard goes on in what is new.
    document.getElementById("main").focus({ preventScroll: true });
  });
  await show();
}

window.addEventListener("unhandledrejection", (event) => complain(event.reason));
begin();
