// The page in a real browser, with the test as its server: what a person sees, and what no server and no other participant
// can make of it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch } from "./support/browsers.mjs";
import { startFakeServer } from "./support/fake-server.mjs";
import { until } from "./support/until.mjs";
import { Visitor } from "./support/visitor.mjs";

/** @import { Launched } from "./support/browsers.mjs" */
/** @import { Line } from "./support/fake-server.mjs" */

const TEST_TIMEOUT_MS = 60_000;
const WAIT_MS = 10_000;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const SELF = "0a1b2c3d";

/** @type {Launched} */ let chromium;
/** @type {Awaited<ReturnType<typeof startFakeServer>>} */ let server;
/** Meeting sockets that pages opened, in order. @type {Line[]} */ const lines = [];
/** @type {Visitor[]} */ const visitors = [];

before(async () => {
  chromium = await launch("chromium");
  server = await startFakeServer((line) => {
    lines.push(line);
    line.onrequest = (request) => welcome(line, request);
  });
}, { timeout: TEST_TIMEOUT_MS });

after(async () => {
  for (const visitor of visitors) await visitor.close();
  await chromium?.close();
  server?.close();
});

/**
 * @param {number} number
 * @param {object} [rest]
 */
function participant(number, rest = {}) {
  const id = (0x1000 * (number + 1) + number).toString(16).padStart(8, "0");
  return { id, name: `Number ${number}`, muted_audio: false, muted_video: true, screen: false, hand: false, ...rest };
}

/**
 * @param {Line} line
 * @param {any} request
 */
function welcome(line, request) {
  if (request.type === "ping") return line.say({ type: "pong" });
  if (request.type === "leave") return line.say({ type: "bye", reason: "left" });
  if (request.type !== "join") return;
  const limits = { message_bytes_max: 65536, chat_bytes_max: 2048, name_graphemes_max: 64, participants_max: 500 };
  line.say({ type: "joined", participant: SELF, resume: `secret-${lines.length}`, conference: "demo", limits, slots: { audio: 3, video: 9 } });
  line.say({ type: "state", seq: 1, snapshot: { participants: [participant(0, { id: SELF, name: request.name })] } });
  line.say({ type: "waiting" });
}

/** @param {any} request */
const heardSet = (request) => request.type === "set";

/** Opens a page. @param {typeof DESKTOP} [size] */
async function visit(size) {
  const visitor = await Visitor.open(chromium, "Anna Mäkelä", size);
  visitors.push(visitor);
  return visitor;
}

/** Opens a page and joins. @param {typeof DESKTOP} [size] */
async function visitMeeting(size) {
  const visitor = await visit(size);
  await visitor.join(server.url, "demo");
  await until("the page has joined", WAIT_MS, () => visitor.stand(), (stand) => stand === "waiting");
  const line = lines.at(-1);
  assert.ok(line);
  return { visitor, line };
}

/** @param {Visitor} visitor */
async function assertNoTrouble(visitor) {
  assert.deepEqual(await visitor.trouble(), []);
}

/** What the page's main thread has worked so far. @param {import("puppeteer-core").CDPSession} devtools */
async function busySeconds(devtools) {
  const { metrics } = await devtools.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "TaskDuration")?.value ?? NaN;
}

