// One signaling service and two bridges, each its own process: conferences are spread over the bridges, and a bridge that
// dies takes no meeting with it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch } from "./support/browsers.mjs";
import { joinPlainly } from "./support/plain-participant.mjs";
import { startProxy } from "./support/proxy.mjs";
import { ask, startBridge, startSignaling } from "./support/servers.mjs";
import { until } from "./support/until.mjs";
import { Visitor } from "./support/visitor.mjs";

/** @import { Launched } from "./support/browsers.mjs" */

const SUITE_TIMEOUT_MS = 180_000;
const TEST_TIMEOUT_MS = 90_000;
const WAIT_MS = 15_000;
const MEDIA_WAIT_MS = 30_000;
/** From the death of a bridge until every page shows moving pictures again. */
const FAILOVER_MS = 20_000;

/** @type {Awaited<ReturnType<typeof startSignaling>>} */ let signaling;
/** @type {Awaited<ReturnType<typeof startBridge>>[]} */ const bridges = [];
/** @type {Launched[]} */ const browsers = [];

before(async () => {
  signaling = await startSignaling();
  for (const id of ["bridge-a", "bridge-b"]) bridges.push(await startBridge(id, signaling.page));
  const isUp = (/** @type {any[]} */ all) => all.length === 2 && all.every(({ state }) => state === "operational");
  await until("both bridges are operational", WAIT_MS, () => ask(`${signaling.rest}/api/bridges`), isUp);
}, { timeout: SUITE_TIMEOUT_MS });

after(async () => {
  for (const browser of browsers) await browser.close();
  for (const bridge of bridges) await bridge.stop();
  await signaling?.stop();
});

/** @returns {Promise<any[]>} */
const conferences = () => ask(`${signaling.rest}/api/conferences`);

/** @param {string} name */
const conferenceView = async (name) => (await conferences()).find(({ conference }) => conference === name);

