// Files that are dropped anywhere: a scene is opened, a result gives its settings back.

import { api } from "./api.js";
import { draft } from "./draft.js";
import { complain, notice } from "./notices.js";
import { sendScene } from "./open.js";

const RESULT = /\.(mp4|json)$/i;
// Where a zip lists what is in it.
const TAIL = 1 << 20;

/** All files of what was dropped, folders opened. Entries must be taken before anything is waited for. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  const found = [];
  async function walk(entry) {
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else {
      const reader = entry.createReader();
      // It gives some at a time, and none at the end.
      for (;;) {
        const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) return;
        for (const one of some) await walk(one);
      }
    }
  }
  for (const entry of entries) await walk(entry);
  return found;
}

/** The file that holds a run's settings, or null where these are no result. */
async function resultIn(files) {
  const config = files.find((file) => file.name === "config.json");
  if (config) return config;
  if (files.length !== 1) return null;
  const [file] = files;
  if (RESULT.test(file.name) || /\.png$/i.test(file.name)) return file;
  if (!/\.zip$/i.test(file.name)) return null;
  const tail = await file.slice(Math.max(0, file.size - TAIL)).text();
  return tail.includes("config.json") ? file : null;
}

async function recover(file) {
  const found = await api.recover([file]);
  draft.replace({ scene: found.scene ?? draft.scene, settings: found.settings });
  location.hash = "#make";
  const words = found.scene
    ? "its settings and its scene are here."
    : "its settings are here. Its scene is not; choose the file, or keep this one.";
  notice(
    `${file.name}: ${words} ${(found.notes ?? []).join(" ")}`,
    found.run
      ? {
          action: [
            "Open the run",
            () => {
              location.hash = `#run/${found.run}`;
            },
          ],
        }
      : {},
  );
}

async function take(files, limits) {
  if (files.length === 0) return;
  const result = await resultIn(files);
  if (result) {
    await recover(result);
    return;
  }
  const close = notice(`${files[0].name}: sending and reading it…`, { stays: true });
  try {
    const scene = await sendScene(files, limits, () => {});
    draft.setScene(scene.id);
    location.hash = "#make";
  } finally {
    close();
  }
}

/** Listens on the whole window; `overlay` is shown while files are held over it. */
export function dropAnywhere(overlay, known) {
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (isShown) => {
    overlay.hidden = !isShown;
    if (!isShown) depth = 0;
  };
  window.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) {
      depth += 1;
      show(true);
    }
  });
  window.addEventListener("dragleave", (event) => {
    if (holdsFiles(event) && (depth -= 1) <= 0) show(false);
  });
  window.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(false);
    try {
      await take(await filesOf(event.dataTransfer), known.about.limits);
    } catch (error) {
      complain(error);
    }
  });
}