describe("the ways in", { timeout: TEST_TIMEOUT_MS }, () => {
  test("home leads to a conference by its name, whatever letters it has", async () => {
    const visitor = await visit(DESKTOP);
    await visitor.page.goto(server.url);
    await visitor.screenshot("home-desktop");
    await visitor.page.type("#home-conference", "<b>Café & 会议?");
    await Promise.all([visitor.page.waitForNavigation(), visitor.click("#home-form button")]);
    assert.equal(new URL(visitor.page.url()).pathname, `/${encodeURIComponent("<b>Café & 会议?")}`);
    assert.equal(await visitor.page.$eval("#prejoin-title", (title) => title.textContent), "<b>Café & 会议?");
    assert.equal(await visitor.page.title(), "<b>Café & 会议? – Passerelle");
    await assertNoTrouble(visitor);
  });

  test("a name that an address cannot hold, or that the server has, is refused with a word", async () => {
    const visitor = await visit(PHONE);
    await visitor.page.goto(server.url);
    await visitor.screenshot("home-phone");
    for (const name of [".", "..", "a/b", "a\\b", "ws", "bridge-link"]) {
      await visitor.page.$eval("#home-conference", (input, typed) => void (/** @type {HTMLInputElement} */ (input).value = typed), name);
      await visitor.click("#home-form button");
      const message = await visitor.page.$eval("#home-conference", (input) => /** @type {HTMLInputElement} */ (input).validationMessage);
      assert.match(message, /choose another/);
    }
    assert.equal(new URL(visitor.page.url()).pathname, "/");
  });

  test("pre-join shows the camera, switches devices off, and remembers the name", async () => {
    for (const [size, picture] of /** @type {const} */ ([[DESKTOP, "prejoin-desktop"], [PHONE, "prejoin-phone"]])) {
      const visitor = await visit(size);
      await visitor.page.goto(`${server.url}/demo`);
      const sees = () => visitor.page.$eval("#preview", (video) => /** @type {HTMLVideoElement} */ (video).videoWidth > 0);
      await until("the preview shows a picture", WAIT_MS, sees);
      await until("devices are listed", WAIT_MS, () => visitor.page.$$eval("#prejoin-camera option", (options) => options.length));
      await visitor.screenshot(picture);
      await visitor.click("#prejoin-video");
      await until("the camera is off", WAIT_MS, () => visitor.page.$eval("#preview", (video) => /** @type {HTMLVideoElement} */ (video).srcObject === null));
      await visitor.click("#prejoin-audio");
      await visitor.page.type("#prejoin-name", "Anna");
      const known = lines.length;
      await visitor.click("#prejoin-join");
      const told = await until("the page joins", WAIT_MS, () => lines[known]?.heard.find(heardSet));
      assert.deepEqual(told, { type: "set", muted_audio: true, muted_video: true, screen: false, hand: false });
      await visitor.page.goto(`${server.url}/other`);
      assert.equal(await visitor.page.$eval("#prejoin-name", (input) => /** @type {HTMLInputElement} */ (input).value), "Anna");
      await assertNoTrouble(visitor);
    }
  });
});

describe("a meeting", { timeout: TEST_TIMEOUT_MS }, () => {
  test("invites others while nobody is there, and shows them when they come", async () => {
    for (const [size, picture] of /** @type {const} */ ([[DESKTOP, "desktop"], [PHONE, "phone"]])) {
      const { visitor, line } = await visitMeeting(size);
      await until("the own picture is shown", WAIT_MS, async () => (await visitor.tiles())[0]?.hasPicture);
      assert.equal(await visitor.page.$eval("#alone-address", (address) => address.textContent), `${server.url}/demo`);
      await visitor.screenshot(`meeting-alone-${picture}`);
      const others = [participant(1, { name: "Ben Okafor", muted_audio: true }), participant(2, { name: "陈小明", hand: true }), participant(3, { name: "👩‍🚀 Zoë", screen: true }), participant(4, { name: "مريم حداد" })];
      line.say({ type: "delta", seq: 2, joined: others });
      await until("five tiles", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === 5);
      await visitor.screenshot(`meeting-five-${picture}`);
      await visitor.say("Good morning, see https://example.org/agenda.");
      line.say({ type: "chat", from: others[0]?.id, name: "Ben Okafor", text: "Thank you! I shall be two minutes late.", seq: 1 });
      line.say({ type: "chat", from: SELF, name: visitor.name, text: "Good morning, see https://example.org/agenda.", seq: 2 });
      await until("the chat shows both lines and the notice", WAIT_MS, () => visitor.chatLines(), (all) => all.length === 3);
      await visitor.screenshot(`meeting-chat-${picture}`);
      await assertNoTrouble(visitor);
    }
  });

  test("toggles tell the others, and a chat that nobody has open is counted", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    const lastSet = () => line.heard.filter(heardSet).at(-1);
    for (const [button, field] of /** @type {const} */ ([["audio", "muted_audio"], ["video", "muted_video"], ["hand", "hand"], ["screen", "screen"]])) {
      await visitor.click(`#toggle-${button}`);
      await until(`${field} is told`, WAIT_MS, () => lastSet()?.[field] === true);
      await visitor.click(`#toggle-${button}`);
      await until(`${field} is told again`, WAIT_MS, () => lastSet()?.[field] === false);
    }
    for (let seq = 1; seq <= 3; seq++) line.say({ type: "chat", from: "11112222", name: "Ben", text: `line ${seq}`, seq });
    const unread = () => visitor.page.$eval("#toggle-chat", (button) => /** @type {HTMLElement} */ (button).dataset.unread);
    await until("three unread lines", WAIT_MS, unread, (count) => count === "3");
    await visitor.click("#toggle-chat");
    assert.equal(await unread(), "");
    await assertNoTrouble(visitor);
  });

  test("comes back by itself, with its secret and its state", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    await visitor.click("#toggle-hand");
    const known = lines.length;
    line.drop();
    await until("a second line is opened", WAIT_MS, () => lines.length > known);
    const second = lines.at(-1);
    await until("the state is told again", WAIT_MS, () => second?.heard.find(heardSet), (set) => set?.hand === true);
    assert.match(second?.heard[0].resume, /^secret-/);
    await until("the page is back", WAIT_MS, () => visitor.stand(), (stand) => stand === "waiting");
  });

  test("ends with a word, and the camera's light goes out", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    await visitor.click("#leave");
    await visitor.page.waitForSelector("#gone:not([hidden])");
    assert.equal(await visitor.page.$eval("#gone-title", (title) => title.textContent), "You have left");
    await until("leave is told", WAIT_MS, () => line.heard.some(({ type }) => type === "leave"));
    await visitor.screenshot("gone-desktop");
  });
});

