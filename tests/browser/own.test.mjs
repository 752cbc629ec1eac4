// What a person switches on and off, and what becomes of it when devices come late, not at all, or go.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { Own } from "../../signaling/web/assets/own.js";

/** A device's track. */
class FakeTrack {
  enabled = true;
  isStopped = false;
  /** @type {(() => void) | null} */ onended = null;

  /** @param {string} kind */
  constructor(kind) {
    this.kind = kind;
    given.push(this);
  }

  stop() {
    this.isStopped = true;
  }
}

/** All tracks that were given, in order. @type {FakeTrack[]} */ let given = [];
/** The person's answers; each question waits for its own. @type {((isAllowed: boolean) => void)[]} */ let questions = [];

/** @param {MediaStreamConstraints} constraints */
function ask(constraints) {
  return new Promise((resolve, reject) => {
    questions.push((isAllowed) => {
      if (!isAllowed) return reject(new Error("NotAllowedError"));
      const tracks = ["audio", "video"].filter((kind) => kind in constraints && Reflect.get(constraints, kind)).map((kind) => new FakeTrack(kind));
      const of = (/** @type {string} */ wanted) => tracks.filter(({ kind }) => kind === wanted);
      resolve({ getTracks: () => tracks, getAudioTracks: () => of("audio"), getVideoTracks: () => of("video") });
    });
  });
}

/** The person answers everything that is asked until nothing more is. @param {boolean} isAllowed */
async function answerAll(isAllowed) {
  for (let round = 0; round < 10; round++) {
    for (const answer of questions.splice(0)) answer(isAllowed);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function newOpenOwn() {
  const own = new Own();
  own.open();
  await answerAll(true);
  return own;
}

beforeEach(() => {
  given = [];
  questions = [];
  const mediaDevices = { getUserMedia: ask, getDisplayMedia: () => ask({ video: true }) };
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices }, configurable: true });
});

describe("what one sends", () => {
  test("is asked for in one question", async () => {
    const own = new Own();
    own.open();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(questions.length, 1);
    await answerAll(true);
    assert.deepEqual(own.shown, { muted_audio: false, muted_video: false, screen: false, hand: false });
  });

  test("is nothing where nothing is allowed, and can be asked for again", async () => {
    const own = new Own();
    own.open();
    await answerAll(false);
    assert.deepEqual([own.isAudioOn, own.isVideoOn, own.isAwaited], [false, false, false]);
    own.toggleAudio();
    own.toggleVideo();
    await answerAll(true);
    assert.deepEqual([own.isAudioOn, own.isVideoOn], [true, true]);
  });

  test("stays off when it was switched off before the person answered", async () => {
    const own = new Own();
    own.open();
    assert.deepEqual([own.isAudioOn, own.isVideoOn], [true, true], "as it will be");
    own.toggleAudio();
    own.toggleVideo();
    assert.deepEqual([own.isAudioOn, own.isVideoOn], [false, false]);
    await answerAll(true);
    assert.deepEqual(own.shown, { muted_audio: true, muted_video: true, screen: false, hand: false });
    assert.equal(own.microphone?.enabled, false);
    assert.ok(given.filter(({ kind }) => kind === "video").every(({ isStopped }) => isStopped), "the camera's light is out");
  });

  test("is muted at once, and the microphone stays open", async () => {
    const own = await newOpenOwn();
    own.toggleAudio();
    assert.deepEqual([own.microphone?.enabled, own.shown.muted_audio], [false, true]);
    own.toggleAudio();
    assert.deepEqual([own.microphone?.enabled, own.shown.muted_audio], [true, false]);
    await answerAll(true);
    assert.equal(given.length, 2, "no device was opened again");
  });

  test("ends up as clicked last, however fast", async () => {
    for (const clicks of [1, 2, 3, 4, 5]) {
      const own = await newOpenOwn();
      for (let n = 0; n < clicks; n++) own.toggleVideo();
      await answerAll(true);
      assert.deepEqual([own.isVideoOn, own.camera !== null, own.isAwaited], [clicks % 2 === 0, clicks % 2 === 0, false], `${clicks} clicks`);
    }
  });

  test("follows a device that is pulled out, and a screen that the browser stops sharing", async () => {
    const own = await newOpenOwn();
    own.toggleScreen();
    await answerAll(true);
    assert.equal(own.shown.screen, true);
    for (const track of given) track.onended?.();
    await answerAll(true);
    assert.deepEqual(own.shown, { muted_audio: true, muted_video: true, screen: false, hand: false });
  });

  test("is let go of at the end", async () => {
    const own = await newOpenOwn();
    own.toggleScreen();
    await answerAll(true);
    own.close();
    await answerAll(true);
    assert.ok(given.length === 3 && given.every(({ isStopped }) => isStopped));
  });
});
