// Waiting for a condition, never for a time.

const POLL_INTERVAL_MS = 100;

/**
 * Asks again and again until the answer is true, and gives the last answer in the failure.
 *
 * @template T
 * @param {string} what
 * @param {number} timeoutMs
 * @param {() => Promise<T> | T} look
 * @param {(found: T) => boolean} [isEnough]
 * @returns {Promise<T>}
 */
export async function until(what, timeoutMs, look, isEnough = Boolean) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (isEnough(found)) return found;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}; last seen: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}
