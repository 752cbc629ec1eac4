// Browsers that reach the bridge through the relay only: over UDP, TCP and TLS, and with UDP blocked between them and
// everything else. Page, signaling and TURN are on one address and one port, as they are on a public server.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch } from "./support/browsers.mjs";
import { startPasserelle } from "./support/servers.mjs";
import { until } from "./support/until.mjs";
import { Visitor } from "./support/visitor.mjs";

/** @import { Launched } from "./support/browsers.mjs" */

const SUITE_TIMEOUT_MS = 400_000;
const TEST_TIMEOUT_MS = 90_000;
/** Two browsers share few processors, and one that may not use UDP first waits for it. */
const MEDIA_WAIT_MS = 45_000;
const WAIT_MS = 15_000;
/** The ear looks every 10 Hz; voices are hundreds apart. */
const TONE_TOLERANCE_HZ = 25;

/** The servers' end of the wire. */
const ADDRESS = "10.214.0.1";
/** By its name: Firefox speaks TLS to no relay that is named by its address. */
const HOST = "meet.test:443";
const SECRET = "only-these-tests-have-this-secret-4f0d9c1e7ab35826";

/** How a command is run on the servers' side, once this file runs on the other. */
const SERVERS_SIDE = process.env.PASSERELLE_SERVERS_SIDE?.split(" ");

