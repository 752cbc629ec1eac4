// How long to wait before the next try of a connection: a random time up to a bound that doubles with each try, so that
// a thousand browsers that lost the same server do not come back in the same moment.

const RETRY_MIN_MS = 250;
/** A connection that stood for this long was a good one: after it, waits are short again. One that breaks at once is not. */
const STABLE_MS = 10_000;

export class Backoff {
  #maxMs;
  #random;
  #attempt = 0;
  #openedAt = Infinity;

  /**
   * @param {number} maxMs
   * @param {() => number} [random]  In 0..1.
   */
  constructor(maxMs, random = Math.random) {
    this.#maxMs = maxMs;
    this.#random = random;
  }

  noteOpened() {
    this.#openedAt = Date.now();
  }

  /** The wait after the break that just happened. */
  nextMs() {
    if (Date.now() - this.#openedAt >= STABLE_MS) this.#attempt = 0;
    this.#openedAt = Infinity;
    return this.#random() * Math.min(this.#maxMs, RETRY_MIN_MS * 2 ** this.#attempt++);
  }
}
