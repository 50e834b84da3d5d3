// Which objects are merged, left out and described, kept in the settings `merge`, `ignore` and `prompt_for`.

/** A name as a pattern that means this name only. */
const literal = (name) => name.replace(/[[*?]/g, (sign) => `[${sign}]`);

const split = (text) => {
  const at = text.indexOf("=");
  return [text.slice(0, at), text.slice(at + 1)];
};

const alike = (a, b) => a.toLowerCase() === b.toLowerCase();

/** The text for an object, or "". */
export function promptFor(settings, name) {
  const found = (settings.prompt_for ?? []).map(split).find(([pattern]) => alike(pattern, literal(name)));
  return found ? found[1] : "";
}

export function withPrompt(settings, name, text) {
  const others = (settings.prompt_for ?? []).filter((entry) => !alike(split(entry)[0], literal(name)));
  return { prompt_for: text.trim() ? [...others, `${literal(name)}=${text.trim()}`] : others };
}

/** What an object of the settings consists of: names as the file has them. */
export function members(settings, name, fileNames) {
  const merges = (settings.merge ?? []).map(split);
  const joined = fileNames.filter((own) =>
    merges.some(([pattern, to]) => alike(pattern, literal(own)) && alike(to, name)),
  );
  return fileNames.some((own) => alike(own, name)) && !joined.some((own) => alike(own, name))
    ? [name, ...joined]
    : joined;
}

/** One object becomes a part of another; all that was merged into it comes along. */
export function merged(settings, name, into, fileNames) {
  const moving = members(settings, name, fileNames);
  const kept = (settings.merge ?? []).filter(
    (entry) => !alike(split(entry)[1], name) && !moving.some((own) => alike(split(entry)[0], literal(own))),
  );
  return {
    merge: [...kept, ...moving.map((own) => `${literal(own)}=${into}`)],
    ...withPrompt(settings, name, ""),
  };
}

/** Parts are objects of their own again. */
export function separated(settings, name) {
  return { merge: (settings.merge ?? []).filter((entry) => !alike(split(entry)[1], name)) };
}

/** All that an object consists of is left out. */
export function leftOut(settings, name, fileNames) {
  const parts = members(settings, name, fileNames);
  return {
    ignore: [...new Set([...(settings.ignore ?? []), ...(parts.length ? parts : [name]).map(literal)])],
    merge: (settings.merge ?? []).filter((entry) => !alike(split(entry)[1], name)),
    ...withPrompt(settings, name, ""),
  };
}

export function broughtBack(settings, name) {
  return {
    ignore: (settings.ignore ?? []).filter(
      (pattern) => !alike(pattern, literal(name)) && !alike(pattern, name),
    ),
  };
}
