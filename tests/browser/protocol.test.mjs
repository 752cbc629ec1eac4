// The page's line to its conference and its channel to its bridge, without a browser: fake sockets, mocked time.

import assert from "node:assert/strict";
import { beforeEach, describe, mock, test } from "node:test";

import { Channel, mappings } from "../../signaling/web/assets/channel.js";
import { parseUpdate } from "../../signaling/web/assets/messages.js";
import { Meeting, OfferError } from "../../signaling/web/assets/protocol.js";
import { fakeSockets } from "./support/fake-socket.mjs";

const ANNA = { id: "0a1b2c3d", name: "Anna", muted_audio: false, muted_video: false, screen: false, hand: false };
const BEN = { ...ANNA, id: "11112222", name: "Ben" };
const CARL = { ...ANNA, id: "33334444", name: "Carl" };
const JOINED = {
  type: "joined", participant: ANNA.id, resume: "secret-1", conference: "demo",
  limits: { message_bytes_max: 65536, chat_bytes_max: 2048, name_graphemes_max: 64, participants_max: 500 },
  slots: { audio: 3, video: 9 },
};
const STATE = { type: "state", seq: 7, snapshot: { participants: [ANNA] } };

/** Random numbers of the page under test. */
let random = 1;

/** A meeting with everything it told. */
function newMeeting() {
  const sockets = fakeSockets();
  const meeting = new Meeting({ url: "ws://here/ws?conference=demo", name: "Anna", openSocket: sockets.open, random: () => random });
  /** @type {[string, any][]} */
  const told = [];
  for (const name of ["line", "joined", "waiting", "assigned", "participants", "chat", "fault"]) {
    meeting.addEventListener(name, (event) => told.push([name, /** @type {CustomEvent} */ (event).detail]));
  }
  /** @param {string} name */
  const toldOf = (name) => told.filter(([event]) => event === name).map(([, detail]) => detail);
  return { meeting, sockets, told, toldOf };
}

/** The same, joined and with a first snapshot. */
function newJoinedMeeting() {
  const world = newMeeting();
  world.meeting.join();
  welcome(world);
  return world;
}

/** @param {ReturnType<typeof newMeeting>} world */
function welcome({ sockets }) {
  sockets.latest().accept();
  sockets.latest().say(JOINED);
  sockets.latest().say(STATE);
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  random = 1;
});

