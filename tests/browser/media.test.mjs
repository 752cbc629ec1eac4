// When the page builds, keeps, repairs and rebuilds its connection to a bridge; without a browser.

import assert from "node:assert/strict";
import { beforeEach, describe, mock, test } from "node:test";

import { Media } from "../../signaling/web/assets/media.js";
import { OfferError } from "../../signaling/web/assets/protocol.js";
import { FakeConnection, installFakes } from "./support/fake-connection.mjs";

const JOINED = { slots: { audio: 2, video: 3 } };
/** @type {{ type: "assigned", ice_servers: object[], reason: string, epoch: number }} */
const ASSIGNED = { type: "assigned", ice_servers: [], reason: "started", epoch: 1 };
const ANSWER = { type: "answer", sdp: "answer", rev: 1, channel_url: "/colibri-ws/b/c/e?pwd=x" };

const RELAYS = [{ urls: ["turn:relay.example?transport=udp", "turns:relay.example"], username: "1:anna", credential: "old" }];
const FRESH = { uris: RELAYS[0]?.urls, username: "2:anna", password: "new", ttl: 600 };

/** A meeting that answers every offer, unless it is told otherwise. */
class FakeMeeting extends EventTarget {
  self = "0a1b2c3d";
  proof = "secret-1";
  /** @type {string[]} */ offers = [];
  /** @type {() => Promise<any>} */ answer = async () => ANSWER;

  /** @param {string} sdp */
  offer(sdp) {
    this.offers.push(sdp);
    return this.answer();
  }

