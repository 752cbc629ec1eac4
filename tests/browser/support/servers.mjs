// Starts the real programs on whatever ports are free, and reads from their first line where they listen.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The release build, or what a person who works on the tests names. */
const PROGRAMS = process.env.PASSERELLE_PROGRAMS ?? fileURLToPath(new URL("../../../target/release/", import.meta.url));
const READY_TIMEOUT_MS = 10_000;
/** After this, a program that was asked to stop is ended. */
const STOP_TIMEOUT_MS = 5_000;

const LINK_KEY = "4f0d9c1e7ab35826-only-these-tests-have-this-key";

/**
 * @param {"passerelle" | "signaling" | "bridge"} program
 * @param {Record<string, string>} settings  By `section.key`.
 * @param {string[]} [prefix]  The command that runs it somewhere else.
 */
async function start(program, settings, prefix = []) {
  // An empty folder of its own: no settings file of the tree is read.
  const folder = mkdtempSync(join(tmpdir(), `passerelle-${program}-`));
  const own = Object.entries(settings).map(([key, value]) => [`PASSERELLE__${key.replaceAll(".", "__").toUpperCase()}`, value]);
  const [command, ...rest] = [...prefix, join(PROGRAMS, program), "--ready-json"];
  const child = spawn(command ?? "", rest, {
    cwd: folder,
    env: { PATH: process.env.PATH, PASSERELLE__LOG__LEVEL: process.env.VERBOSE ? "debug" : "warn", ...Object.fromEntries(own) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  process.once("exit", () => child.kill("SIGKILL"));
  const line = await firstLine(program, child, ended);
  return {
    bound: JSON.parse(line).bound,
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
    stop: async () => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await ended;
      clearTimeout(timer);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * @param {string} program
 * @param {import("node:child_process").ChildProcess} child
 * @param {Promise<unknown>} ended
 * @returns {Promise<string>}
 */
function firstLine(program, child, ended) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${program} is not ready in time`)), READY_TIMEOUT_MS);
    ended.then((code) => reject(new Error(`${program} ended with ${code} before it was ready`)));
    child.once("error", reject);
    const { stdout } = child;
    if (!stdout) return reject(new Error("no output to read"));
    createInterface({ input: stdout }).once("line", (line) => {
      clearTimeout(timer);
      resolve(line);
    });
  });
}

const SIGNALING_SETTINGS = {
  "signaling.listen": "127.0.0.1:0",
  "signaling.rest_listen": "127.0.0.1:0",
};

const BRIDGE_SETTINGS = {
  "bridge.media_port": "0",
  "bridge.channel_listen": "127.0.0.1:0",
  "bridge.rest_listen": "127.0.0.1:0",
  // Browsers work on the same processors.
  "bridge.pin_workers": "false",
};

const RELAY_SETTINGS = {
  "turn-relay.listen": '["127.0.0.1:0"]',
  "turn-relay.tls_listen": "[]",
  "turn-relay.rest_listen": "127.0.0.1:0",
  // Nobody waits for browsers that are gone.
  "turn-relay.drain_s": "0",
};

/**
 * Everything in one process, as `cargo run --release` starts it.
 *
 * @param {{ settings?: Record<string, string>, prefix?: string[] }} [more]
 */
export async function startPasserelle({ settings = {}, prefix = [] } = {}) {
  const running = await start("passerelle", { ...SIGNALING_SETTINGS, ...BRIDGE_SETTINGS, ...RELAY_SETTINGS, ...settings }, prefix);
  const { signaling, bridge } = running.bound;
  return { ...running, page: `http://${signaling.public}`, rest: `http://${signaling.rest}`, bridgeRest: `http://${bridge.rest}` };
}

export async function startSignaling() {
  const running = await start("signaling", { ...SIGNALING_SETTINGS, "signaling.link_key": LINK_KEY });
  return { ...running, page: `http://${running.bound.public}`, rest: `http://${running.bound.rest}` };
}

/**
 * @param {string} id
 * @param {string} signaling  URL.
 */
export async function startBridge(id, signaling) {
  const settings = { ...BRIDGE_SETTINGS, "bridge.id": id, "bridge.signaling": JSON.stringify([signaling]), "bridge.link_key": LINK_KEY };
  const running = await start("bridge", settings);
  return { ...running, id, rest: `http://${running.bound.rest}` };
}

/**
 * What a program's private interface tells.
 *
 * @param {string} url
 * @returns {Promise<any>}
 */
export async function ask(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}
