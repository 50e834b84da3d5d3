// Which words a model knows. The server decides; what it has said of a word is remembered.

import { api } from "./api.js";

const WORD = /[\p{L}\p{N}]+(?:'[\p{L}\p{N}]+)?/gu;
const verdicts = new Map();

/** Words of a text with their places. */
function wordsIn(text) {
  return [...text.matchAll(WORD)].map((match) => ({
    word: match[0],
    start: match.index,
    end: match.index + match[0].length,
  }));
}

/** What a model knows: its words for suggestions, and what it says of those in a text. */
export class Vocabulary {
  /** @param {object|undefined} model as GET /api/models gives it */
  constructor(model) {
    this.model = model?.name ?? "pocket";
    this.groups = model?.words ?? null;
    this.sorted = this.groups
      ? [...new Set(Object.values(this.groups).flat())].filter((word) => word.length > 1).sort()
      : [];
    if (!verdicts.has(this.model)) verdicts.set(this.model, new Map());
    this.said = verdicts.get(this.model);
  }

  /** Words that begin with some letters. */
  beginning(letters) {
    return letters.length < 2 || this.sorted.includes(letters)
      ? []
      : this.sorted.filter((word) => word.startsWith(letters)).slice(0, 6);
  }

  /** Unknown words of a text with their places and what to try instead, as far as it is known yet. */
  unknown(text) {
    return wordsIn(text)
      .map((found) => ({ ...found, ...this.said.get(found.word.toLowerCase()) }))
      .filter((found) => found.isUnknown);
  }

  /** Asks about the words of a text that were never asked about; whether there were any. */
  async learn(text) {
    const words = [...new Set(wordsIn(text).map(({ word }) => word.toLowerCase()))];
    if (!this.groups || words.every((word) => this.said.has(word))) return false;
    const { unknown } = await api.words(this.model, text);
    for (const word of words) this.said.set(word, { isUnknown: false });
    for (const { word, suggestion } of unknown)
      this.said.set(word.toLowerCase(), { isUnknown: true, suggestion });
    return true;
  }
}