describe("the line", () => {
  test("joins with the name, and keeps the roster by snapshot and deltas", () => {
    const { meeting, sockets, toldOf } = newJoinedMeeting();
    assert.deepEqual(sockets.latest().sent, [{ type: "join", name: "Anna" }]);
    assert.deepEqual(toldOf("line").map(({ state }) => state), ["connecting", "joined"]);
    assert.equal(meeting.self, ANNA.id);
    sockets.latest().say({ type: "delta", seq: 8, joined: [BEN, CARL] });
    sockets.latest().say({ type: "delta", seq: 9, left: [BEN.id], changed: [{ ...CARL, muted_audio: true }] });
    assert.deepEqual(meeting.participants.map(({ name, muted_audio }) => [name, muted_audio]), [["Anna", false], ["Carl", true]]);
    assert.deepEqual(toldOf("participants").map(({ joined, left }) => [joined.length, left.length]), [[1, 0], [2, 0], [0, 1]]);
  });

  test("does not announce twice a newcomer that snapshot and delta both show", () => {
    const { sockets, toldOf } = newJoinedMeeting();
    sockets.latest().say({ type: "delta", seq: 8, joined: [ANNA, BEN] });
    assert.deepEqual(toldOf("participants")[1].joined.map((/** @type {any} */ { name }) => name), ["Ben"]);
  });

  test("comes back after a break with its resume secret", () => {
    const { meeting, sockets, toldOf } = newJoinedMeeting();
    sockets.latest().lose();
    assert.equal(meeting.isJoined, false);
    mock.timers.tick(250);
    assert.equal(sockets.opened.length, 2);
    sockets.latest().accept();
    assert.deepEqual(sockets.latest().sent, [{ type: "join", name: "Anna", resume: "secret-1" }]);
    sockets.latest().say({ ...JOINED, resume: "secret-2" });
    assert.deepEqual(toldOf("line").map(({ state }) => state), ["connecting", "joined", "broken", "connecting", "joined"]);
  });

  test("waits a random time under a bound that doubles up to ten seconds", () => {
    const { meeting, sockets } = newMeeting();
    meeting.join();
    for (const bound of [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
      const tries = sockets.opened.length;
      sockets.latest().lose();
      mock.timers.tick(bound - 1);
      assert.equal(sockets.opened.length, tries, `before ${bound} ms`);
      mock.timers.tick(1);
      assert.equal(sockets.opened.length, tries + 1, `after ${bound} ms`);
    }
    random = 0;
    sockets.latest().lose();
    mock.timers.tick(0);
    assert.equal(sockets.opened.length, 10, "the wait can be nothing at all");
  });

  test("starts again with short waits only after a line that stood", () => {
    const world = newJoinedMeeting();
    const { sockets } = world;
    for (const bound of [250, 500, 1000]) {
      sockets.latest().lose();
      mock.timers.tick(bound - 1);
      const tries = sockets.opened.length;
      mock.timers.tick(1);
      assert.equal(sockets.opened.length, tries + 1, `a line that broke at once waits up to ${bound} ms`);
      welcome(world);
    }
    for (let second = 0; second < 10; second += 2) {
      mock.timers.tick(2000);
      sockets.latest().say({ type: "pong" });
    }
    sockets.latest().lose();
    mock.timers.tick(250);
    assert.equal(sockets.opened.length, 5);
  });

  test("asks a quiet server, and takes silence for a break", () => {
    const { sockets, toldOf } = newJoinedMeeting();
    mock.timers.tick(5000);
    assert.equal(sockets.latest().sentOf("ping").length, 1);
    mock.timers.tick(2499);
    sockets.latest().say({ type: "pong" });
    mock.timers.tick(5000);
    assert.equal(sockets.latest().sentOf("ping").length, 2);
    const first = sockets.latest();
    mock.timers.tick(2500);
    assert.equal(toldOf("line").at(-1).state, "broken");
    assert.ok(first.isClosed, "the dead socket is closed");
    mock.timers.tick(250);
    sockets.latest().accept();
    assert.deepEqual(sockets.latest().sentOf("join"), [{ type: "join", name: "Anna", resume: "secret-1" }]);
  });

  test("gives up a connection that brings no joined, whatever else it brings", () => {
    const { meeting, sockets, toldOf } = newMeeting();
    meeting.join();
    sockets.latest().accept();
    for (let n = 0; n < 7; n++) {
      mock.timers.tick(1000);
      sockets.latest().say({ type: "pong" });
    }
    mock.timers.tick(500);
    assert.equal(toldOf("line").at(-1).state, "broken");
  });

  test("takes a gap in the deltas for a break, and gets a snapshot by joining again", () => {
    const { meeting, sockets } = newJoinedMeeting();
    sockets.latest().say({ type: "delta", seq: 9, joined: [BEN] });
    assert.deepEqual(meeting.participants.map(({ name }) => name), ["Anna"]);
    mock.timers.tick(250);
    sockets.latest().accept();
    assert.equal(sockets.latest().sentOf("join")[0].resume, "secret-1");
    sockets.latest().say(JOINED);
    sockets.latest().say({ type: "state", seq: 9, snapshot: { participants: [ANNA, BEN] } });
    sockets.latest().say({ type: "delta", seq: 10, left: [BEN.id] });
    assert.deepEqual(meeting.participants.map(({ name }) => name), ["Anna"]);
  });

  test("joins anew where its secret is not known any more, once", () => {
    const { sockets, toldOf } = newJoinedMeeting();
    sockets.latest().lose();
    mock.timers.tick(250);
    sockets.latest().accept();
    const refusal = { type: "error", id: "bad_resume", message: "unknown" };
    sockets.latest().say(refusal);
    assert.deepEqual(sockets.latest().sent.at(-1), { type: "join", name: "Anna" });
    assert.deepEqual(toldOf("fault"), []);
    sockets.latest().say(refusal);
    assert.equal(sockets.latest().sentOf("join").length, 2, "a server that refuses what was not sent is left alone for a while");
    assert.equal(toldOf("line").at(-1).state, "broken");
  });

  test("ends for good where trying again would meet the same answer", () => {
    for (const id of ["bad_conference", "bad_name", "conference_full", "bad_token"]) {
      const { meeting, sockets, toldOf } = newMeeting();
      meeting.join();
      sockets.latest().accept();
      sockets.latest().say({ type: "error", id, message: "no" });
      mock.timers.tick(60_000);
      assert.deepEqual(toldOf("line").at(-1), { state: "ended", reason: id });
      assert.equal(sockets.opened.length, 1);
    }
  });

  test("is final when the participant left or came back elsewhere, and returns after every other bye", () => {
    for (const [reason, tries] of /** @type {const} */ ([["left", 1], ["replaced", 1], ["shutdown", 2], ["overload", 2], ["join_timeout", 2]])) {
      const { sockets } = newJoinedMeeting();
      sockets.latest().say({ type: "bye", reason });
      mock.timers.tick(250);
      assert.equal(sockets.opened.length, tries, reason);
    }
  });

  test("leaves with a word and does not come back", () => {
    const { meeting, sockets, toldOf } = newJoinedMeeting();
    meeting.leave();
    assert.equal(sockets.latest().sentOf("leave").length, 1);
    assert.ok(sockets.latest().isClosed);
    meeting.join();
    meeting.checkNow();
    mock.timers.tick(60_000);
    assert.equal(sockets.opened.length, 1);
    assert.deepEqual(toldOf("line").at(-1), { state: "ended", reason: "left" });
  });

  test("looks at once when the network comes back", () => {
    const { meeting, sockets } = newJoinedMeeting();
    meeting.checkNow();
    assert.equal(sockets.latest().sentOf("ping").length, 1);
    sockets.latest().lose();
    meeting.checkNow();
    assert.equal(sockets.opened.length, 2, "without waiting for the timer");
    mock.timers.tick(250);
    assert.equal(sockets.opened.length, 2, "whose turn has gone");
  });

  test("what a lost socket still says is not heard", () => {
    const { meeting, sockets } = newJoinedMeeting();
    const lost = sockets.latest();
    lost.lose();
    lost.say({ type: "delta", seq: 8, joined: [BEN] });
    assert.equal(meeting.participants.length, 1);
  });
});

describe("chat", () => {
  const line = { type: "chat", from: BEN.id, name: "Ben", text: "hello", seq: 1 };

  test("history that the server repeats is not shown again, even to a new identity", () => {
    const { sockets, toldOf } = newJoinedMeeting();
    sockets.latest().say(line);
    sockets.latest().lose();
    mock.timers.tick(250);
    sockets.latest().accept();
    sockets.latest().say({ ...JOINED, participant: CARL.id });
    sockets.latest().say(line);
    sockets.latest().say({ ...line, text: "again", seq: 2 });
    assert.deepEqual(toldOf("chat").map(({ text }) => text), ["hello", "again"]);
  });

  test("history that comes after a live line is shown, and so are equal texts", () => {
    const { sockets, toldOf } = newJoinedMeeting();
    sockets.latest().say({ ...line, seq: 2 });
    sockets.latest().say({ ...line, seq: 1 });
    assert.deepEqual(toldOf("chat").map(({ seq }) => seq), [2, 1]);
  });

  test("a text is not taken while the line is down", () => {
    const { meeting, sockets } = newJoinedMeeting();
    assert.equal(meeting.chat("hello"), true);
    sockets.latest().lose();
    assert.equal(meeting.chat("lost"), false);
    assert.equal(meeting.set({ hand: true }), false);
  });
});

describe("offers", () => {
  /** @param {Promise<unknown>} offer */
  const refusal = (offer) => assert.rejects(offer, OfferError).then(() => offer.catch((error) => error.id));

  test("settle with the answer of the same number", async () => {
    const { meeting, sockets } = newJoinedMeeting();
    const offer = meeting.offer("v=0");
    const { rev } = sockets.latest().sentOf("offer")[0];
    sockets.latest().say({ type: "answer", sdp: "other", rev: rev + 1, channel_url: "/x" });
    sockets.latest().say({ type: "answer", sdp: "v=0 answer", rev, channel_url: "/x" });
    assert.equal((await offer).sdp, "v=0 answer");
  });

  test("are rejected when the line breaks, is down, or ends", async () => {
    const { meeting, sockets } = newJoinedMeeting();
    const broken = meeting.offer("v=0");
    sockets.latest().lose();
    assert.equal(await refusal(broken), "line_down");
    assert.equal(await refusal(meeting.offer("v=0")), "line_down");
    meeting.leave();
    assert.equal(await refusal(meeting.offer("v=0")), "line_down");
  });

  test("are not sent before the join is through", async () => {
    const { meeting, sockets } = newMeeting();
    meeting.join();
    sockets.latest().accept();
    assert.equal(await refusal(meeting.offer("v=0")), "line_down");
    assert.equal(sockets.latest().sentOf("offer").length, 0);
  });

  test("are rejected by the server's fault, by a newer one, and by time", async () => {
    const { meeting, sockets } = newJoinedMeeting();
    const refused = meeting.offer("v=0");
    sockets.latest().say({ type: "error", id: "not_assigned", message: "wait" });
    assert.equal(await refusal(refused), "not_assigned");
    const [older, newer] = [meeting.offer("v=0"), meeting.offer("v=0")];
    assert.equal(await refusal(older), "overtaken");
    for (let n = 0; n < 4; n++) {
      mock.timers.tick(2000);
      sockets.latest().say({ type: "pong" });
    }
    assert.equal(await refusal(newer), "timeout");
  });
});

describe("hostile frames", () => {
  const FRAMES = [
    "", "null", "true", "7", "[]", "{}", "{", '"joined"', "\u0000", "{\"type\":null}", "{\"type\":7}", "[{\"type\":\"pong\"}]",
    '{"type":"__proto__"}', '{"type":"constructor"}', '{"type":"toString"}', '{"type":{"toString":1,"valueOf":1}}',
    '{"__proto__":{"polluted":true},"type":"waiting"}',
    '{"type":"state","seq":1,"snapshot":{"participants":[{"id":"a","name":"b","__proto__":{"polluted":true}}]}}',
    '{"type":"state","seq":1,"snapshot":null}', '{"type":"state","seq":-1,"snapshot":{"participants":[]}}',
    '{"type":"state","seq":1,"snapshot":{"participants":[null]}}', '{"type":"state","seq":1,"snapshot":{"participants":{"length":9}}}',
    '{"type":"delta","seq":1e999}', '{"type":"delta","seq":8,"joined":[{"id":1}]}', '{"type":"delta","seq":8,"left":"all"}',
    '{"type":"joined"}', '{"type":"joined","participant":"x","resume":"y","conference":"z","slots":null}',
    '{"type":"assigned","ice_servers":[null],"reason":"started","epoch":1}', '{"type":"assigned","ice_servers":[{"urls":[7]}],"reason":"started","epoch":1}',
    '{"type":"answer","sdp":{},"rev":1,"channel_url":"/"}', '{"type":"chat","from":"a","name":"b","text":["c"],"seq":1}', '{"type":"error"}', '{"type":"bye"}',
    '{"type":"chat","from":"a","name":"b","text":"' + "x".repeat(1 << 22) + '"}', "[".repeat(100_000),
    undefined, null, 7, new ArrayBuffer(8), { type: "joined" },
  ];

  test("leave the line as it was", () => {
    const { meeting, sockets, toldOf } = newJoinedMeeting();
    for (const frame of FRAMES) sockets.latest().sayText(frame);
    assert.ok(meeting.isJoined);
    assert.equal(sockets.opened.length, 1);
    assert.deepEqual(toldOf("line").map(({ state }) => state), ["connecting", "joined"]);
    assert.equal(/** @type {any} */ ({}).polluted, undefined);
    for (const participant of meeting.participants) assert.equal(/** @type {any} */ (participant).polluted, undefined);
  });

  test("never make the line come back in a tight circle", () => {
    const world = newMeeting();
    world.meeting.join();
    for (let second = 0; second < 60; second++) {
      for (let n = 0; n < 10; n++) {
        const socket = world.sockets.latest();
        if (!socket.isClosed && socket.readyState === 0) {
          welcome(world);
          socket.say({ type: "delta", seq: 1_000_000 });
        }
        mock.timers.tick(100);
      }
    }
    assert.ok(world.sockets.opened.length < 15, `${world.sockets.opened.length} connections in a minute`);
  });

  test("promise no more slots than a screen can show", () => {
    const update = parseUpdate(JSON.stringify({ ...JOINED, slots: { audio: 1e9, video: 1e9 } }));
    assert.deepEqual(update?.type === "joined" && update.slots, { audio: 64, video: 64 });
  });

  test("bring nothing along but the fields that are known", () => {
    const update = parseUpdate('{"type":"delta","seq":1,"joined":[{"id":"a","name":"b","muted_audio":"yes","avatar":"http://elsewhere/"}],"more":1}');
    const participant = { id: "a", name: "b", muted_audio: false, muted_video: false, screen: false, hand: false };
    assert.deepEqual(update, { type: "delta", seq: 1, joined: [participant], left: [], changed: [] });
  });

  test("a roster of five thousand is taken within a frame's time or two", () => {
    const { meeting, sockets } = newJoinedMeeting();
    const participants = Array.from({ length: 5000 }, (_, n) => ({ ...ANNA, id: n.toString(16).padStart(8, "0"), name: `Number ${n}` }));
    const started = performance.now();
    sockets.latest().say({ type: "state", seq: 1, snapshot: { participants } });
    sockets.latest().say({ type: "delta", seq: 2, left: participants.slice(0, 2500).map(({ id }) => id) });
    const took = performance.now() - started;
    assert.equal(meeting.participants.length, 2500);
    assert.ok(took < 200, `${took} ms`);
  });
});

describe("the channel", () => {
  /** A channel with everything it told. */
  function newChannel() {
    const sockets = fakeSockets();
    const channel = new Channel("/colibri-ws/b/c/e?pwd=x", sockets.open);
    /** @type {[string, any][]} */
    const told = [];
    for (const name of ["videos", "audios", "speaker"]) {
      channel.addEventListener(name, (event) => told.push([name, /** @type {CustomEvent} */ (event).detail]));
    }
    return { channel, sockets, told };
  }

  test("tells what fills the slots and who speaks", () => {
    const { sockets, told } = newChannel();
    sockets.latest().accept();
    const mapping = { source: "0a1b2c3d-v1", owner: "0a1b2c3d", ssrc: 1, rtx: 2, videoType: "DESKTOP", mid: "5" };
    sockets.latest().say({ colibriClass: "VideoSourcesMap", mappedSources: [mapping] });
    sockets.latest().say({ colibriClass: "DominantSpeakerEndpointChangeEvent", dominantSpeakerEndpoint: "0a1b2c3d", previousSpeakers: [], silence: true });
    assert.deepEqual(told, [
      ["videos", new Map([["5", { source: "0a1b2c3d-v1", owner: "0a1b2c3d", isScreen: true }]])],
      ["speaker", { endpoint: "0a1b2c3d", isSilent: true }],
    ]);
  });

  test("repeats to a new socket what is wanted", () => {
    const { channel, sockets } = newChannel();
    channel.want({ defaultConstraints: { maxHeight: 180 } });
    channel.want({ defaultConstraints: { maxHeight: 360 } });
    sockets.latest().accept();
    sockets.latest().lose();
    mock.timers.tick(250);
    sockets.latest().accept();
    const wanted = { colibriClass: "ReceiverVideoConstraints", defaultConstraints: { maxHeight: 360 } };
    assert.deepEqual(sockets.opened.map(({ sent }) => sent), [[wanted], [wanted]]);
  });

  test("asks a quiet bridge for a word, and takes silence for a break", () => {
    const { sockets } = newChannel();
    sockets.latest().accept();
    mock.timers.tick(10_000);
    assert.equal(sockets.latest().sentOf("ClientHello").length, 1);
    sockets.latest().say({ colibriClass: "ServerHello" });
    mock.timers.tick(10_000);
    mock.timers.tick(5_000);
    assert.ok(sockets.latest().isClosed);
    mock.timers.tick(250);
    assert.equal(sockets.opened.length, 2);
  });

  test("stays closed once it is closed", () => {
    const { channel, sockets, told } = newChannel();
    sockets.latest().accept();
    channel.close();
    sockets.latest().say({ colibriClass: "VideoSourcesMap", mappedSources: [] });
    sockets.latest().lose();
    mock.timers.tick(60_000);
    assert.equal(sockets.opened.length, 1);
    assert.deepEqual(told, []);
  });

  test("survives whatever is no message, and maps only what names a slot, a source and an owner", () => {
    const { sockets, told } = newChannel();
    sockets.latest().accept();
    for (const frame of ["", "null", "[1]", "{", '{"colibriClass":{}}', '{"colibriClass":"__proto__"}', new ArrayBuffer(1)]) sockets.latest().sayText(frame);
    assert.deepEqual(told, []);
    const good = { mid: "__proto__", owner: "o", source: "s" };
    const list = [null, 7, {}, { mid: 1, owner: "o", source: "s" }, { mid: "2", owner: {}, source: "s" }, { ...good, videoType: 9 }];
    assert.deepEqual(mappings(list), new Map([["__proto__", { source: "s", owner: "o", isScreen: false }]]));
    for (const none of [undefined, null, "x", { length: 3 }]) assert.equal(mappings(none).size, 0);
  });
});
