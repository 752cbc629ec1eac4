// The statistics panel: what this browser sends and receives, for each participant, while it is open.

import { make } from "./dom.js";
import { rates } from "./rates.js";

/** @import { Media } from "./media.js" */
/** @import { StreamRate } from "./rates.js" */

const INTERVAL_MS = 1_000;

export class Stats {
  #panel;
  #rows;
  #summary;
  #media;
  #nameOf;
  /** @type {Map<string, any>} */ #before = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {{ panel: HTMLElement, rows: HTMLElement, summary: HTMLElement }} elements
   * @param {Media} media
   * @param {(id: string) => string} nameOf
   */
  constructor({ panel, rows, summary }, media, nameOf) {
    this.#panel = panel;
    this.#rows = rows;
    this.#summary = summary;
    this.#media = media;
    this.#nameOf = nameOf;
  }

  open() {
    this.#panel.hidden = false;
    this.#before = new Map();
    this.#look();
  }

  close() {
    this.#panel.hidden = true;
    clearTimeout(this.#timer);
  }

  async #look() {
    const report = await this.#media.connection?.getStats();
    if (this.#panel.hidden) return;
    const now = new Map(/** @type {Iterable<[string, any]>} */ (report?.entries() ?? []));
    this.#draw(rates(this.#before, now));
    this.#before = now;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), INTERVAL_MS);
  }

  /** @param {import("./rates.js").Rates} now */
  #draw({ streams, rttMs, upKbps, downKbps }) {
    const owners = this.#owners();
    const shown = streams.map((stream) => ({ stream, who: this.#who(stream, owners) }));
    this.#rows.replaceChildren(...shown.flatMap(({ stream, who }) => (who ? [row(stream, who)] : [])));
    const rtt = rttMs === null ? "–" : `${rttMs.toFixed(rttMs < 10 ? 1 : 0)} ms`;
    this.#summary.textContent = `up ${Math.round(upKbps)} kbit/s · down ${Math.round(downKbps)} kbit/s · round trip ${rtt}`;
  }

  /** Who is in each slot now, by the slot's track and its m-line: not every browser tells both. */
  #owners() {
    /** @type {Map<string, { owner: string, isScreen: boolean }>} */
    const owners = new Map();
    const { videos, audios } = this.#media.slots.filled();
    for (const { mid, track, owner, isScreen } of [...videos, ...audios]) {
      owners.set(track.id, { owner, isScreen });
      owners.set(`mid ${mid}`, { owner, isScreen });
    }
    return owners;
  }

  /**
   * `null`: an empty slot, or a layer that is not sent now.
   *
   * @param {StreamRate} stream
   * @param {Map<string, { owner: string, isScreen: boolean }>} owners
   * @returns {{ name: string, what: string } | null}
   */
  #who(stream, owners) {
    const isVoice = stream.kind === "audio";
    if (stream.direction === "up") {
      // A camera is sent in named layers, a screen in one without a name.
      const what = isVoice ? "voice" : stream.rid ? `picture ${stream.rid}` : "screen";
      return isVoice || stream.kbps > 0 ? { name: "you", what } : null;
    }
    const found = owners.get(stream.trackIdentifier) ?? owners.get(`mid ${stream.mid}`);
    return found ? { name: this.#nameOf(found.owner), what: isVoice ? "voice" : found.isScreen ? "screen" : "picture" } : null;
  }
}

/**
 * @param {StreamRate} stream
 * @param {{ name: string, what: string }} who
 */
function row(stream, who) {
  const size = stream.width ? `${stream.width}×${stream.height}` : "";
  const fps = stream.width ? ` ${Math.round(stream.fps)}/s` : "";
  const cells = [`${size}${fps}`, Math.round(stream.kbps).toString(), `${stream.lossPercent.toFixed(1)} %`];
  const name = make("td", "", make("bdi", "", who.name));
  return make("tr", stream.direction, name, make("td", "", who.what), ...cells.map((text) => make("td", "number", text)));
}
