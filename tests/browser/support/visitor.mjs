// One person with one browser page: does what a person does with it, and sees and hears what a person would. It watches
// from outside; the page has no door for tests.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { until } from "./until.mjs";

/** @import { Page } from "puppeteer-core" */
/** @import { Launched } from "./browsers.mjs" */

/** Screenshots are kept here. */
const ARTIFACTS = fileURLToPath(new URL("../../../artifacts/", import.meta.url));
const JOIN_TIMEOUT_MS = 20_000;

/**
 * @typedef {{ participant: string, kind: "camera" | "screen", name: string, hasPicture: boolean, isMuted: boolean, hasHand: boolean, isOwn: boolean }} TileView
 */

export class Visitor {
  /** Where the page is from. */ #host = "";
  /** What should not happen: console errors, exceptions, policy violations, requests to others. @type {string[]} */ complaints = [];

  /**
   * @param {Page} page
   * @param {Launched} launched
   * @param {string} name
   */
  constructor(page, launched, name) {
    this.page = page;
    this.name = name;
    this.toneHz = launched.toneHz;
  }

  /**
   * Opens a page without going anywhere yet.
   *
   * @param {Launched} launched
   * @param {string} name
   * @param {{ width: number, height: number }} [size]
   */
  static async open(launched, name, size = { width: 1280, height: 800 }) {
    const context = await launched.browser.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport(size);
    const visitor = new Visitor(page, launched, name);
    await visitor.#watch();
    return visitor;
  }

  async #watch() {
    this.page.on("console", (message) => {
      if (process.env.VERBOSE) console.error(`[${this.name}]`, message.text());
      if (message.type() === "error") this.complaints.push(`console: ${message.text()}`);
    });
    this.page.on("pageerror", (error) => this.complaints.push(`exception: ${error}`));
    this.page.on("request", (request) => {
      const { protocol, hostname } = new URL(request.url());
      if (request.isNavigationRequest()) this.#host = hostname;
      const isOwn = [this.#host, "127.0.0.1", "localhost"].includes(hostname);
      if (!isOwn && !["data:", "blob:", "about:"].includes(protocol)) this.complaints.push(`request to ${request.url()}`);
    });
    await this.page.evaluateOnNewDocument(watchInPage);
  }

  /** Goes through pre-join into a conference. @param {string} server @param {string} conference @param {string} [search] */
  async join(server, conference, search) {
    await this.prepare(server, conference, search);
    await this.enter();
  }

  /** Goes as far as pre-join, and sees its own camera there. @param {string} server @param {string} conference @param {string} [search] */
  async prepare(server, conference, search = "") {
    await this.page.goto(`${server}/${encodeURIComponent(conference)}${search}`);
    await this.page.waitForSelector("#prejoin:not([hidden])", { timeout: JOIN_TIMEOUT_MS });
    const sees = () => this.page.$eval("#preview", (video) => /** @type {HTMLVideoElement} */ (video).videoWidth > 0);
    await until(`${this.name} sees the own camera`, JOIN_TIMEOUT_MS, sees);
  }

  /** From pre-join into the meeting. */
  async enter() {
    await this.page.$eval("#prejoin-name", (input, name) => void (/** @type {HTMLInputElement} */ (input).value = name), this.name);
    await this.click("#prejoin-join");
    await this.page.waitForSelector("#meeting:not([hidden])", { timeout: JOIN_TIMEOUT_MS });
  }

  /** A click as the page gets it; whether a pointer would reach the button is a screenshot's question. @param {string} selector */
  async click(selector) {
    await this.page.$eval(selector, (button) => /** @type {HTMLElement} */ (button).click());
  }

  /** @param {string} text */
  async say(text) {
    if (await this.page.$eval("#chat", (panel) => /** @type {HTMLElement} */ (panel).hidden)) await this.click("#toggle-chat");
    await this.page.$eval("#chat-text", (input, typed) => void (/** @type {HTMLInputElement} */ (input).value = typed), text);
    await this.click("#chat-form button");
  }

  /** The chat as it is read. @returns {Promise<string[]>} */
  chatLines() {
    return this.page.$$eval("#chat-lines li", (items) => items.map((item) => item.textContent ?? ""));
  }

  /** @returns {Promise<TileView[]>} */
  tiles() {
    return this.page.$$eval(".tile", (tiles) =>
      tiles.map((tile) => ({
        participant: /** @type {HTMLElement} */ (tile).dataset.participant ?? "",
        kind: /** @type {TileView["kind"]} */ (tile.classList.contains("screen") ? "screen" : "camera"),
        name: tile.querySelector(".name")?.textContent ?? "",
        hasPicture: tile.classList.contains("has-picture"),
        isMuted: tile.classList.contains("is-muted"),
        hasHand: tile.classList.contains("has-hand"),
        isOwn: tile.classList.contains("own"),
      })),
    );
  }