  /** The server says something. @param {string} name @param {unknown} [detail] */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Lets all promises that can settle do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A fetched body takes a few turns more. */
async function answered() {
  for (let turn = 0; turn < 10; turn++) await settle();
}

/** @param {number} ms */
async function pass(ms) {
  mock.timers.tick(ms);
  await settle();
}

/** Joined, assigned and connected. */
async function newConnectedMedia(assigned = ASSIGNED) {
  const meeting = new FakeMeeting();
  const media = new Media(/** @type {any} */ (meeting));
  meeting.tell("joined", JOINED);
  meeting.tell("assigned", assigned);
  await settle();
  latest().become("connected");
  return { meeting, media };
}

function latest() {
  const connection = FakeConnection.made.at(-1);
  assert.ok(connection);
  return connection;
}

beforeEach(() => {
  installFakes();
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
});

describe("media", () => {
  test("offers what it sends and the slots that the server named", async () => {
    await newConnectedMedia();
    const lines = latest().transceivers.map(({ direction, receiver }) => `${direction} ${receiver.track.kind}`);
    const [slotA, slotV] = ["recvonly audio", "recvonly video"];
    assert.deepEqual(lines, ["sendonly audio", "sendonly video", slotA, slotA, slotV, slotV, slotV]);
  });

  test("keeps a connection that stands when the server repeats its assignment", async () => {
    const { meeting } = await newConnectedMedia();
    meeting.tell("assigned", ASSIGNED);
    await pass(10_000);
    assert.equal(FakeConnection.made.length, 1);
    assert.equal(meeting.offers.length, 1);
    assert.equal(latest().restarts, 0);
  });

  test("repairs a broken one when the server repeats its assignment", async () => {
    const { meeting } = await newConnectedMedia();
    latest().become("disconnected");
    meeting.tell("assigned", ASSIGNED);
    await pass(0);
    assert.equal(FakeConnection.made.length, 1);
    assert.equal(latest().restarts, 1);
  });

  test("builds a new one for every other reason, assignment and identity", async () => {
    const { meeting } = await newConnectedMedia();
    meeting.tell("assigned", { ...ASSIGNED, reason: "moved" });
    await settle();
    assert.equal(FakeConnection.made.length, 2, "the endpoint was lost");
    meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
    await settle();
    assert.equal(FakeConnection.made.length, 3, "another assignment");
    meeting.self = "11112222";
    meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
    await settle();
    assert.equal(FakeConnection.made.length, 4, "another identity");
    assert.ok(FakeConnection.made.slice(0, 3).every(({ isClosed }) => isClosed));
  });

  test("waits a while for media to come back by itself, then restarts ICE, then builds anew", async () => {
    await newConnectedMedia();
    latest().become("disconnected");
    await pass(2_400);
    assert.equal(latest().restarts, 0);
    await pass(100);
    assert.equal(latest().restarts, 1);
    await pass(6_000);
    assert.equal(FakeConnection.made.length, 2);
  });

  test("is content when media comes back by itself or by the restart", async () => {
    const { meeting } = await newConnectedMedia();
    latest().become("disconnected");
    await pass(1_000);
    latest().become("connected");
    await pass(10_000);
    assert.equal(latest().restarts, 0);
    latest().become("disconnected");
    await pass(2_500);
    latest().become("connected");
    await pass(10_000);
    assert.equal(FakeConnection.made.length, 1);
    assert.equal(meeting.offers.length, 2);
  });

  test("builds anew at once after a failure", async () => {
    await newConnectedMedia();
    latest().become("failed");
    await pass(0);
    assert.equal(FakeConnection.made.length, 2);
  });

  test("renews the credentials of the relays before a restart and before it builds anew", async (t) => {
    const asked = t.mock.method(globalThis, "fetch", async () => Response.json(FRESH));
    const { meeting } = await newConnectedMedia({ ...ASSIGNED, ice_servers: RELAYS });
    const credential = () => latest().configuration.iceServers?.map(({ credential }) => credential);
    assert.deepEqual([credential(), asked.mock.callCount()], [["old"], 0], "those of the assignment are new enough");
    latest().become("disconnected");
    await pass(2_500);
    await answered();
    assert.deepEqual([credential(), latest().restarts], [["new"], 1]);
    const [path, { headers }] = /** @type {any[]} */ (asked.mock.calls[0]?.arguments);
    assert.deepEqual([path, headers], ["/api/turn-credentials", { authorization: "Bearer secret-1" }]);
    await pass(6_000);
    assert.deepEqual([credential(), FakeConnection.made.length], [["new"], 2]);
    meeting.tell("assigned", { ...ASSIGNED, ice_servers: [{ ...RELAYS[0], credential: "moved" }], reason: "moved", epoch: 2 });
    await settle();
    assert.deepEqual([credential(), FakeConnection.made.length], [["moved"], 3]);
  });

  test("repairs with the credentials it has when there are no others, and asks for none without a relay", async (t) => {
    const asked = t.mock.method(globalThis, "fetch", async () => Response.json(FRESH));
    await newConnectedMedia({ ...ASSIGNED, ice_servers: RELAYS });
    const refused = async () => Response.json({ error: "rate_limited", message: "later" }, { status: 429 });
    const useless = [async () => Response.json(null), async () => new Response("<html>")];
    for (const answer of [refused, () => Promise.reject(new TypeError("no network")), ...useless]) {
      asked.mock.mockImplementation(answer);
      const made = FakeConnection.made.length;
      latest().become("failed");
      await pass(0);
      await answered();
      assert.equal(FakeConnection.made.length, made + 1);
      assert.deepEqual(latest().configuration.iceServers, RELAYS);
    }
    assert.equal(asked.mock.callCount(), 4);
    await newConnectedMedia();
    latest().become("failed");
    await pass(0);
    assert.equal(asked.mock.callCount(), 4);
  });

  test("lets a refused offer rest until the next assignment", async () => {
    for (const id of ["not_assigned", "unavailable", "bad_sdp", "line_down", "overtaken"]) {
      const { meeting } = await newConnectedMedia();
      const made = FakeConnection.made.length;
      meeting.answer = () => Promise.reject(new OfferError(id, "no"));
      meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
      await pass(60_000);
      assert.equal(FakeConnection.made.length, made + 1, id);
    }
  });

  test("repeats a lost offer and one with a useless answer, less and less often", async () => {
    for (const answer of [() => Promise.reject(new OfferError("timeout", "no answer")), async () => ({ ...ANSWER, sdp: "nonsense" })]) {
      const { meeting } = await newConnectedMedia();
      const made = FakeConnection.made.length;
      meeting.answer = answer;
      meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
      await settle();
      for (let second = 0; second < 120; second++) await pass(1_000);
      const tries = FakeConnection.made.length - made;
      assert.ok(tries >= 3 && tries < 60, `${tries} tries in two minutes`);
      meeting.answer = async () => ANSWER;
      await pass(32_000);
      latest().become("connected");
      const offers = meeting.offers.length;
      await pass(60_000);
      assert.equal(meeting.offers.length, offers, "and no more once it is answered");
    }
  });

  test("ends with the assignment, and begins with the next", async () => {
    const { meeting } = await newConnectedMedia();
    meeting.tell("waiting");
    assert.ok(latest().isClosed);
    await pass(60_000);
    assert.equal(FakeConnection.made.length, 1);
    meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
    await settle();
    assert.equal(FakeConnection.made.length, 2);
  });

  test("negotiates a screen when it comes and when it goes, in one m-line", async () => {
    const { meeting, media } = await newConnectedMedia();
    const screen = /** @type {any} */ ({ kind: "video", id: "screen" });
    await media.setScreen(screen);
    assert.equal(meeting.offers.length, 2);
    assert.deepEqual([latest().transceivers.length, latest().transceivers[7]?.direction], [8, "sendonly"]);
    await media.setScreen(null);
    assert.equal(latest().transceivers[7]?.direction, "inactive");
    await media.setScreen(screen);
    assert.deepEqual([latest().transceivers.length, latest().transceivers[7]?.direction], [8, "sendonly"]);
    assert.equal(meeting.offers.length, 4);
  });

  test("shares the screen at last when the line was down at first", async () => {
    const { meeting, media } = await newConnectedMedia();
    meeting.answer = () => Promise.reject(new OfferError("line_down", "no"));
    await media.setScreen(/** @type {any} */ ({ kind: "video", id: "screen" }));
    meeting.answer = async () => ANSWER;
    meeting.tell("joined", JOINED);
    await pass(0);
    assert.equal(FakeConnection.made.length, 1);
    assert.equal(meeting.offers.length, 3);
  });

  test("sends a camera that comes late, and takes it along to the next connection", async () => {
    const { meeting, media } = await newConnectedMedia();
    const camera = /** @type {any} */ ({ kind: "video", id: "camera", getSettings: () => ({ width: 1280, height: 720 }) });
    await media.setCamera(camera);
    assert.equal(latest().transceivers[1]?.sender.track, camera);
    assert.equal(meeting.offers.length, 1, "without a negotiation");
    meeting.tell("assigned", { ...ASSIGNED, epoch: 2 });
    await settle();
    assert.equal(latest().transceivers[1]?.sender.track, camera);
  });
});
