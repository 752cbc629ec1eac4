// Three people in one conference, two with Chromium and one with Firefox, over the real programs: everybody sees and hears
// everybody else.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch } from "./support/browsers.mjs";
import { ask, startPasserelle } from "./support/servers.mjs";
import { until } from "./support/until.mjs";
import { Visitor } from "./support/visitor.mjs";

/** @import { Launched } from "./support/browsers.mjs" */

const SUITE_TIMEOUT_MS = 240_000;
const TEST_TIMEOUT_MS = 60_000;
/** Three browsers share few processors; media starts within a second or two where there are more. */
const MEDIA_WAIT_MS = 30_000;
const WAIT_MS = 15_000;
/** The ear looks every 10 Hz; voices are hundreds apart. */
const TONE_TOLERANCE_HZ = 25;
/** As it is typed; its one form is lower case. */
const CONFERENCE = "Démo & 会议";

/** @type {Awaited<ReturnType<typeof startPasserelle>>} */ let server;
/** @type {Launched[]} */ const browsers = [];
/** @type {Visitor} */ let anna;
/** @type {Visitor} */ let ben;
/** @type {Visitor} */ let chloe;
const everybody = () => [anna, ben, chloe];

before(async () => {
  server = await startPasserelle();
  browsers.push(await launch("chromium", { toneHz: 500 }), await launch("chromium", { toneHz: 900 }), await launch("firefox", { toneHz: 1400 }));
  const [first, second, third] = browsers;
  assert.ok(first && second && third);
  anna = await Visitor.open(first, "Anna");
  ben = await Visitor.open(second, "Ben");
  chloe = await Visitor.open(third, "Chloé", { width: 1000, height: 700 });
}, { timeout: SUITE_TIMEOUT_MS });

after(async () => {
  for (const browser of browsers) await browser.close();
  await server?.stop();
});

/** The conference as operators see it. */
async function conferenceView() {
  const all = await ask(`${server.rest}/api/conferences`);
  return all.find((/** @type {any} */ { conference }) => conference === CONFERENCE.toLowerCase());
}

/** @param {Visitor} visitor @param {Visitor} other */
async function tileOf(visitor, other) {
  return (await visitor.tiles()).find(({ name, kind }) => kind === "camera" && name === other.name);
}

/** Every one of these videos shows another picture than before. @param {Visitor} visitor @param {number} count */
async function assertPicturesMove(visitor, count) {
  const before = await until(`${visitor.name} decodes ${count} videos`, MEDIA_WAIT_MS, async () => Object.fromEntries(await visitor.framesDecoded()), (frames) => Object.keys(frames).length >= count);
  const hasGrown = (/** @type {Record<string, number>} */ now) => Object.keys(before).filter((id) => (now[id] ?? 0) >= (before[id] ?? 0) + 10).length >= count;
  await until(`frames grow on all ${count} videos of ${visitor.name}, from ${JSON.stringify(before)}`, MEDIA_WAIT_MS, async () => Object.fromEntries(await visitor.framesDecoded()), hasGrown);
}

/** @param {Visitor} visitor @param {Visitor[]} others */
async function assertHears(visitor, others) {
  const expected = others.map(({ toneHz }) => toneHz);
  const isHeard = (/** @type {number[]} */ heard) =>
    heard.length === expected.length && expected.every((tone) => heard.some((frequency) => Math.abs(frequency - tone) < TONE_TOLERANCE_HZ));
  await until(`${visitor.name} hears ${expected.join(" Hz and ")} Hz and nothing else`, MEDIA_WAIT_MS, () => visitor.tonesHeard(), isHeard);
}