describe("hostile others", { timeout: TEST_TIMEOUT_MS }, () => {
  const NAMES = [
    "<img src=x onerror=alert(1)>", "javascript:alert(1)", "<svg onload=alert(1)>", "\u202Eevil\u202E txet", "Z\u0351\u036B\u0343\u036A\u0302\u036B\u033D\u034F\u0334\u0319\u0324\u031E".repeat(20),
    "👨‍👩‍👧‍👦".repeat(64), "x".repeat(10_000), "__proto__", " \u200b ", "&lt;b&gt;",
  ];

  test("names are text and stay inside their tile", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    line.say({ type: "delta", seq: 2, joined: NAMES.map((name, number) => participant(number + 1, { name })) });
    await until("all tiles", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === NAMES.length + 1);
    assert.deepEqual((await visitor.tiles()).slice(1).map(({ name }) => name), NAMES);
    assert.equal(await visitor.page.$$eval("#grid img, #grid svg[onload], #grid script", (found) => found.length), 0);
    const widest = await visitor.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(widest <= 0, `the page grew ${widest} px wider than its window`);
    await visitor.screenshot("hostile-names-desktop");
    await assertNoTrouble(visitor);
  });

  test("a participant whose id is a property of everything is one like all others", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    line.say({ type: "delta", seq: 2, joined: [participant(1, { id: "__proto__" }), participant(2, { id: "constructor" })] });
    await until("both have a tile", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === 3);
    line.say({ type: "delta", seq: 3, left: ["__proto__", "constructor"] });
    await until("both have gone", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === 1);
    await assertNoTrouble(visitor);
  });

  test("chat is text; web addresses, and nothing else, become links that give nothing away", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    await visitor.click("#toggle-chat");
    const texts = [
      "see https://example.org/a?b=c#d, and http://example.org.", "javascript:alert(1) data:text/html,<b>x</b> ftp://example.org",
      "<a href='https://example.org' onclick=alert(1)>x</a>", "**bold** [link](javascript:alert(1))", "👩‍👩‍👧‍👧 https://exa\u202Emple.org", "https://",
    ];
    texts.forEach((text, index) => line.say({ type: "chat", from: "11112222", name: "<i>Ben</i>", text, seq: index + 1 }));
    await until("all lines", WAIT_MS, () => visitor.chatLines(), (all) => all.length === texts.length);
    assert.deepEqual(await visitor.chatLines(), texts.map((text) => `<i>Ben</i>${text}`));
    const links = await visitor.page.$$eval("#chat-lines a", (all) =>
      all.map((link) => ({ href: link.getAttribute("href"), text: link.textContent, rel: link.getAttribute("rel") })),
    );
    assert.deepEqual(links.map(({ href }) => href), ["https://example.org/a?b=c#d", "http://example.org", "https://example.org", "https://exa"]);
    for (const { href, text, rel } of links) assert.ok(text === href && rel === "noopener noreferrer");
    assert.equal(await visitor.page.$$eval("#chat-lines :not(li, bdi, p, a)", (found) => found.length), 0);
    await assertNoTrouble(visitor);
  });

  test("a server that talks nonsense for a while loses nothing but its time", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    const connections = lines.length;
    const pieces = ["{", "}", "[", "]", '"', ":", ",", "type", "state", "delta", "joined", "assigned", "answer", "null", "1e999", "__proto__", "\\u0000", "ice_servers"];
    let seed = 7;
    const random = (/** @type {number} */ below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let n = 0; n < 2000; n++) line.sayText(Array.from({ length: 1 + random(12) }, () => pieces[random(pieces.length)]).join(""));
    line.say({ type: "assigned", ice_servers: [{ urls: ["nonsense:"] }], reason: "moved", epoch: 3 });
    line.say({ type: "answer", sdp: "v=0", rev: 1, channel_url: "//elsewhere.example/" });
    line.say({ type: "delta", seq: 2, joined: [participant(1, { name: "Ben" })] });
    await until("the newcomer's tile", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length === 2);
    assert.equal(lines.length, connections, "the line stood");
    await assertNoTrouble(visitor);
  });
});

