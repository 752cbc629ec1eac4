// What a bridge tells its operator is what has happened: checked against what two browsers say of themselves.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch } from "./support/browsers.mjs";
import { ask, startPasserelle } from "./support/servers.mjs";
import { until } from "./support/until.mjs";
import { Visitor } from "./support/visitor.mjs";

/** @import { Launched } from "./support/browsers.mjs" */

const SUITE_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 60_000;
const MEDIA_WAIT_MS = 30_000;
/** A bridge may refresh what it tells only every 5 s. */
const REFRESH_MS = 5_000;
/** Several seconds of two cameras: what is under way when both sides are asked is little of it. */
const PACKETS_COMPARED = 3_000;
/** Browsers and bridge are not asked in the same instant, and count headers differently. */
const TOLERANCE = 0.15;

/** @type {Awaited<ReturnType<typeof startPasserelle>>} */ let server;
/** @type {Launched} */ let chromium;
/** @type {Visitor[]} */ const visitors = [];

before(async () => {
  server = await startPasserelle();
  chromium = await launch("chromium");
}, { timeout: SUITE_TIMEOUT_MS });

after(async () => {
  await chromium?.close();
  await server?.stop();
});

const bridgeStats = () => ask(`${server.bridgeRest}/stats`);

/**
 * What all browsers have sent and received as RTP, headers included.
 */
async function sumOfBrowsers() {
  const sum = { packetsUp: 0, packetsDown: 0, bytesUp: 0, bytesDown: 0 };
  for (const visitor of visitors) {
    for (const stat of await visitor.stats()) {
      if (stat.type === "outbound-rtp") {
        sum.packetsUp += stat.packetsSent;
        sum.bytesUp += stat.bytesSent + stat.headerBytesSent;
      }
      if (stat.type === "inbound-rtp") {
        sum.packetsDown += stat.packetsReceived;
        sum.bytesDown += stat.bytesReceived + stat.headerBytesReceived;
      }
    }
  }
  return sum;
}

/** @param {number} told @param {number} expected @param {string} what */
function assertNear(told, expected, what) {
  assert.ok(Math.abs(told - expected) <= TOLERANCE * expected, `${what}: the bridge tells ${told}, the browsers ${expected}`);
}

describe("a bridge's statistics", { timeout: SUITE_TIMEOUT_MS }, () => {
  test("are those of an idle bridge before anybody comes", { timeout: TEST_TIMEOUT_MS }, async () => {
    const idle = await bridgeStats();
    for (const key of ["endpoints", "conferences", "largest_conference", "total_packets_received", "packet_rate_download", "bit_rate_upload"]) assert.equal(idle[key], 0, key);
    assert.deepEqual(idle.conference_sizes, Array(22).fill(0));
    assert.equal(idle.healthy, true);
    assert.deepEqual(await ask(`${server.bridgeRest}/colibri/stats`).then(Object.keys), Object.keys(idle));
  });

  test("count two endpoints of one conference, and their packets and bytes", { timeout: TEST_TIMEOUT_MS }, async () => {
    visitors.push(await Visitor.open(chromium, "Anna"), await Visitor.open(chromium, "Ben"));
    for (const visitor of visitors) await visitor.join(server.page, "demo");
    for (const visitor of visitors) await until(`${visitor.name} sees the other`, MEDIA_WAIT_MS, () => visitor.framesDecoded(), (frames) => frames.size === 1);

    const told = await until("rates and counts are refreshed", 4 * REFRESH_MS, bridgeStats, (stats) => stats.endpoints === 2 && stats.packet_rate_upload > 0 && stats.endpoints_sending_video === 2);
    assert.equal(told.conferences, 1);
    assert.equal(told.largest_conference, 2);
    assert.deepEqual(told.conference_sizes, Array.from({ length: 22 }, (_, size) => Number(size === 2)));
    assert.equal(told.total_participants, 2);
    assert.equal(told.endpoints_sending_audio, 2);
    assert.ok(told.packet_rate_download > 0 && told.bit_rate_download > 0 && told.bit_rate_upload > 0);
    assert.ok(told.stress_level >= 0 && told.stress_level < 1);

    const [bridgeBefore, browsersBefore] = await Promise.all([bridgeStats(), sumOfBrowsers()]);
    const enough = bridgeBefore.total_packets_received + PACKETS_COMPARED;
    await until("enough packets to compare", MEDIA_WAIT_MS, bridgeStats, (stats) => stats.total_packets_received > enough);
    const [bridgeNow, browsersNow] = await Promise.all([bridgeStats(), sumOfBrowsers()]);
    const bridgeGrew = (/** @type {string} */ key) => bridgeNow[key] - bridgeBefore[key];
    assertNear(bridgeGrew("total_packets_received"), browsersNow.packetsUp - browsersBefore.packetsUp, "packets received");
    assertNear(bridgeGrew("total_packets_sent"), browsersNow.packetsDown - browsersBefore.packetsDown, "packets sent");
    assertNear(bridgeGrew("total_bytes_received"), browsersNow.bytesUp - browsersBefore.bytesUp, "bytes received");
    assertNear(bridgeGrew("total_bytes_sent"), browsersNow.bytesDown - browsersBefore.bytesDown, "bytes sent");
  });

  test("forget those who have gone, and keep the totals", { timeout: TEST_TIMEOUT_MS }, async () => {
    for (const visitor of visitors) await visitor.click("#leave");
    const told = await until("nobody is left", 4 * REFRESH_MS, bridgeStats, (stats) => stats.endpoints === 0 && stats.conferences === 0);
    assert.equal(told.total_participants, 2);
    assert.equal(told.total_conferences_created, 1);
    assert.equal(told.total_conferences_completed, 1);
    assert.ok(told.total_packets_received > 0);
  });
});
