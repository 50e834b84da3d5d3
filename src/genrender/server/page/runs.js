// What is known of runs, kept up to date by the server's events.

import { api, followRuns } from "./api.js";

const known = new Map();
const listeners = new Set();
let isConnected = true;

export const isActive = (run) => run.state === "waiting" || run.state === "running";

/** How much of what a run is at is done, 0 to 1. */
export const shareOf = ({ progress }) => (progress?.total ? progress.done / progress.total : 0);

export const otherSeed = () => 1 + Math.floor(Math.random() * 99999);

/** Asks for a run with some settings changed, and shows it. */
export async function makeAgain(run, settings = {}) {
  const made = runs.note(await api.submit({ scene: null, settings, from: run.id }));
  location.hash = `#run/${made.id}`;
}

export const runs = {
  get: (id) => known.get(id),
  active: () =>
    [...known.values()]
      .filter(isActive)
      .sort((a, b) => (a.position ?? -1) - (b.position ?? -1) || a.created.localeCompare(b.created)),
  isConnected: () => isConnected,
  /** Takes in what an answer says of a run. */
  note(run) {
    known.set(run.id, run);
    tell(run);
    return run;
  },
  /** Calls a function with every run that changes, and with null where the connection does. */
  follow(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  start() {
    followRuns({
      run: runs.note,
      async opened() {
        isConnected = true;
        // What happened meanwhile was not told.
        await refresh().catch(() => {});
        tell(null);
      },
      lost() {
        isConnected = false;
        tell(null);
      },
    });
  },
};

function tell(run) {
  for (const listener of [...listeners]) listener(run);
}

async function refresh() {
  const waiting = new Set(runs.active().map((run) => run.id));
  const answer = await api.runs({ state: "waiting,running", limit: 200 });
  for (const run of answer.runs) {
    waiting.delete(run.id);
    runs.note(run);
  }
  for (const id of waiting) await api.run(id).then(runs.note, () => known.delete(id));
}
