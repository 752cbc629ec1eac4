// One participant's line to a conference: joins, comes back by itself when the line breaks, keeps the roster, carries
// chat and negotiation. It knows nothing of the page and nothing of media.
//
// A line's life:  connecting → joined → (broken → connecting → joined)* → ended
//
// Events (each a CustomEvent with `detail`):
//   line {state: "connecting" | "joined" | "broken" | "ended", reason?}   joined {Joined}       waiting
//   assigned {Assigned}    participants {RosterChange}                    chat {Chat}           fault {Fault}

import { Backoff } from "./backoff.js";
import { emit } from "./events.js";
import { parseUpdate, SUBPROTOCOL } from "./messages.js";
import { Roster } from "./roster.js";

/** @import { Answer, Changes, Chat, Delta, Fault, Joined, Update } from "./messages.js" */

/** A line that is quiet for this long is asked whether it still stands. */
const PING_INTERVAL_MS = 5_000;
/** No answer within this: the line is broken, whatever the socket says. */
const PONG_TIMEOUT_MS = 2_500;
/** A connection that has not brought a `joined` within this is given up; the server gives one up after 5 s. */
const JOIN_TIMEOUT_MS = 7_500;
/** Reconnection tries come at least this often while the page is open. */
const RETRY_MAX_MS = 10_000;
/** The server answers an offer within 5 s or says why not. */
const ANSWER_TIMEOUT_MS = 8_000;
/** The server repeats at most 50 chat lines after a reconnection; so many are remembered to tell repeats. */
const CHAT_MEMORY_LINES = 500;

/** Trying to join again by itself would meet the same answer. */
const FINAL_FAULTS = new Set(["bad_conference", "bad_name", "conference_full", "bad_token"]);
/** Faults that can be the answer to an offer, and mean that this one gets no other. */
const OFFER_FAULTS = new Set(["bad_sdp", "not_assigned", "unavailable"]);
/** The server ended this connection on purpose. */
const FINAL_BYES = new Set(["left", "replaced"]);

/**
 * @typedef {Pick<WebSocket, "send" | "close" | "readyState" | "onopen" | "onmessage" | "onclose">} Socket
 * @typedef {{ url: string, name: string, token?: string, openSocket?: (url: string, protocol: string) => Socket, random?: () => number }} Options
 */

/** Why an offer got no answer: one of the server's fault ids, or `overtaken`, `line_down`, `timeout`. */
export class OfferError extends Error {
  /**
   * @param {string} id
   * @param {string} message
   */
  constructor(id, message) {
    super(message);
    this.id = id;
  }
}