describe("a meeting of three browsers", { timeout: SUITE_TIMEOUT_MS }, () => {
  test("waits without a bridge while one is alone", { timeout: TEST_TIMEOUT_MS }, async () => {
    await anna.join(server.page, CONFERENCE);
    await until("Anna waits", WAIT_MS, () => anna.stand(), (stand) => stand === "waiting");
    const view = await conferenceView();
    assert.equal(view?.participants, 1);
    assert.equal(view?.bridge, null);
  });

  test("gets a bridge when the second comes", { timeout: TEST_TIMEOUT_MS }, async () => {
    await ben.join(server.page, CONFERENCE);
    const view = await until("a bridge has the conference", WAIT_MS, conferenceView, (found) => typeof found?.bridge === "string");
    assert.equal(view.participants, 2);
    await chloe.join(server.page, CONFERENCE);
    for (const visitor of everybody()) await until(`${visitor.name} is connected`, MEDIA_WAIT_MS, () => visitor.stand(), (stand) => stand === "connected");
  });

  test("shows everybody two moving pictures with their names", { timeout: TEST_TIMEOUT_MS * 2 }, async () => {
    for (const visitor of everybody()) {
      await assertPicturesMove(visitor, 2);
      const others = everybody().filter((other) => other !== visitor).map(({ name }) => name).sort();
      const shown = (/** @type {import("./support/visitor.mjs").TileView[]} */ tiles) =>
        JSON.stringify(tiles.filter(({ isOwn, hasPicture }) => !isOwn && hasPicture).map(({ name }) => name).sort()) === JSON.stringify(others);
      await until(`${visitor.name} sees ${others.join(" and ")}`, MEDIA_WAIT_MS, () => visitor.tiles(), shown);
    }
    for (const [index, visitor] of everybody().entries()) await visitor.screenshot(`meeting-three-${index + 1}`);
    await ben.page.setViewport({ width: 390, height: 844 });
    await until("the tiles fit the telephone", WAIT_MS, () => ben.page.$eval(".tile", (tile) => tile.clientWidth), (width) => width <= 390);
    await ben.screenshot("meeting-phone");
    await ben.page.setViewport({ width: 1280, height: 800 });
  });

  test("lets everybody hear two voices", { timeout: TEST_TIMEOUT_MS * 2 }, async () => {
    for (const visitor of everybody()) await assertHears(visitor, everybody().filter((other) => other !== visitor));
  });

  test("carries chat as it was written", { timeout: TEST_TIMEOUT_MS }, async () => {
    const text = "<b>Bonjour</b> 👋 https://example.org/x";
    await chloe.say(text);
    await anna.click("#toggle-chat");
    for (const visitor of [anna, ben]) await until(`${visitor.name} reads it`, WAIT_MS, () => visitor.chatLines(), (lines) => lines.includes(`Chloé${text}`));
    await until("Chloé reads it, too", WAIT_MS, () => chloe.chatLines(), (lines) => lines.includes(`You${text}`));
    await anna.screenshot("meeting-chat");
    await anna.click("#toggle-chat");
    await chloe.click("#toggle-chat");
  });

  test("shows a mute, and nobody hears the muted one", { timeout: TEST_TIMEOUT_MS }, async () => {
    await ben.click("#toggle-audio");
    for (const visitor of [anna, chloe]) await until(`${visitor.name} sees that Ben is muted`, WAIT_MS, () => tileOf(visitor, ben), (tile) => tile?.isMuted === true);
    await assertHears(anna, [chloe]);
    await ben.click("#toggle-audio");
    await until("Anna sees that Ben speaks again", WAIT_MS, () => tileOf(anna, ben), (tile) => tile?.isMuted === false);
    await assertHears(anna, [ben, chloe]);
  });

  test("shows initials while a camera is off, and the picture when it is on again", { timeout: TEST_TIMEOUT_MS }, async () => {
    for (const [one, other] of /** @type {const} */ ([[chloe, anna], [anna, chloe]])) {
      await one.click("#toggle-video");
      await until(`${other.name} sees no picture of ${one.name}`, WAIT_MS, () => tileOf(other, one), (tile) => tile?.hasPicture === false);
      await one.click("#toggle-video");
      await until(`${other.name} sees ${one.name} again`, MEDIA_WAIT_MS, () => tileOf(other, one), (tile) => tile?.hasPicture === true);
    }
  });

  test("shows a shared screen as a picture of its own, until it ends", { timeout: TEST_TIMEOUT_MS }, async () => {
    await anna.click("#toggle-screen");
    for (const visitor of [ben, chloe]) {
      const screen = () => visitor.tiles().then((tiles) => tiles.find(({ kind }) => kind === "screen"));
      await until(`${visitor.name} sees Anna's screen`, MEDIA_WAIT_MS, screen, (tile) => tile?.hasPicture === true);
      assert.equal((await screen())?.name, "Anna: screen");
      assert.equal((await tileOf(visitor, anna))?.hasPicture, true, "and Anna beside it");
      await assertPicturesMove(visitor, 2);
    }
    await ben.screenshot("meeting-screen");
    await ben.page.setViewport({ width: 390, height: 844 });
    await until("the stage fits the telephone", WAIT_MS, () => ben.page.$eval(".tile.screen", (tile) => tile.clientWidth), (width) => width <= 390);
    await ben.screenshot("meeting-screen-phone");
    await ben.page.setViewport({ width: 1280, height: 800 });
    await anna.click("#toggle-screen");
    for (const visitor of [ben, chloe]) await until(`${visitor.name} sees no screen any more`, WAIT_MS, () => visitor.tiles(), (tiles) => tiles.every(({ kind }) => kind === "camera"));
    await assertPicturesMove(ben, 2);
  });

  test("tells in numbers what comes and goes", { timeout: TEST_TIMEOUT_MS }, async () => {
    await anna.click("#toggle-stats");
    const rows = () => anna.page.$$eval("#stats-rows tr", (all) => all.map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
    /** @param {string} who @param {string} what */
    const isShown = (who, what) => (/** @type {string[][]} */ table) => table.some(([name, kind, , kbps]) => name === who && kind === what && Number(kbps) > 0);
    for (const who of ["Ben", "Chloé"]) {
      await until(`a picture of ${who} is counted`, WAIT_MS, rows, isShown(who, "picture"));
      await until(`a voice of ${who} is counted`, WAIT_MS, rows, isShown(who, "voice"));
    }
    await until("the own voice is counted", WAIT_MS, rows, isShown("you", "voice"));
    const summary = await anna.page.$eval("#stats-summary", (element) => element.textContent ?? "");
    assert.match(summary, /^up [1-9]\d* kbit\/s · down [1-9]\d* kbit\/s · round trip [\d.]+ ms$/);
    await anna.screenshot("meeting-stats");
    await anna.click("#toggle-stats");
  });

  test("frees the tile of one who leaves, and the others go on", { timeout: TEST_TIMEOUT_MS }, async () => {
    await ben.click("#leave");
    for (const visitor of [anna, chloe]) {
      await until(`${visitor.name} sees that Ben has gone`, WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === 2);
      await assertPicturesMove(visitor, 1);
    }
    assert.equal((await conferenceView())?.participants, 2);
    await ben.screenshot("meeting-left");
  });

  test("sees and hears one who came with everything off, once it is on", { timeout: TEST_TIMEOUT_MS }, async () => {
    for (const browser of [browsers[1], browsers[2]]) {
      assert.ok(browser);
      const late = await Visitor.open(browser, `Late ${browser.name}`);
      await late.prepare(server.page, CONFERENCE);
      await late.click("#prejoin-audio");
      await late.click("#prejoin-video");
      await late.enter();
      await until("Anna sees initials", WAIT_MS, () => tileOf(anna, late), (tile) => tile?.isMuted === true && !tile.hasPicture);
      await late.click("#toggle-audio");
      await late.click("#toggle-video");
      await until("Anna sees the picture", MEDIA_WAIT_MS, () => tileOf(anna, late), (tile) => tile?.isMuted === false && tile.hasPicture);
      await assertHears(anna, [chloe, late]);
      assert.deepEqual(await late.trouble(), []);
      await late.click("#leave");
      await until("Anna sees that it has gone", WAIT_MS, () => anna.tiles(), (tiles) => tiles.length === 2);
      await late.close();
    }
  });

  test("is left by one who closes the page, without a word", { timeout: TEST_TIMEOUT_MS }, async () => {
    assert.deepEqual(await chloe.trouble(), []);
    await chloe.page.goto("about:blank");
    await until("Anna is alone", WAIT_MS, () => anna.tiles(), (tiles) => tiles.length === 1);
    await until("and waits", WAIT_MS * 3, () => anna.stand(), (stand) => stand === "waiting");
    assert.equal((await conferenceView())?.bridge, null, "the bridge was given back");
  });

  test("has broken no policy, asked no third party, and complained of nothing", { timeout: TEST_TIMEOUT_MS }, async () => {
    for (const visitor of [anna, ben]) assert.deepEqual(await visitor.trouble(), [], visitor.name);
  });
});