describe("many others", { timeout: TEST_TIMEOUT_MS }, () => {
  test("five thousand are counted, and as many shown as can be recognised", async () => {
    for (const [size, picture] of /** @type {const} */ ([[DESKTOP, "desktop"], [PHONE, "phone"]])) {
      const { visitor, line } = await visitMeeting(size);
      line.say({ type: "delta", seq: 2, joined: Array.from({ length: 5000 }, (_, number) => participant(number + 1)) });
      const more = () => visitor.page.$eval("#grid-more", (element) => (/** @type {HTMLElement} */ (element).hidden ? "" : element.textContent));
      await until("the others are counted", WAIT_MS, more, (text) => /^, \d+ shown$/.test(text ?? ""));
      const tiles = await visitor.tiles();
      assert.ok(tiles.length >= 8 && tiles.length <= 36, `${tiles.length} tiles`);
      assert.ok(tiles[0]?.isOwn);
      await visitor.screenshot(`meeting-many-${picture}`);
    }
  });

  test("a thousand chat lines a second and a roster of five thousand in motion leave the page responsive", async () => {
    const { visitor, line } = await visitMeeting(DESKTOP);
    await visitor.click("#toggle-chat");
    line.say({ type: "delta", seq: 2, joined: Array.from({ length: 5000 }, (_, number) => participant(number + 1)) });
    await until("the roster is taken", WAIT_MS, () => visitor.tiles(), (tiles) => tiles.length > 8);
    const devtools = await visitor.page.createCDPSession();
    await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    const busyBefore = await busySeconds(devtools);
    for (let batch = 0; batch < 30; batch++) {
      for (let n = 1; n <= 100; n++) line.say({ type: "chat", from: "11112222", name: "Ben", text: `line ${n} of batch ${batch}`, seq: batch * 100 + n });
      line.say({ type: "delta", seq: 3 + batch, changed: [participant(1 + batch, { hand: true })] });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await until("the last line is shown", WAIT_MS, async () => (await visitor.chatLines()).at(-1), (text) => text === "Benline 100 of batch 29");
    assert.equal((await visitor.chatLines()).length, 300);
    // Processor time, so that a busy machine does not change the answer.
    const busy = (await busySeconds(devtools)) - busyBefore;
    assert.ok(busy < 2, `3,000 lines and 30 deltas in three seconds cost ${busy} s of the page's thread`);
    await assertNoTrouble(visitor);
  });
});
