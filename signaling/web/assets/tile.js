// One tile: a participant's camera, or the screen somebody shares. Without a picture it shows initials.

import { hue, initials, make } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Participant } from "./messages.js" */

export class Tile {
  #video = make("video", "");
  #avatar = make("div", "avatar");
  #name = make("bdi", "name");
  #marks = make("span", "marks");
  /** @type {MediaStreamTrack | null} */ #track = null;
  #shownMarks = "";

  /**
   * @param {"camera" | "screen"} kind
   * @param {string} owner
   * @param {boolean} isOwn
   */
  constructor(kind, owner, isOwn) {
    this.kind = kind;
    this.isOwn = isOwn;
    this.element = make("div", `tile ${kind} ${hue(owner)}`, this.#avatar, this.#video, make("div", "label", this.#marks, this.#name));
    this.element.dataset.participant = owner;
    this.element.setAttribute("role", "listitem");
    this.element.classList.toggle("own", isOwn);
    this.#avatar.setAttribute("aria-hidden", "true");
    // Sound has its own elements: it goes on when a tile goes.
    this.#video.muted = this.#video.autoplay = this.#video.playsInline = true;
    // A slot may be filled a while before its first picture arrives; the initials stay until then.
    this.#video.onloadeddata = () => this.element.classList.add("has-picture");
    this.#video.onresize = () => this.element.classList.toggle("is-portrait", this.#video.videoHeight > this.#video.videoWidth);
  }

  /** The name, and what the others should know of this participant. */
  show(/** @type {Participant} */ participant) {
    const name = this.kind === "screen" ? `${participant.name}: screen` : participant.name;
    if (this.#name.textContent !== name) {
      this.#name.textContent = name;
      this.#avatar.textContent = initials(participant.name);
    }
    if (this.kind === "screen") return;
    const { muted_audio: isMuted, hand, screen } = participant;
    const marks = JSON.stringify([isMuted, hand, screen]);
    if (marks === this.#shownMarks) return;
    this.#shownMarks = marks;
    this.element.classList.toggle("is-muted", isMuted);
    this.element.classList.toggle("has-hand", hand);
    this.#marks.replaceChildren(
      ...(isMuted ? [mark("muted", "microphone", "muted")] : []),
      ...(hand ? [mark("hand", "hand", "hand raised")] : []),
      ...(screen ? [mark("sharing", "screen", "shares the screen")] : []),
    );
  }

  /** The picture, or `null` for none. */
  play(/** @type {MediaStreamTrack | null} */ track) {
    if (track === this.#track) return;
    this.#track = track;
    this.element.classList.remove("has-picture");
    this.#video.srcObject = track && new MediaStream([track]);
  }

  /** Lights the rim. */
  light(/** @type {{ isSpeaking: boolean, isDominant: boolean }} */ { isSpeaking, isDominant }) {
    this.element.classList.toggle("is-speaking", isSpeaking);
    this.element.classList.toggle("is-dominant", isDominant);
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }
}

/**
 * @param {string} className
 * @param {Parameters<typeof icon>[0]} name
 * @param {string} label
 */
function mark(className, name, label) {
  const element = make("span", `mark ${className}`, icon(name, className === "muted"));
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  element.title = label;
  return element;
}
