// Numbers and times as people say them.

export function bytes(count) {
  if (count < 1e6) return `${Math.max(1, Math.round(count / 1e3))} kB`;
  if (count < 1e9) return `${Math.round(count / 1e6)} MB`;
  return `${(count / 1e9).toFixed(1)} GB`;
}

export function seconds(value) {
  const s = Math.max(0, Math.round(value));
  if (s < 100) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

/** A moment in ISO 8601 as "just now", "5 min ago", or a date. */
export function ago(moment) {
  const passed_s = (Date.now() - Date.parse(moment)) / 1000;
  if (!Number.isFinite(passed_s)) return "";
  if (passed_s < 50) return "just now";
  if (passed_s < 86400) return `${seconds(passed_s)} ago`;
  return new Date(moment).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

export function list(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Words with a capital before them and a full stop behind. */
export const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;

/** A figure with three digits that count. */
export function figure(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** What a run is doing, as its progress names it. */
const WORK = {
  diffusion: "Painting",
  alpha: "Alpha",
  exr: "Linear light",
  mattes: "Mattes",
  prores: "ProRes",
  upscaled: "Enlarging",
};

/** One line about where a run is. */
export function stateWords(run) {
  if (run.state === "waiting")
    return run.position ? `Waiting, ${count(run.position, "run")} before it` : "Waiting, next";
  if (run.state === "stopped")
    return run.can_resume && run.keeps_steps ? "Interrupted; it can go on" : "Stopped";
  if (run.state === "failed") return "Failed";
  if (run.state === "deleted") return "Deleted";
  if (run.state === "finished") return `Finished ${ago(run.ended)}`;
  const { progress } = run;
  if (!progress) return "Starting";
  const what = WORK[progress.work] ?? progress.work.charAt(0).toUpperCase() + progress.work.slice(1);
  return `${what}, ${progress.done} of ${progress.total}`;
}

/** How much time is left, or how much has passed. */
export function timeWords(run) {
  const { progress } = run;
  if (run.state !== "running" || !progress) return "";
  const left = progress.left_s;
  if (left !== null && left !== undefined) return left < 1 ? "almost done" : `about ${seconds(left)} left`;
  return `${seconds(progress.elapsed_s)} so far`;
}
