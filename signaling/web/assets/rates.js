// Two successive `getStats` reports as rates that a person can read. Numbers only; it knows nothing of the page.

/**
 * @typedef {{ id: string, direction: "up" | "down", kind: string, rid: string, trackIdentifier: string, mid: string,
 *             width: number, height: number, fps: number, kbps: number, lossPercent: number }} StreamRate
 * @typedef {{ streams: StreamRate[], rttMs: number | null, upKbps: number, downKbps: number }} Rates
 */

/**
 * @param {Map<string, any>} before  The report of a while ago; empty at first.
 * @param {Map<string, any>} now
 * @returns {Rates}
 */
export function rates(before, now) {
  /** @type {StreamRate[]} */
  const streams = [];
  for (const stat of now.values()) {
    if (stat.type === "inbound-rtp") streams.push(down(before.get(stat.id), stat));
    if (stat.type === "outbound-rtp") streams.push(up(before.get(stat.id), stat, now.get(stat.remoteId)));
  }
  const sum = (/** @type {string} */ direction) =>
    streams.filter((stream) => stream.direction === direction).reduce((total, { kbps }) => total + kbps, 0);
  return { streams, rttMs: roundTripMs(now), upKbps: sum("up"), downKbps: sum("down") };
}

/**
 * @param {any} before
 * @param {any} stat
 * @returns {StreamRate}
 */
function down(before, stat) {
  const lost = grown(before, stat, "packetsLost");
  const received = grown(before, stat, "packetsReceived");
  const lossPercent = lost > 0 ? (100 * lost) / (lost + received) : 0;
  return { ...common(stat), direction: "down", kbps: kbps(before, stat, "bytesReceived"), lossPercent };
}

/**
 * @param {any} before
 * @param {any} stat
 * @param {any} remote  What the bridge reports of this stream.
 * @returns {StreamRate}
 */
function up(before, stat, remote) {
  return { ...common(stat), direction: "up", kbps: kbps(before, stat, "bytesSent"), lossPercent: 100 * (remote?.fractionLost ?? 0) };
}

/** @param {any} stat */
function common({ id, kind, rid = "", trackIdentifier = "", mid = "", frameWidth: width = 0, frameHeight: height = 0, framesPerSecond: fps = 0 }) {
  return { id, kind, rid, trackIdentifier, mid, width, height, fps };
}

/**
 * @param {any} before
 * @param {any} stat
 * @param {string} key
 */
function kbps(before, stat, key) {
  const elapsedMs = before ? stat.timestamp - before.timestamp : 0;
  return elapsedMs > 0 ? (8 * grown(before, stat, key)) / elapsedMs : 0;
}

/**
 * @param {any} before
 * @param {any} stat
 * @param {string} key
 */
function grown(before, stat, key) {
  return before ? Math.max(0, (stat[key] ?? 0) - (before[key] ?? 0)) : 0;
}

/**
 * Of the pair of addresses in use.
 *
 * @param {Map<string, any>} now
 */
function roundTripMs(now) {
  for (const stat of now.values()) {
    const isInUse = stat.type === "candidate-pair" && stat.nominated && stat.state === "succeeded";
    if (isInUse && typeof stat.currentRoundTripTime === "number") return 1000 * stat.currentRoundTripTime;
  }
  return null;
}
