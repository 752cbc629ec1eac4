// The bar of buttons below a meeting.

import { canShareScreen } from "./devices.js";
import { dress } from "./icons.js";

/** @import { Own } from "./own.js" */

/**
 * @typedef {{ audio: HTMLElement, video: HTMLElement, screen: HTMLElement, hand: HTMLElement, chat: HTMLElement, stats: HTMLElement, leave: HTMLElement }} Buttons
 * @typedef {{ open: () => void, close: () => void }} Panel
 */

export class Controls {
  #buttons;
  #own;
  /** At most one is open. @type {"chat" | "stats" | null} */ #openPanel = null;
  #unread = 0;

  /**
   * @param {Buttons} buttons
   * @param {Own} own
   * @param {{ chat: Panel, stats: Panel, leave: () => void }} actions
   */
  constructor(buttons, own, actions) {
    this.#buttons = buttons;
    this.#own = own;
    buttons.audio.onclick = () => own.toggleAudio();
    buttons.video.onclick = () => own.toggleVideo();
    buttons.screen.onclick = () => own.toggleScreen();
    buttons.hand.onclick = () => own.toggleHand();
    buttons.chat.onclick = () => this.#toggle("chat", actions);
    buttons.stats.onclick = () => this.#toggle("stats", actions);
    buttons.leave.onclick = actions.leave;
    buttons.screen.hidden = !canShareScreen();
    own.addEventListener("change", () => this.#dress());
    this.#dress();
  }

  setUnread(/** @type {number} */ count) {
    this.#unread = count;
    this.#dress();
  }

  /**
   * @param {"chat" | "stats"} name
   * @param {Record<"chat" | "stats", Panel>} panels
   */
  #toggle(name, panels) {
    const isOpening = this.#openPanel !== name;
    if (this.#openPanel) panels[this.#openPanel].close();
    this.#openPanel = isOpening ? name : null;
    if (isOpening) panels[name].open();
    this.#dress();
  }

  #dress() {
    const { audio, video, screen, hand, chat, stats, leave } = this.#buttons;
    dressDevices(audio, video, this.#own);
    const isSharing = this.#own.screen !== null;
    dress(screen, { icon: "screen", label: isSharing ? "Stop sharing the screen" : "Share the screen", isPressed: isSharing });
    dress(hand, { icon: "hand", label: this.#own.hand ? "Lower the hand" : "Raise the hand", isPressed: this.#own.hand });
    const unread = this.#unread > 0 ? `, ${this.#unread} unread` : "";
    dress(chat, { icon: "chat", label: `Chat${unread}`, isPressed: this.#openPanel === "chat" });
    chat.dataset.unread = this.#unread > 99 ? "99+" : this.#unread > 0 ? String(this.#unread) : "";
    dress(stats, { icon: "stats", label: "Statistics", isPressed: this.#openPanel === "stats" });
    dress(leave, { icon: "leave", label: "Leave" });
  }
}

/**
 * The two buttons that both faces have. Pressed means that it is off: that is what a person has done.
 *
 * @param {HTMLElement} audio
 * @param {HTMLElement} video
 * @param {Own} own
 */
export function dressDevices(audio, video, own) {
  const { isAudioOn, isVideoOn } = own;
  dress(audio, { icon: "microphone", label: isAudioOn ? "Mute" : "Unmute", isPressed: !isAudioOn, isOff: !isAudioOn });
  dress(video, { icon: "camera", label: isVideoOn ? "Switch the camera off" : "Switch the camera on", isPressed: !isVideoOn, isOff: !isVideoOn });
}
