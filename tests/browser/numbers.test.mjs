// The parts of the page that only reckon: how tiles share an area, who gets one, what statistics say, what layers are sent.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { commonCodecs } from "../../signaling/web/assets/codecs.js";
import { initials } from "../../signaling/web/assets/dom.js";
import { CAMERA_ENCODINGS, fitLayers } from "../../signaling/web/assets/layers.js";
import { chosen, pictureHeight, tileSize, tilesMax } from "../../signaling/web/assets/layout.js";
import { rates } from "../../signaling/web/assets/rates.js";

const DESKTOP = { width: 1248, height: 680, gap: 8 };
const PHONE = { width: 374, height: 740, gap: 8 };

describe("tiles", () => {
  test("fit their area without overlap, whatever their number", () => {
    for (const area of [DESKTOP, PHONE]) {
      for (let count = 1; count <= 36; count++) {
        const { width, height } = tileSize(count, area);
        const columns = Math.floor((area.width + area.gap) / (width + area.gap));
        const rows = Math.ceil(count / columns);
        assert.ok(rows * (height + area.gap) - area.gap <= area.height, `${count} tiles`);
        const aspect = width / height;
        assert.ok(aspect > 0.74 && aspect < 1.8, `${count} tiles of ${width}×${height}`);
      }
    }
  });

  test("use most of the area for few, on a desktop and on a telephone", () => {
    for (const area of [DESKTOP, PHONE]) {
      for (const count of [2, 4, 6, 9]) {
        const { width, height } = tileSize(count, area);
        const share = (count * width * height) / (area.width * area.height);
        assert.ok(share > 0.6, `${count} tiles take ${share} of ${area.width}×${area.height}`);
      }
    }
  });

  test("are none in an area of nothing", () => {
    assert.deepEqual(tileSize(4, { width: 0, height: 0, gap: 8 }), { width: 0, height: 0 });
    assert.equal(tilesMax({ width: 0, height: 0, gap: 8 }), 1);
  });

  test("go to oneself, then to the lively, then to the others in their order", () => {
    const all = Array.from({ length: 100 }, (_, n) => ({ id: `p${n}`, name: "", muted_audio: false, muted_video: false, screen: false, hand: false }));
    const ids = (/** @type {number} */ max) => chosen(all, { self: "p50", lively: new Set(["p90", "p80"]), max }).map(({ id }) => id);
    assert.deepEqual(ids(1), ["p50"]);
    assert.deepEqual(ids(3), ["p50", "p80", "p90"]);
    assert.deepEqual(ids(5), ["p50", "p0", "p1", "p80", "p90"]);
    assert.equal(ids(500).length, 100);
  });

  test("ask for the least picture that fills them", () => {
    assert.deepEqual([0, 180, 181, 720, 5000].map(pictureHeight), [180, 180, 360, 720, 1080]);
  });
});

describe("statistics", () => {
  const inbound = { type: "inbound-rtp", id: "in", kind: "video", mid: "4", timestamp: 1000, bytesReceived: 1000, packetsReceived: 10, packetsLost: 0 };
  const outbound = { type: "outbound-rtp", id: "out", kind: "audio", remoteId: "remote", timestamp: 1000, bytesSent: 500 };
  const remote = { type: "remote-inbound-rtp", id: "remote", fractionLost: 0.25 };
  const pair = { type: "candidate-pair", id: "pair", nominated: true, state: "succeeded", currentRoundTripTime: 0.0125 };
  /** @param {any[]} stats */
  const report = (stats) => new Map(stats.map((stat) => [stat.id, stat]));

  test("are rates between two reports", () => {
    const before = report([inbound, outbound]);
    const later = { ...inbound, timestamp: 3000, bytesReceived: 251_000, packetsReceived: 100, packetsLost: 10, frameWidth: 640, frameHeight: 360, framesPerSecond: 29 };
    const now = rates(before, report([later, { ...outbound, timestamp: 3000, bytesSent: 8500 }, remote, pair]));
    assert.deepEqual(now.streams.map(({ direction, kbps, lossPercent, width, height, fps }) => [direction, kbps, lossPercent, width, height, fps]), [
      ["down", 1000, 10, 640, 360, 29],
      ["up", 32, 25, 0, 0, 0],
    ]);
    assert.deepEqual([now.downKbps, now.upKbps, now.rttMs], [1000, 32, 12.5]);
  });

  test("are nothing at first, after a new connection, and when a clock stands", () => {
    for (const before of [report([]), report([{ ...inbound, bytesReceived: 9e9, packetsLost: 9e9 }])]) {
      const now = rates(before, report([inbound]));
      assert.deepEqual([now.downKbps, now.streams[0]?.lossPercent, now.rttMs], [0, 0, null]);
    }
  });
});

describe("a camera's layers", () => {
  /** A sender that keeps what it is told. */
  const newSender = () => {
    const encodings = CAMERA_ENCODINGS.map((encoding) => ({ ...encoding, active: true }));
    let changes = 0;
    const sender = { getParameters: () => ({ encodings }), setParameters: async () => void changes++ };
    return { sender: /** @type {any} */ (sender), encodings, changes: () => changes };
  };
  const camera = (/** @type {number} */ width, /** @type {number} */ height) => /** @type {any} */ ({ getSettings: () => ({ width, height }) });

  test("are three of a large picture, also of one held upright", async () => {
    for (const large of [camera(1280, 720), camera(720, 1280)]) {
      const { sender, encodings, changes } = newSender();
      await fitLayers(sender, large);
      assert.deepEqual(encodings.map(({ active, scaleResolutionDownBy }) => active && scaleResolutionDownBy), [4, 2, 1]);
      assert.equal(changes(), 0, "as they were offered");
    }
  });

  test("are two of a small one, the middle of them whole", async () => {
    const { sender, encodings, changes } = newSender();
    await fitLayers(sender, camera(640, 480));
    assert.deepEqual(encodings.map(({ active, scaleResolutionDownBy }) => active && scaleResolutionDownBy), [2, 1, false]);
    await fitLayers(sender, camera(640, 480));
    assert.equal(changes(), 1, "and nothing is told twice");
    await fitLayers(sender, camera(1920, 1080));
    assert.deepEqual(encodings.map(({ active, scaleResolutionDownBy }) => active && scaleResolutionDownBy), [4, 2, 1]);
  });
});

test("one variant of each codec is offered, the one that everybody decodes", () => {
  const known = [
    { mimeType: "video/VP8" }, { mimeType: "video/rtx" }, { mimeType: "video/VP9", sdpFmtpLine: "profile-id=2" }, { mimeType: "video/VP9", sdpFmtpLine: "profile-id=0" },
    { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f" },
    { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42E01F" },
    { mimeType: "video/red" }, { mimeType: "video/ulpfec" },
  ];
  assert.deepEqual(commonCodecs(known), [known[0], known[5], known[3], known[1]]);
  const unusual = [{ mimeType: "video/VP9", sdpFmtpLine: "profile-id=3" }];
  assert.deepEqual(commonCodecs(unusual), unusual, "rather an unusual variant than none");
  assert.deepEqual(commonCodecs([]), []);
});

test("initials are whole letters as people see them", () => {
  const expected = { "Anna Mäkelä": "AM", " ben ": "B", "👩‍🚀 Zoë": "👩‍🚀Z", "e\u0301lan vital": "E\u0301V", "陈小明": "陈", "": "", "   ": "", "x y z": "XY" };
  for (const [name, letters] of Object.entries(expected)) assert.equal(initials(name), letters);
});