export class Meeting extends EventTarget {
  /** @type {Options} */ #options;
  /** @type {Socket | null} */ #socket = null;
  /** @type {string | null} */ #resume = null;
  #roster = new Roster();
  /** Keys of the latest chat lines, oldest first. @type {Set<string>} */ #chatSeen = new Set();
  #backoff;
  #rev = 0;
  /** @type {Map<number, { resolve: (answer: Answer) => void, reject: (error: OfferError) => void }>} */ #offers = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #pingTimer;
  #isJoined = false;
  #isEnded = false;
  /** This participant's id, once joined. */
  self = "";

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#backoff = new Backoff(RETRY_MAX_MS, options.random);
  }

  /** Everybody present, oldest first, this participant included. */
  get participants() {
    return this.#roster.all;
  }

  /** What proves to the server, besides this line, who this is; empty before the first `joined`. */
  get proof() {
    return this.#resume ?? "";
  }

  /** Requests reach the server. */
  get isJoined() {
    return this.#isJoined;
  }

  /** Opens the line. */
  join() {
    if (this.#isEnded || this.#socket) return;
    clearTimeout(this.#retryTimer);
    emit(this, "line", { state: "connecting" });
    const open = this.#options.openSocket ?? ((url, protocol) => new WebSocket(url, protocol));
    const socket = open(this.#options.url, SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => this.#sendJoin();
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#handleFrame(event.data);
    };
    socket.onclose = () => {
      if (this.#socket === socket) this.#handleBreak();
    };
    this.#expectAnswer(JOIN_TIMEOUT_MS);
  }

  /** Goes for good. */
  leave() {
    this.#send({ type: "leave" });
    this.#end("left");
  }

  /** The network may have come back or changed: try or ask now instead of at the next timer. */
  checkNow() {
    if (this.#isEnded) return;
    if (!this.#socket) this.join();
    else if (this.#isJoined) this.#ping();
  }

  /** Says something to everybody. Returns whether the line took it. */
  chat(/** @type {string} */ text) {
    return this.#isJoined && this.#send({ type: "chat", text });
  }

  /** Shows the others something else of this participant. Has to be repeated after each `joined`. */
  set(/** @type {Changes} */ changes) {
    return this.#isJoined && this.#send({ type: "set", ...changes });
  }

  /**
   * Sends an offer; settles with its answer, or rejects when it is refused, overtaken or the line breaks.
   *
   * @param {string} sdp
   * @returns {Promise<Answer>}
   */
  offer(sdp) {
    this.#dropOffers("overtaken", "overtaken by a newer offer");
    if (!this.#isJoined) return Promise.reject(new OfferError("line_down", "the line is down"));
    const rev = ++this.#rev;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#dropOffers("timeout", "no answer in time"), ANSWER_TIMEOUT_MS);
      const settle = () => {
        clearTimeout(timer);
        this.#offers.delete(rev);
      };
      this.#offers.set(rev, {
        resolve: (answer) => (settle(), resolve(answer)),
        reject: (error) => (settle(), reject(error)),
      });
      if (!this.#send({ type: "offer", sdp, rev })) this.#dropOffers("line_down", "the line is down");
    });
  }

  #sendJoin() {
    const { name, token } = this.#options;
    this.#send({ type: "join", name, ...(token && { token }), ...(this.#resume && { resume: this.#resume }) });
  }

  /** @param {unknown} frame */
  #handleFrame(frame) {
    // Before `joined`, nothing that arrives lengthens the time for it.
    if (this.#isJoined) this.#rest();
    const update = parseUpdate(frame);
    if (update) this.#handleUpdate(update);
  }

  /** @param {Update} update */
  #handleUpdate(update) {
    switch (update.type) {
      case "joined":
        return this.#handleJoined(update);
      case "waiting":
        return emit(this, "waiting", null);
      case "assigned":
        return emit(this, "assigned", update);
      case "answer":
        return this.#offers.get(update.rev)?.resolve(update);
      case "state":
        return emit(this, "participants", this.#roster.takeState(update.seq, update.snapshot.participants));
      case "delta":
        return this.#handleDelta(update);
      case "chat":
        return this.#handleChat(update);
      case "error":
        return this.#handleFault(update);
      case "bye":
        return FINAL_BYES.has(update.reason) ? this.#end(update.reason) : this.#handleBreak();
    }
  }

  /** @param {Joined} joined */
  #handleJoined(joined) {
    this.#isJoined = true;
    this.#resume = joined.resume;
    this.self = joined.participant;
    this.#rest();
    this.#backoff.noteOpened();
    emit(this, "joined", joined);
    emit(this, "line", { state: "joined" });
  }

  /** @param {Delta} delta */
  #handleDelta(delta) {
    const change = this.#roster.takeDelta(delta);
    if (change) emit(this, "participants", change);
    else this.#handleBreak();
  }

  /** @param {Chat} chat */
  #handleChat(chat) {
    // History comes after the first live lines, and again after a reconnection, perhaps under another identity; so a
    // repeat is told by the line itself.
    const key = JSON.stringify([chat.seq, chat.from, chat.text]);
    if (this.#chatSeen.has(key)) return;
    this.#chatSeen.add(key);
    for (const oldest of this.#chatSeen) {
      if (this.#chatSeen.size <= CHAT_MEMORY_LINES) break;
      this.#chatSeen.delete(oldest);
    }
    emit(this, "chat", chat);
  }

  /** @param {Fault} fault */
  #handleFault(fault) {
    if (fault.id === "bad_resume" && !this.#isJoined) return this.#joinAnew();
    if (OFFER_FAULTS.has(fault.id)) this.#dropOffers(fault.id, fault.message);
    emit(this, "fault", fault);
    if (FINAL_FAULTS.has(fault.id) && !this.#isJoined) this.#end(fault.id);
  }

  /** The server has forgotten us; without a secret to forget, it makes no sense and the line is a bad one. */
  #joinAnew() {
    if (!this.#resume) return this.#handleBreak();
    this.#resume = null;
    this.#sendJoin();
  }

  /** The line is gone: say so, and come back after a while. */
  #handleBreak() {
    this.#closeSocket();
    this.#dropOffers("line_down", "the line broke");
    if (this.#isEnded) return;
    emit(this, "line", { state: "broken" });
    this.#retryTimer = setTimeout(() => this.join(), this.#backoff.nextMs());
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    clearTimeout(this.#retryTimer);
    this.#closeSocket();
    this.#dropOffers("line_down", "the meeting ended");
    emit(this, "line", { state: "ended", reason });
  }

  #closeSocket() {
    clearTimeout(this.#pingTimer);
    const socket = this.#socket;
    this.#socket = null;
    this.#isJoined = false;
    socket?.close();
  }

  /** Something arrived: the line stands; ask again after a quiet interval. */
  #rest() {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#ping(), PING_INTERVAL_MS);
  }

  #ping() {
    this.#send({ type: "ping" });
    this.#expectAnswer(PONG_TIMEOUT_MS);
  }

  /** @param {number} timeoutMs */
  #expectAnswer(timeoutMs) {
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.#handleBreak(), timeoutMs);
  }

  /**
   * @param {string} id
   * @param {string} message
   */
  #dropOffers(id, message) {
    for (const offer of [...this.#offers.values()]) offer.reject(new OfferError(id, message));
  }

  /** @param {object} request */
  #send(request) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(request));
    return true;
  }
}
