// Frames of a run or of what it was made from, fetched once and kept while there is room.

const KEPT = 240;

/**
 * @param {(frame: number) => string} address of one frame's picture
 * @param {number} n frames
 */
export class Frames {
  constructor(address, n) {
    this.address = address;
    this.n = n;
    this.kept = new Map();
  }

  /** The picture of a frame, as a promise. */
  get(frame) {
    const known = this.kept.get(frame);
    if (known) return known;
    const fetched = fetch(this.address(frame)).then(async (answer) => {
      if (!answer.ok) throw new Error(`frame ${frame} could not be fetched (${answer.status})`);
      return createImageBitmap(await answer.blob());
    });
    fetched.catch(() => this.kept.delete(frame));
    this.kept.set(frame, fetched);
    if (this.kept.size > KEPT) {
      const [oldest, picture] = this.kept.entries().next().value;
      this.kept.delete(oldest);
      picture.then(
        (bitmap) => bitmap.close(),
        () => {},
      );
    }
    return fetched;
  }

  /** Fetches what comes next, so that playing does not wait. */
  ahead(frame, count = 6) {
    for (let i = 1; i <= Math.min(count, this.n - 1); i += 1) this.get((frame + i) % this.n).catch(() => {});
  }

  close() {
    for (const picture of this.kept.values())
      picture.then(
        (bitmap) => bitmap.close(),
        () => {},
      );
    this.kept.clear();
  }
}
