// What is said in text, and who came and went. Text is shown as text; only web addresses become links.
//
// Events: unread {count}

import { emit } from "./events.js";
import { linked, make } from "./dom.js";

/** @import { Chat as ChatLine, Participant } from "./messages.js" */

/** Older lines leave the page: a person scrolls a little, not through an afternoon. */
const LINES_MAX = 300;
/** Lines are put on the page together this often, however fast they come. */
const FLUSH_INTERVAL_MS = 100;
/** Comings and goings within this are one notice. */
const NOTICE_INTERVAL_MS = 2_000;
/** In a conference with more participants, somebody comes and goes all the time. */
const NOTICE_PARTICIPANTS_MAX = 50;
/** So many are named in one notice. */
const NOTICE_NAMES_MAX = 3;

export class Chat extends EventTarget {
  #panel;
  #list;
  #form;
  #input;
  #fault;
  #self = "";
  #bytesMax = 0;
  /** Lines of an earlier identity stay above those of a later one, whatever their numbers. */ #generation = 0;
  /** @type {ChatLine[]} */ #pending = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #flushTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #noticeTimer;
  /** Names. @type {{ joined: string[], left: string[] }} */ #comings = { joined: [], left: [] };
  #unread = 0;

  /**
   * @param {{ panel: HTMLElement, list: HTMLElement, form: HTMLFormElement, input: HTMLInputElement, fault: HTMLElement }} elements
   * @param {(text: string) => boolean} say  Returns whether the line took it.
   */
  constructor({ panel, list, form, input, fault }, say) {
    super();
    this.#panel = panel;
    this.#list = list;
    this.#form = form;
    this.#input = input;
    this.#fault = fault;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(say);
    });
  }

  /**
   * The line was joined, perhaps as somebody new.
   *
   * @param {string} self
   * @param {number} bytesMax  Of one text.
   * @returns {boolean} Somebody new.
   */
  setSelf(self, bytesMax) {
    const isNew = this.#self !== self;
    if (isNew) this.#generation++;
    this.#self = self;
    this.#bytesMax = bytesMax;
    return isNew;
  }

  open() {
    this.#panel.hidden = false;
    this.#unread = 0;
    emit(this, "unread", { count: 0 });
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#input.focus();
  }

  close() {
    this.#panel.hidden = true;
  }

  add(/** @type {ChatLine} */ line) {
    this.#pending.push(line);
    if (this.#pending.length > LINES_MAX) this.#pending.shift();
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_INTERVAL_MS);
    if (!this.#panel.hidden || line.from === this.#self) return;
    emit(this, "unread", { count: ++this.#unread });
  }

  /** @param {{ joined: Participant[], left: Participant[], all: Participant[] }} change */
  noteComings({ joined, left, all }) {
    if (all.length > NOTICE_PARTICIPANTS_MAX) return;
    const others = (/** @type {Participant[]} */ list) => list.filter(({ id }) => id !== this.#self).map(({ name }) => name);
    this.#comings.joined.push(...others(joined));
    this.#comings.left.push(...others(left));
    if (this.#comings.joined.length + this.#comings.left.length === 0) return;
    this.#noticeTimer ??= setTimeout(() => this.#flushComings(), NOTICE_INTERVAL_MS);
  }

  /** Something that was typed did not go out. */
  complain(/** @type {string} */ why) {
    this.#fault.textContent = why;
    this.#fault.hidden = why === "";
  }

  /** @param {(text: string) => boolean} say */
  #submit(say) {
    const text = this.#input.value.trim();
    if (!text) return;
    if (new TextEncoder().encode(text).length > this.#bytesMax) return this.complain("This text is too long.");
    if (!say(text)) return this.complain("There is no connection just now. Your text is still here.");
    this.complain("");
    this.#form.reset();
  }

  #flush() {
    this.#flushTimer = undefined;
    const isAtEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    for (const line of this.#pending.splice(0)) this.#insert(line);
    this.#trim(isAtEnd);
  }

  /** @param {ChatLine} line */
  #insert(line) {
    const who = make("bdi", "who", line.from === this.#self ? "You" : line.name);
    const item = make("li", line.from === this.#self ? "mine" : "", who, make("p", "text", ...linked(line.text)));
    item.dataset.generation = String(this.#generation);
    item.dataset.seq = String(line.seq);
    // History comes after the first live lines, and goes before them.
    let after = this.#list.lastElementChild;
    while (after instanceof HTMLElement && this.#isLater(after, line.seq)) after = after.previousElementSibling;
    if (after) after.after(item);
    else this.#list.prepend(item);
  }

  /**
   * @param {HTMLElement} item
   * @param {number} seq
   */
  #isLater(item, seq) {
    return item.dataset.generation === String(this.#generation) && Number(item.dataset.seq) > seq;
  }

  #flushComings() {
    this.#noticeTimer = undefined;
    const isAtEnd = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < 40;
    const { joined, left } = this.#comings;
    this.#comings = { joined: [], left: [] };
    // Whoever came and went meanwhile was not seen by anybody.
    for (const [names, gone, verb] of /** @type {const} */ ([[joined, left, "joined"], [left, joined, "left"]])) {
      const told = names.filter((name) => !gone.includes(name));
      if (told.length > 0) this.#list.append(make("li", "notice", ...sentence(told, verb)));
    }
    this.#trim(isAtEnd);
  }

  /** @param {boolean} isAtEnd */
  #trim(isAtEnd) {
    while (this.#list.childElementCount > LINES_MAX) this.#list.firstElementChild?.remove();
    if (isAtEnd) this.#list.scrollTop = this.#list.scrollHeight;
  }
}

/**
 * "Anna, Ben and 3 others joined", each name isolated, so that no letter in it turns the sentence round.
 *
 * @param {string[]} names
 * @param {string} verb
 */
function sentence(names, verb) {
  const named = names.length > NOTICE_NAMES_MAX + 1 ? names.slice(0, NOTICE_NAMES_MAX) : names;
  const others = names.length - named.length;
  /** @type {(Node | string)[]} */
  const parts = [];
  named.forEach((name, index) => {
    const isLast = index === named.length - 1 && others === 0;
    if (index > 0) parts.push(isLast ? " and " : ", ");
    parts.push(make("bdi", "", name));
  });
  parts.push(others > 0 ? ` and ${others} others ${verb}` : ` ${verb}`);
  return parts;
}
