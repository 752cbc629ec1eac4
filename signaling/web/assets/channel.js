// This browser's WebSocket to its bridge: tells which source fills which slot and who speaks, and carries what this
// browser wants to see. Message names are Jitsi's. It knows nothing of the page.
//
// Events: videos {Map<mid, Mapping>}   audios {Map<mid, Mapping>}   speaker {Speaker}

import { Backoff } from "./backoff.js";
import { emit } from "./events.js";
import { parseObject } from "./messages.js";

/** Reconnection tries come at least this often until the media has another channel. */
const RETRY_MAX_MS = 5_000;
/** A bridge that said nothing for this long is asked for a `ServerHello`; a bridge with talking people is never quiet. */
const QUIET_MS = 10_000;
/** No answer within this: the socket is dead, and a picture could stand under the wrong name. */
const HELLO_TIMEOUT_MS = 5_000;

/**
 * @typedef {{ source: string, owner: string, isScreen: boolean }} Mapping
 * @typedef {{ endpoint: string, isSilent: boolean }} Speaker
 * @typedef {{ lastN?: number, selectedSources?: string[], onStageSources?: string[],
 *             defaultConstraints?: { maxHeight: number }, constraints?: Record<string, { maxHeight: number }> }} Constraints
 */

export class Channel extends EventTarget {
  #open;
  /** @type {WebSocket | null} */ #socket = null;
  /** Reconnection, or the question whether the socket lives. @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #backoff = new Backoff(RETRY_MAX_MS);
  #isClosed = false;
  /** @type {Constraints | null} */ #constraints = null;

  /**
   * @param {string} path  Path and query below the page's own origin, secret included.
   * @param {(path: string) => WebSocket} [open]
   */
  constructor(path, open = openBelowOrigin) {
    super();
    this.path = path;
    this.#open = open;
    this.#connect();
  }

  /** Tells the bridge what this browser wants to see; repeated by itself after a reconnection. */
  want(/** @type {Constraints} */ constraints) {
    this.#constraints = constraints;
    this.#sendConstraints();
  }

  /** Ends it for good. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #connect() {
    const socket = this.#open(this.path);
    this.#socket = socket;
    socket.onopen = () => {
      this.#backoff.noteOpened();
      this.#rest();
      this.#sendConstraints();
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket && !this.#isClosed) this.#handleFrame(event.data);
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#handleBreak();
    };
  }

  #handleBreak() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.#connect(), this.#backoff.nextMs());
  }

  /** @param {unknown} frame */
  #handleFrame(frame) {
    this.#rest();
    const message = parseObject(frame);
    switch (message?.colibriClass) {
      case "VideoSourcesMap":
        return emit(this, "videos", mappings(message.mappedSources));
      case "AudioSourcesMap":
        return emit(this, "audios", mappings(message.mappedSources));
      case "DominantSpeakerEndpointChangeEvent":
        return emit(this, "speaker", { endpoint: String(message.dominantSpeakerEndpoint), isSilent: message.silence === true });
    }
  }

  /** Something arrived: ask again after a quiet while. */
  #rest() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#send({ colibriClass: "ClientHello" });
      this.#timer = setTimeout(() => this.#handleBreak(), HELLO_TIMEOUT_MS);
    }, QUIET_MS);
  }

  #sendConstraints() {
    if (this.#constraints) this.#send({ colibriClass: "ReceiverVideoConstraints", ...this.#constraints });
  }

  /** @param {object} message */
  #send(message) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(message));
  }
}

/** @param {string} path */
function openBelowOrigin(path) {
  const url = new URL(path, location.origin);
  if (url.host !== location.host) throw new Error("a channel below another origin");
  url.protocol = url.protocol.replace("http", "ws");
  return new WebSocket(url);
}

/**
 * Filled slots by m-line; what has no m-line or no owner is left out.
 *
 * @param {unknown} list
 * @returns {Map<string, Mapping>}
 */
export function mappings(list) {
  /** @type {Map<string, Mapping>} */
  const filled = new Map();
  for (const item of Array.isArray(list) ? list : []) {
    if (typeof item?.mid !== "string" || typeof item.owner !== "string" || typeof item.source !== "string") continue;
    const isScreen = typeof item.videoType === "string" && item.videoType.startsWith("DESKTOP");
    filled.set(item.mid, { source: item.source, owner: item.owner, isScreen });
  }
  return filled;
}