  /** How the meeting stands, as the page says. */
  stand() {
    return this.page.$eval("#meeting-line", (line) => /** @type {HTMLElement} */ (line).dataset.stand ?? "");
  }

  /**
   * Frames that the videos of other participants' tiles have shown so far, by tile.
   *
   * @returns {Promise<Record<string, number>>}
   */
  framesShown() {
    return this.page.$$eval(".tile:not(.own)", (tiles) =>
      Object.fromEntries(
        tiles.map((tile) => [
          `${/** @type {HTMLElement} */ (tile).dataset.participant} ${tile.classList.contains("screen") ? "screen" : "camera"}`,
          tile.querySelector("video")?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
        ]),
      ),
    );
  }

  /**
   * All `getStats` of the page's newest connection, plain.
   *
   * @param {string} [type]
   * @returns {Promise<any[]>}
   */
  stats(type) {
    return this.page.evaluate(async (wanted) => {
      const connection = /** @type {any} */ (window).testConnections?.at(-1);
      const report = connection ? [...(await connection.getStats()).values()] : [];
      return report.filter((stat) => !wanted || stat.type === wanted).map((stat) => ({ ...stat }));
    }, type);
  }

  /**
   * Frames decoded so far of each video stream that this browser receives, by its slot. A slot that never got a frame is
   * left out.
   */
  async framesDecoded() {
    const streams = (await this.stats("inbound-rtp")).filter(({ kind, framesDecoded }) => kind === "video" && framesDecoded > 0);
    return new Map(streams.map(({ id, framesDecoded }) => [id, framesDecoded]));
  }

  /**
   * The loudest frequencies that come out of the loudspeakers, in Hz, one for each element that sounds.
   *
   * @returns {Promise<number[]>}
   */
  tonesHeard() {
    return this.page.evaluate(listenInPage);
  }

  /** @param {string} name */
  async screenshot(name) {
    mkdirSync(ARTIFACTS, { recursive: true });
    await this.page.screenshot({ path: `${ARTIFACTS}${name}.png` });
  }

  /** Everything that should not have happened, policy violations included. */
  async trouble() {
    const violations = await this.page.evaluate(() => /** @type {any} */ (window).testViolations ?? []);
    return [...this.complaints, ...violations];
  }

  async close() {
    await this.page.browserContext().close();
  }
}

/** Runs in the page before its own scripts. */
function watchInPage() {
  const world = /** @type {any} */ (window);
  world.testViolations = [];
  world.testConnections = [];
  document.addEventListener("securitypolicyviolation", (event) => world.testViolations.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  const Original = RTCPeerConnection;
  window.RTCPeerConnection = class extends Original {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      world.testConnections.push(this);
    }
  };
}

/**
 * Runs in the page: records each audio element for a moment and looks for the frequency that is loudest in it. (An
 * analyser node would be simpler, but Firefox runs none on a machine without a sound card.)
 */
async function listenInPage() {
  const LISTEN_MS = 1_000;
  const AUDIBLE_AMPLITUDE = 0.005;
  const RATE_HZ = 48_000;

  /** @param {MediaStream} stream */
  const record = async (stream) => {
    const recorder = new MediaRecorder(stream);
    /** @type {Blob[]} */
    const pieces = [];
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    await new Promise((resolve) => setTimeout(resolve, LISTEN_MS));
    recorder.stop();
    await stopped;
    const bytes = await new Blob(pieces).arrayBuffer();
    // A slot that never got a packet records nothing that could be decoded.
    const sound = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes).catch(() => null);
    return sound?.getChannelData(0) ?? new Float32Array();
  };

  /** How much of one frequency there is (Goertzel). @param {Float32Array} samples @param {number} frequencyHz */
  const amplitude = (samples, frequencyHz) => {
    const factor = 2 * Math.cos((2 * Math.PI * frequencyHz) / RATE_HZ);
    let [before, last] = [0, 0];
    for (const sample of samples) [before, last] = [last, sample + factor * last - before];
    return (2 * Math.sqrt(Math.max(0, last * last + before * before - factor * last * before))) / Math.max(1, samples.length);
  };

  const elements = /** @type {HTMLAudioElement[]} */ ([...document.querySelectorAll("#speakers-out audio")]);
  const recordings = await Promise.all(elements.map(({ srcObject }) => record(/** @type {MediaStream} */ (srcObject))));
  return recordings.flatMap((samples) => {
    let loudest = { frequencyHz: 0, amplitude: 0 };
    for (let frequencyHz = 100; frequencyHz < 3_000; frequencyHz += 10) {
      const found = amplitude(samples, frequencyHz);
      if (found > loudest.amplitude) loudest = { frequencyHz, amplitude: found };
    }
    return loudest.amplitude > AUDIBLE_AMPLITUDE ? [loudest.frequencyHz] : [];
  });
}
