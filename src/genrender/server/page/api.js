// What the page asks the server, as docs/http_api.md says. Addresses are relative, so that a proxy may put a path before them.

/** The server's own words about what is wrong, or ours where it did not answer. */
class Failure extends Error {
  constructor(words, status) {
    super(words);
    this.status = status;
  }
}

const NOT_THERE =
  "The server does not answer. Is `genrender serve` still running? Nothing is lost; the page goes on when it is back.";

async function failureOf(answer) {
  let words = null;
  try {
    words = (await answer.json()).error;
  } catch {
    // No JSON: a proxy or something else answered.
  }
  return new Failure(
    typeof words === "string" ? words : `The server answered ${answer.status} ${answer.statusText}`,
    answer.status,
  );
}

async function ask(method, path, body, signal) {
  const options = { method, signal, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`api/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(NOT_THERE, 0);
  }
  if (!answer.ok) throw await failureOf(answer);
  return answer;
}

async function json(method, path, body, signal) {
  const answer = await ask(method, path, body, signal);
  return answer.status === 204 ? null : answer.json();
}

/**
 * Sends files, with progress.
 *
 * @param {string} path below api/
 * @param {File[]} files
 * @param {(share: number) => void} onProgress share of the bytes that are sent, 0 to 1
 * @param {AbortSignal} [signal] ends it
 */
function upload(path, files, onProgress = () => {}, signal = undefined) {
  const form = new FormData();
  for (const file of files) form.append("file", file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `api/${path}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 400) resolve(request.response);
      else
        reject(
          new Failure(
            request.response?.error ?? `The server answered ${request.status} ${request.statusText}`,
            request.status,
          ),
        );
    };
    request.onerror = () => reject(new Failure(NOT_THERE, 0));
    request.onabort = () => reject(new DOMException("given up", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

const query = (given) =>
  new URLSearchParams(
    Object.entries(given).filter(([, value]) => value !== null && value !== undefined && value !== ""),
  ).toString();

export const api = {
  about: () => json("GET", "about"),
  signIn: (token) => json("POST", "session", { token }),
  settings: () => json("GET", "settings"),
  models: () => json("GET", "models"),
  words: (model, text) => json("POST", "words", { model, text }),
  uploadPicture: (file) => upload("pictures", [file]),

  scenes: () => json("GET", "scenes"),
  scene: (scene) => json("GET", `scenes/${scene}`),
  uploadScene: (files, onProgress, signal) => upload("scenes", files, onProgress, signal),
  exampleScene: () => json("POST", "scenes/example"),
  inspect: (scene, settings) => json("POST", `scenes/${scene}/inspect`, { settings }),
  shot: (scene, settings) => json("POST", `scenes/${scene}/shot`, { settings }),
  pick: (scene, view) => json("POST", `scenes/${scene}/pick`, view),
  /** A picture of a scene and what `X-View` says about it. */
  async view(scene, view, signal) {
    const answer = await ask("POST", `scenes/${scene}/view`, view, signal);
    const about = JSON.parse(answer.headers.get("X-View"));
    return { about, picture: await createImageBitmap(await answer.blob()) };
  },

  check: (asked, signal) => json("POST", "check", asked, signal),
  submit: (asked) => json("POST", "runs", asked),
  runs: (given) => json("GET", `runs?${query(given)}`),
  batches: () => json("GET", "batches"),
  run: (run) => json("GET", `runs/${run}`),
  cancel: (run) => json("POST", `runs/${run}/cancel`),
  resume: (run) => json("POST", `runs/${run}/resume`),
  finish: (run, wish) => json("POST", `runs/${run}/finish`, wish),
  name: (run, name) => json("POST", `runs/${run}/name`, { name }),
  remove: (run) => json("DELETE", `runs/${run}`),
  restore: (run) => json("POST", `runs/${run}/restore`),
  settingsOf: (run) => json("GET", `runs/${run}/settings`),
  metrics: (run) => json("GET", `runs/${run}/metrics`),
  measure: (run) => json("POST", `runs/${run}/metrics`),
  diagnose: (run) => json("POST", `runs/${run}/diagnose`),
  recover: (files) => upload("recover", files),
  file: (run, name) => `api/runs/${run}/${name}`,
};

/**
 * Follows the runs of this server while the page is looked at. A browser opens few connections to one server, so a
 * page in the background gives its own back.
 *
 * @param {object} on run(run) that has changed; opened() after which all is told, lost() from which on nothing is
 */
export function followRuns(on) {
  let events = null;

  function open() {
    events = new EventSource("api/events");
    events.addEventListener("run", (event) => on.run(JSON.parse(event.data)));
    events.onopen = on.opened;
    events.onerror = () => {
      on.lost();
      // A browser gives up where it was answered with an error, such as by a server that is just starting.
      if (events?.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || open(), 2000);
    };
  }

  document.addEventListener("visibilitychange", () => {
    events?.close();
    events = null;
    if (!document.hidden) open();
  });
  open();
}
