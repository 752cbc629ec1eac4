// What fills the receive positions of a connection. The bridge tells it over the channel; the m-lines, and so the tracks,
// stay the same for the connection's life.
//
// Events: tracks {Filled}   speaker {Speaker}

import { Channel } from "./channel.js";
import { emit, on } from "./events.js";

/** @import { Constraints, Mapping } from "./channel.js" */

/**
 * @typedef {{ mid: string, source: string, owner: string, isScreen: boolean, track: MediaStreamTrack, receiver: RTCRtpReceiver }} Slot
 * @typedef {{ videos: Slot[], audios: Slot[], audioTracks: MediaStreamTrack[] }} Filled  With the tracks of all audio slots, filled or not.
 */

export class Slots extends EventTarget {
  /** @type {RTCPeerConnection | null} */ #connection = null;
  /** @type {Channel | null} */ #channel = null;
  /** @type {Constraints | null} */ #wanted = null;
  /** @type {Map<string, Mapping>} */ #videos = new Map();
  /** @type {Map<string, Mapping>} */ #audios = new Map();

  /**
   * The connection was answered, and this is the path of its channel.
   *
   * @param {RTCPeerConnection} connection
   * @param {string} path
   */
  open(connection, path) {
    this.#connection = connection;
    if (this.#channel?.path !== path) this.#openChannel(path);
    this.#announce();
  }

  /** The connection is gone, and everything with it but what is wanted. */
  close() {
    this.#channel?.close();
    this.#channel = this.#connection = null;
    this.#videos = new Map();
    this.#audios = new Map();
    this.#announce();
  }

  /** Tells this and every later bridge what this browser wants to see. */
  want(/** @type {Constraints} */ constraints) {
    this.#wanted = constraints;
    this.#channel?.want(constraints);
  }

  /**
   * What there is to see and to hear now.
   *
   * @returns {Filled}
   */
  filled() {
    const receiving = this.#connection?.getTransceivers().filter(({ direction }) => direction === "recvonly") ?? [];
    const tracks = receiving.map(({ receiver }) => receiver.track);
    const audioTracks = tracks.filter(({ kind }) => kind === "audio");
    return { videos: this.#matched(this.#videos), audios: this.#matched(this.#audios), audioTracks };
  }

  /** @param {string} path */
  #openChannel(path) {
    this.#channel?.close();
    const channel = new Channel(path);
    this.#channel = channel;
    if (this.#wanted) channel.want(this.#wanted);
    on(channel, "videos", (mapping) => ((this.#videos = mapping), this.#announce()));
    on(channel, "audios", (mapping) => ((this.#audios = mapping), this.#announce()));
    on(channel, "speaker", (speaker) => emit(this, "speaker", speaker));
  }

  /**
   * @param {Map<string, Mapping>} mapping
   * @returns {Slot[]}
   */
  #matched(mapping) {
    /** @type {Slot[]} */
    const matched = [];
    for (const { mid, receiver } of this.#connection?.getTransceivers() ?? []) {
      const source = mid === null ? undefined : mapping.get(mid);
      if (source && mid !== null) matched.push({ mid, ...source, track: receiver.track, receiver });
    }
    return matched;
  }

  #announce() {
    emit(this, "tracks", this.filled());
  }
}
