// One line that says how the meeting stands, and the invitation while nobody else is there.

import { on } from "./events.js";

/** @import { Media } from "./media.js" */
/** @import { Meeting } from "./protocol.js" */

/** What is said for each standing. Nothing is said when all is well. */
const WORDS = {
  offline: "No network",
  connecting: "Connecting…",
  reconnecting: "Reconnecting…",
  waiting: "Waiting for others",
  unavailable: "No bridge is free; this starts by itself",
  starting: "Starting media…",
  repairing: "Media is coming back…",
  connected: "Connected",
};

/** @typedef {keyof typeof WORDS} Stand */

export class Standing {
  #elements;
  #meeting;
  #line = "connecting";
  #media = "none";
  #isWaiting = false;
  #isUnavailable = false;
  #wasJoined = false;
  #wasConnected = false;

  /**
   * @param {{ line: HTMLElement, alone: HTMLElement, address: HTMLElement }} elements
   * @param {Meeting} meeting
   * @param {Media} media
   */
  constructor(elements, meeting, media) {
    this.#elements = elements;
    this.#meeting = meeting;
    elements.address.textContent = location.href;
    on(meeting, "line", ({ state }) => {
      this.#line = state;
      this.#wasJoined ||= state === "joined";
      this.#draw();
    });
    on(meeting, "waiting", () => this.#set({ isWaiting: true, isUnavailable: false }));
    on(meeting, "assigned", () => this.#set({ isWaiting: false, isUnavailable: false }));
    on(meeting, "fault", ({ id }) => id === "unavailable" && this.#set({ isWaiting: false, isUnavailable: true }));
    on(meeting, "participants", () => this.#draw());
    on(media, "media", ({ state }) => {
      this.#media = state;
      this.#wasConnected = state === "connected" || (this.#wasConnected && state !== "closed");
      this.#draw();
    });
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#draw());
    this.#draw();
  }

  /** @param {{ isWaiting: boolean, isUnavailable: boolean }} state */
  #set({ isWaiting, isUnavailable }) {
    this.#isWaiting = isWaiting;
    this.#isUnavailable = isUnavailable;
    this.#draw();
  }

  #draw() {
    const stand = this.#stand();
    const { line, alone } = this.#elements;
    if (line.dataset.stand !== stand) line.textContent = WORDS[stand];
    line.dataset.stand = stand;
    // The roster can be ahead of the assignment.
    alone.hidden = stand !== "waiting" || this.#meeting.participants.length > 1;
  }

  /** @returns {Stand} */
  #stand() {
    if (this.#line !== "joined") return !navigator.onLine ? "offline" : this.#wasJoined ? "reconnecting" : "connecting";
    if (this.#isWaiting) return "waiting";
    if (this.#isUnavailable) return "unavailable";
    if (this.#media === "connected") return "connected";
    return this.#wasConnected ? "repairing" : "starting";
  }
}