if (SERVERS_SIDE) {
  describe("one port for everything", { timeout: SUITE_TIMEOUT_MS }, () => inOwnNetworks(SERVERS_SIDE));
} else {
  test("browsers and servers in networks of their own", { timeout: SUITE_TIMEOUT_MS }, async () => {
    const [networks, here] = ["./support/networks", "./relay.test.mjs"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
    const child = spawn(networks ?? "", [process.execPath, "--test-reporter=spec", here ?? ""], { env: environment, stdio: ["ignore", "inherit", "inherit"] });
    assert.equal(await new Promise((resolve) => child.once("exit", resolve)), 0, "what failed is told above");
  });
}

/** @param {string[]} side */
function inOwnNetworks(side) {
  /** @type {Awaited<ReturnType<typeof startPasserelle>>} */ let server;
  /** @type {Launched[]} */ const browsers = [];
  const folder = mkdtempSync(join(tmpdir(), "passerelle-relay-"));
  const authority = join(folder, "ca.pem");

  /** What a program says on the servers' side. @param {string[]} command */
  const there = (...command) => {
    const [program, ...rest] = [...side, ...command];
    return execFileSync(program ?? "", rest, { encoding: "utf8", timeout: WAIT_MS });
  };
  const curl = (/** @type {string[]} */ ...flags) =>
    execFileSync("curl", ["--silent", "--show-error", "--max-time", "10", ...flags], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const relayStats = () => JSON.parse(there("curl", "--silent", `http://${server.bound["turn-relay"].rest}/stats`));

  before(async () => {
    execFileSync(fileURLToPath(new URL("../turn/certificate", import.meta.url)), [folder, `IP:${ADDRESS}`, "DNS:meet.test"]);
    server = await startPasserelle({
      prefix: side,
      settings: {
        "turn-relay.listen": `["${ADDRESS}:443"]`,
        "turn-relay.tls_listen": "[]",
        "turn-relay.rest_listen": "127.0.0.1:0",
        "turn-relay.certificate": join(folder, "certificate.pem"),
        "turn-relay.key": join(folder, "key.pem"),
        "turn-relay.secrets": `["${SECRET}"]`,
        "turn-relay.drain_s": "0",
        "signaling.turn_secret": SECRET,
        // Chromium asks a name server for the name of a relay over UDP, and there is none here.
        "signaling.turn_uris": `["turn:${ADDRESS}:443?transport=udp", "turn:${ADDRESS}:443?transport=tcp", "turns:${HOST}?transport=tcp"]`,
      },
    });
    browsers.push(await launch("chromium", { toneHz: 500, authority }), await launch("firefox", { toneHz: 1400, authority }));
  }, { timeout: TEST_TIMEOUT_MS });

  after(async () => {
    for (const browser of browsers) await browser.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Both browsers meet, see each other's picture move and hear each other. @param {string} conference @param {string} search */
  async function meet(conference, search) {
    const visitors = [];
    for (const browser of browsers) {
      const visitor = await Visitor.open(browser, `${browser.name} ${conference}`);
      await visitor.join(`https://${HOST}`, conference, search);
      visitors.push(visitor);
    }
    for (const visitor of visitors) await until(`${visitor.name} is connected`, MEDIA_WAIT_MS, () => visitor.stand(), (stand) => stand === "connected");
    for (const visitor of visitors) await assertReceives(visitor, visitors);
    return visitors;
  }

  /** @param {Visitor} visitor @param {Visitor[]} everybody */
  async function assertReceives(visitor, everybody) {
    const frames = async () => [...(await visitor.framesDecoded()).values()].reduce((sum, count) => sum + count, 0);
    const before = await until(`${visitor.name} decodes a picture`, MEDIA_WAIT_MS, frames, (count) => count > 0);
    await until(`the picture of ${visitor.name} moves on from ${before}`, MEDIA_WAIT_MS, frames, (count) => count >= before + 20);
    const expected = everybody.filter((other) => other !== visitor).map(({ toneHz }) => toneHz);
    const isHeard = (/** @type {number[]} */ heard) => expected.every((tone) => heard.some((frequency) => Math.abs(frequency - tone) < TONE_TOLERANCE_HZ));
    await until(`${visitor.name} hears ${expected.join(" and ")} Hz`, MEDIA_WAIT_MS, () => visitor.tonesHeard(), isHeard);
  }

  /** The browser's end of the pair that carries media. @param {Visitor} visitor */
  async function localCandidate(visitor) {
    const all = await visitor.stats();
    const by = (/** @type {string} */ id) => all.find((stat) => stat.id === id);
    const named = all.filter(({ type, selectedCandidatePairId }) => type === "transport" && selectedCandidatePairId).map(({ selectedCandidatePairId }) => by(selectedCandidatePairId));
    // Firefox names it in the pair itself.
    const pair = named[0] ?? all.find(({ type, selected, nominated, state }) => type === "candidate-pair" && (selected || (nominated && state === "succeeded")));
    return by(pair?.localCandidateId) ?? { candidateType: "none" };
  }

  /** Both go, and the relay forgets them. @param {Visitor[]} visitors */
  async function part(visitors) {
    for (const visitor of visitors) {
      assert.deepEqual(await visitor.trouble(), [], visitor.name);
      await visitor.click("#leave");
      await visitor.close();
    }
    const left = () => Object.values(/** @type {Record<string, number>} */ (relayStats().allocations)).reduce((sum, count) => sum + count, 0);
    await until("the allocations are gone", WAIT_MS, left, (count) => count === 0);
  }

  test("gives curl the page over HTTPS, and an answer without TLS", () => {
    assert.match(curl("--cacert", authority, `https://${HOST}/some-conference`), /<!doctype html>/i);
    assert.match(curl("--cacert", authority, "--http1.1", "--head", `https://${HOST}/`), /^HTTP\/1\.1 200/);
    assert.match(curl("--include", `http://${HOST}/`), /^HTTP\/1\.[01] \d{3}/);
    assert.throws(() => curl(`https://${HOST}/`), /certificate/i, "an authority that nobody trusts is not trusted");
  });

  for (const leg of ["udp", "tcp", "tls"]) {
    test(`carries a meeting of Chromium and Firefox over ${leg} and the relay only`, { timeout: TEST_TIMEOUT_MS }, async () => {
      const visitors = await meet(`over-${leg}`, `?relay=${leg}`);
      for (const visitor of visitors) {
        const { candidateType, relayProtocol } = await localCandidate(visitor);
        assert.deepEqual([candidateType, relayProtocol], ["relay", leg], visitor.name);
      }
      const { allocations, relayed_packets: packets } = relayStats();
      assert.ok(allocations[leg] >= visitors.length, JSON.stringify(allocations));
      assert.ok(packets.to_peer > 0 && packets.to_client > 0);
      await part(visitors);
    });
  }

  test("lets browsers in whose firewall stops UDP, without being told", { timeout: TEST_TIMEOUT_MS * 2 }, async () => {
    const rule = ["pref", "5", "iif", "outer", "ipproto", "udp", "blackhole"];
    there("ip", "rule", "add", ...rule);
    try {
      const visitors = await meet("behind-a-firewall", "");
      for (const visitor of visitors) {
        const { candidateType, relayProtocol } = await localCandidate(visitor);
        assert.equal(candidateType, "relay", visitor.name);
        assert.ok(["tcp", "tls"].includes(relayProtocol), `${visitor.name} came over ${relayProtocol}`);
      }
      await visitors[1]?.screenshot("relay-behind-a-firewall");
      await part(visitors);
    } finally {
      there("ip", "rule", "delete", ...rule);
    }
  });
}