describe("two bridges", { timeout: SUITE_TIMEOUT_MS }, () => {
  test("one participant alone waits without a bridge, the second brings one", { timeout: TEST_TIMEOUT_MS }, async () => {
    const first = await joinPlainly(signaling.page, "pair", "Anna");
    await until("the first is told to wait", WAIT_MS, () => first.heard.some(({ type }) => type === "waiting"));
    assert.equal((await conferenceView("pair"))?.bridge, null);
    const second = await joinPlainly(signaling.page, "pair", "Ben");
    for (const participant of [first, second]) await until("both are told to offer", WAIT_MS, () => participant.heard.some(({ type }) => type === "assigned"));
    const view = await conferenceView("pair");
    assert.match(view.bridge, /^bridge-[ab]$/);
    assert.equal(view.participants, 2);
    for (const participant of [first, second]) participant.leave();
    await until("the conference is over", WAIT_MS, () => conferenceView("pair"), (found) => found === undefined);
  });

  test("ten conferences are five for each", { timeout: TEST_TIMEOUT_MS }, async () => {
    const participants = [];
    for (let n = 0; n < 10; n++) {
      for (const name of ["Anna", "Ben"]) participants.push(await joinPlainly(signaling.page, `conference ${n}`, name));
    }
    const assigned = await until("all ten have a bridge", WAIT_MS, conferences, (all) => all.length === 10 && all.every(({ bridge }) => bridge));
    const onFirst = assigned.filter(({ bridge }) => bridge === "bridge-a").length;
    assert.equal(onFirst, 5, JSON.stringify(assigned.map(({ bridge }) => bridge)));
    for (const participant of participants) participant.leave();
    await until("all are over", WAIT_MS, conferences, (all) => all.length === 0);
  });

  test("a line to signaling that breaks interrupts no picture, and comes back by itself", { timeout: TEST_TIMEOUT_MS }, async () => {
    const wire = await startProxy(signaling.page);
    const visitors = await threeVisitors();
    const [anna, ben] = visitors;
    assert.ok(anna && ben);
    try {
      for (const visitor of visitors) await visitor.join(visitor === anna ? wire.url : signaling.page, "broken line");
      for (const visitor of visitors) await seesTwo(visitor);
      const connections = await countConnections(anna);
      const before = await anna.framesDecoded();
      wire.cut();
      await until("Anna's page notices", WAIT_MS, () => anna.stand(), (stand) => stand === "reconnecting");
      wire.mend();
      await until("Anna's page is back", WAIT_MS, () => anna.stand(), (stand) => stand === "connected");
      const hasGrown = (/** @type {Map<string, number>} */ now) => [...before].every(([id, count]) => (now.get(id) ?? 0) > count + 10);
      await until("frames grow on the videos that Anna saw before", MEDIA_WAIT_MS, () => anna.framesDecoded(), hasGrown);
      assert.equal(await countConnections(anna), connections, "over the same connection");
      assert.equal((await ben.tiles()).length, 3, "and nobody saw her go");
      await ben.say("still there?");
      await until("Anna reads what is said", WAIT_MS, () => anna.chatLines(), (lines) => lines.includes("Benstill there?"));
      await anna.click("#toggle-hand");
      await until("Ben sees her hand", WAIT_MS, () => ben.tiles(), (tiles) => tiles.some(({ name, hasHand }) => name === "Anna" && hasHand));
    } finally {
      for (const visitor of visitors) await visitor.close();
      wire.close();
    }
  });

  test("the death of a bridge shows every page moving pictures again, without a reload", { timeout: TEST_TIMEOUT_MS }, async () => {
    const visitors = await threeVisitors();
    for (const visitor of visitors) await visitor.join(signaling.page, "demo");
    for (const visitor of visitors) {
      await seesTwo(visitor);
      await visitor.page.evaluate(() => void (/** @type {any} */ (window).testDocument = "the first"));
    }
    const before = await conferenceView("demo");
    const inUse = bridges.find(({ id }) => id === before.bridge);
    assert.ok(inUse);
    const connections = await Promise.all(visitors.map(countConnections));

    const died = Date.now();
    await inUse.kill();
    for (const [index, visitor] of visitors.entries()) {
      const isNew = async () => (await countConnections(visitor)) > (connections[index] ?? 0);
      await until(`${visitor.name} connects to the other bridge`, FAILOVER_MS, isNew);
      await until(`${visitor.name} sees two others again`, FAILOVER_MS, () => visitor.framesDecoded(), (frames) => frames.size === 2 && [...frames.values()].every((count) => count > 10));
    }
    const tookMs = Date.now() - died;
    assert.ok(tookMs < FAILOVER_MS, `${tookMs} ms`);
    console.log(`pictures on every page again ${tookMs} ms after the kill`);

    const now = await conferenceView("demo");
    assert.notEqual(now.bridge, before.bridge);
    assert.ok(now.epoch > before.epoch);
    assert.equal(now.participants, 3);
    for (const visitor of visitors) {
      assert.equal(await visitor.page.evaluate(() => /** @type {any} */ (window).testDocument), "the first", "the same document");
      assert.equal((await visitor.tiles()).length, 3);
      await until(`${visitor.name}'s page says so`, WAIT_MS, () => visitor.stand(), (stand) => stand === "connected");
    }
    for (const visitor of visitors) assert.deepEqual(await visitor.trouble(), [], visitor.name);
  });
});

/** Two with Chromium and one with Firefox, not joined yet. */
async function threeVisitors() {
  if (browsers.length === 0) browsers.push(await launch("chromium", { toneHz: 500 }), await launch("firefox", { toneHz: 900 }));
  const [chromium, firefox] = browsers;
  assert.ok(chromium && firefox);
  return [await Visitor.open(chromium, "Anna"), await Visitor.open(chromium, "Ben"), await Visitor.open(firefox, "Chloé")];
}

/** @param {Visitor} visitor */
async function seesTwo(visitor) {
  await until(`${visitor.name} sees two others`, MEDIA_WAIT_MS, () => visitor.framesDecoded(), (frames) => frames.size === 2);
}

/** @param {Visitor} visitor @returns {Promise<number>} */
function countConnections(visitor) {
  return visitor.page.evaluate(() => /** @type {any} */ (window).testConnections.length);
}
