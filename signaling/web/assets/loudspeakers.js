// The sound of a meeting: one element for each audio slot, playing whoever the bridge puts into it, whether or not the
// page knows yet who that is.
//
// Events: blocked {isBlocked}  (the browser wants a click before it plays)

import { emit } from "./events.js";
import { make } from "./dom.js";

/** @import { Filled, Slot } from "./slots.js" */

export class Loudspeakers extends EventTarget {
  #container;
  /** @type {Map<MediaStreamTrack, HTMLAudioElement>} */ #elements = new Map();
  /** @type {Slot[]} */ #slots = [];
  /** By m-line: the packet whose level was seen last. A slot without new ones is silent. @type {Map<string, number>} */ #lastHeard = new Map();

  /** @param {HTMLElement} container */
  constructor(container) {
    super();
    this.#container = container;
  }

  /** @param {Filled} filled */
  setSlots({ audios, audioTracks }) {
    this.#slots = audios;
    for (const [track, element] of this.#elements) {
      if (audioTracks.includes(track)) continue;
      element.srcObject = null;
      element.remove();
      this.#elements.delete(track);
    }
    for (const track of audioTracks) {
      if (!this.#elements.has(track)) this.#add(track);
    }
  }

  /** How loud each participant is now, 0..1. */
  levels() {
    /** @type {Map<string, number>} */
    const levels = new Map();
    for (const { mid, owner, receiver } of this.#slots) {
      const [latest] = receiver.getSynchronizationSources();
      const isNew = latest !== undefined && this.#lastHeard.get(mid) !== latest.rtpTimestamp;
      if (latest) this.#lastHeard.set(mid, latest.rtpTimestamp);
      if (isNew) levels.set(owner, latest.audioLevel ?? 0);
    }
    return levels;
  }

  /** Tries again after a click. */
  async play() {
    const tries = [...this.#elements.values()].map((element) => element.play());
    const results = await Promise.allSettled(tries);
    const isBlocked = results.some((result) => result.status === "rejected" && result.reason?.name === "NotAllowedError");
    emit(this, "blocked", { isBlocked });
  }

  /** @param {MediaStreamTrack} track */
  #add(track) {
    const element = make("audio", "");
    element.autoplay = true;
    element.srcObject = new MediaStream([track]);
    this.#elements.set(track, element);
    this.#container.append(element);
    element.play().catch((error) => error.name === "NotAllowedError" && emit(this, "blocked", { isBlocked: true }));
  }
}
