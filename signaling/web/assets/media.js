// This browser's media: one RTCPeerConnection to the conference's bridge, always offered by us, always answered by the
// server. Sends microphone, camera and screen; receives in fixed slots, which the bridge fills. Knows nothing of the page.
//
// An `assigned` starts it:  offer → answer → connected → (broken → ICE restart → connected | new connection)*
//
// Events: media {state}. What is received: `slots`.

import { Backoff } from "./backoff.js";
import { preferCommonCodecs } from "./codecs.js";
import { emit, on } from "./events.js";
import { CAMERA_ENCODINGS, fitLayers, SCREEN_ENCODINGS } from "./layers.js";
import { OfferError } from "./protocol.js";
import { configurationOf, freshServers } from "./relays.js";
import { Slots } from "./slots.js";

/** @import { Meeting } from "./protocol.js" */
/** @import { Assigned, SlotCounts } from "./messages.js" */

/** A connection that stays broken for this long is restarted; media usually comes back by itself before. */
const BROKEN_GRACE_MS = 2_500;
/** A restart that has not helped within this is followed by a new connection. */
const RESTART_TIMEOUT_MS = 6_000;
/** An offer that was lost, or whose answer is of no use, is made again after this and a growing wait. */
const OFFER_RETRY_MS = 1_500;
const OFFER_RETRY_WAIT_MS_MAX = 30_000;
/** After these, another offer would meet the same: the next `assigned` starts anew. */
const FINAL_REFUSALS = new Set(["overtaken", "line_down", "bad_sdp", "not_assigned", "unavailable"]);

export class Media extends EventTarget {
  #meeting;
  #relaysOnly;
  /** @type {RTCPeerConnection | null} */ #connection = null;
  /** Whose endpoint under which assignment the connection is. */ #connectionKey = "";
  /** @type {SlotCounts} */ #slotCounts = { audio: 0, video: 0 };
  /** @type {Assigned | null} */ #assigned = null;
  /** @type {RTCRtpSender | null} */ #audioSender = null;
  /** @type {RTCRtpSender | null} */ #cameraSender = null;
  /** @type {RTCRtpTransceiver | null} */ #screenTransceiver = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #repairTimer;
  /** Something changed that the server has not answered yet. */ #needsOffer = false;
  #offerBackoff = new Backoff(OFFER_RETRY_WAIT_MS_MAX);
  /** Repair, screen sharing and a new assignment can all want an offer at once; they take turns. */
  #turn = Promise.resolve();

  slots = new Slots();

  /** What this browser sends; `null`: nothing. Changed by the functions below. */
  /** @type {MediaStreamTrack | null} */ microphone = null;
  /** @type {MediaStreamTrack | null} */ camera = null;
  /** @type {MediaStreamTrack | null} */ screen = null;

  /**
   * @param {Meeting} meeting
   * @param {RegExp | null} [relaysOnly]  The relays that media has to take; without it the way is free.
   */
  constructor(meeting, relaysOnly = null) {
    super();
    this.#meeting = meeting;
    this.#relaysOnly = relaysOnly;
    on(meeting, "joined", ({ slots }) => this.#handleJoined(slots));
    on(meeting, "waiting", () => this.#end());
    on(meeting, "assigned", (assigned) => this.#handleAssigned(assigned));
    on(meeting, "line", ({ state }) => state === "ended" && this.#end());
  }

  /** The connection, for statistics. */
  get connection() {
    return this.#connection;
  }

  /** @param {MediaStreamTrack | null} track */
  async setMicrophone(track) {
    this.microphone = track;
    await this.#replace(this.#audioSender, track);
  }

  /** @param {MediaStreamTrack | null} track */
  async setCamera(track) {
    this.camera = track;
    await this.#replace(this.#cameraSender, track);
    await this.#fitLayers();
  }

  /** Starts or ends sharing the screen: the one thing that this browser negotiates again, and nobody else does. */
  setScreen(/** @type {MediaStreamTrack | null} */ track) {
    this.screen = track;
    return this.#inTurn(async () => {
      const connection = this.#connection;
      if (!connection) return;
      if (this.#screenTransceiver) {
        this.#screenTransceiver.direction = this.screen ? "sendonly" : "inactive";
        await this.#screenTransceiver.sender.replaceTrack(this.screen);
      } else if (this.screen) {
        this.#addScreen(connection, this.screen);
      } else return;
      await this.#negotiate(connection);
    });
  }

  /**
   * The server says nothing of media to whoever comes back on a new line and still has an endpoint, so what could not be
   * offered meanwhile is offered now.
   *
   * @param {SlotCounts} slots
   */
  #handleJoined(slots) {
    this.#slotCounts = slots;
    const isKept = this.#connection !== null && this.#connectionKey === this.#key();
    const isBroken = ["disconnected", "failed"].includes(this.#connection?.connectionState ?? "");
    if (isKept && (this.#needsOffer || isBroken)) this.#scheduleRepair(0);
  }

  /**
   * A repeated `started` finds what it started; every other reason means that nothing holds what this browser had.
   *
   * @param {Assigned} assigned
   */
  #handleAssigned(assigned) {
    this.#assigned = assigned;
    const isKept = this.#connection && assigned.reason === "started" && this.#connectionKey === this.#key();
    if (isKept) this.#scheduleRepair(0);
    else this.#inTurn(() => this.#connect());
  }

  /**
   * @param {RTCRtpSender | null} sender
   * @param {MediaStreamTrack | null} track
   */
  async #replace(sender, track) {
    // A connection that closes meanwhile is followed by one that takes the track from the start.
    await sender?.replaceTrack(track).catch((error) => console.debug("media:", error));
  }

  async #fitLayers() {
    const [sender, camera] = [this.#cameraSender, this.camera];
    // A connection that closes meanwhile is of no interest, and all layers as offered are of use, too.
    if (sender && camera) await fitLayers(sender, camera).catch((error) => console.debug("media:", error));
  }

  #key() {
    return `${this.#meeting.self} ${this.#assigned?.epoch}`;
  }

  /** Builds a new connection to the assigned bridge in place of whatever there was. */
  async #connect() {
    this.#close();
    if (!this.#assigned) return;
    const connection = new RTCPeerConnection(configurationOf(this.#assigned.ice_servers, this.#relaysOnly));
    this.#connection = connection;
    this.#connectionKey = this.#key();
    connection.onconnectionstatechange = () => this.#handleConnectionState(connection);
    this.#addSources(connection);
    for (let n = 0; n < this.#slotCounts.audio; n++) connection.addTransceiver("audio", { direction: "recvonly" });
    for (let n = 0; n < this.#slotCounts.video; n++) preferCommonCodecs(connection.addTransceiver("video", { direction: "recvonly" }));
    if (this.screen) this.#addScreen(connection, this.screen);
    emit(this, "media", { state: connection.connectionState });
    await this.#negotiate(connection);
  }

  /** @param {RTCPeerConnection} connection */
  #addSources(connection) {
    const audio = connection.addTransceiver(this.microphone ?? "audio", { direction: "sendonly" });
    const camera = connection.addTransceiver(this.camera ?? "video", { direction: "sendonly", sendEncodings: CAMERA_ENCODINGS });
    preferCommonCodecs(camera);
    this.#audioSender = audio.sender;
    this.#cameraSender = camera.sender;
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {MediaStreamTrack} track
   */
  #addScreen(connection, track) {
    this.#screenTransceiver = connection.addTransceiver(track, { direction: "sendonly", sendEncodings: SCREEN_ENCODINGS });
    preferCommonCodecs(this.#screenTransceiver);
  }

  /** One round of offer and answer. The bridge is ICE-lite with public candidates, so ours need not be waited for. */
  async #negotiate(/** @type {RTCPeerConnection} */ connection) {
    this.#needsOffer = true;
    try {
      await connection.setLocalDescription();
      const answer = await this.#meeting.offer(connection.localDescription?.sdp ?? "");
      if (connection !== this.#connection) return;
      await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
      this.#needsOffer = false;
      this.#offerBackoff.noteOpened();
      this.slots.open(connection, answer.channel_url);
      await this.#fitLayers();
    } catch (error) {
      // Roll back, and try again where that can help, unless a newer connection has taken over.
      if (connection !== this.#connection) return;
      if (connection.signalingState === "have-local-offer") await connection.setLocalDescription({ type: "rollback" });
      const isFinal = error instanceof OfferError && FINAL_REFUSALS.has(error.id);
      if (!isFinal) this.#scheduleRepair(OFFER_RETRY_MS + this.#offerBackoff.nextMs());
    }
  }

  /** @param {RTCPeerConnection} connection */
  #handleConnectionState(connection) {
    if (connection !== this.#connection) return;
    const state = connection.connectionState;
    emit(this, "media", { state });
    if (state === "connected") clearTimeout(this.#repairTimer);
    if (state === "disconnected") this.#scheduleRepair(BROKEN_GRACE_MS);
    if (state === "failed") this.#scheduleRepair(0);
  }

  /** @param {number} delayMs */
  #scheduleRepair(delayMs) {
    clearTimeout(this.#repairTimer);
    this.#repairTimer = setTimeout(() => this.#inTurn(() => this.#repair()), delayMs);
  }

  /** First an ICE restart, which keeps the picture where only the path was lost; then a new connection. */
  async #repair() {
    if (this.#connection && this.#connection.connectionState !== "connected") await this.#renewServers();
    const connection = this.#connection;
    if (!connection) return;
    const isConnected = connection.connectionState === "connected";
    if (isConnected && !this.#needsOffer) return;
    if (isConnected) return this.#negotiate(connection);
    const isAnswered = connection.currentRemoteDescription !== null;
    if (!isAnswered || connection.connectionState === "failed") return this.#connect();
    connection.restartIce();
    await this.#negotiate(connection);
    if (connection !== this.#connection || this.#needsOffer) return;
    clearTimeout(this.#repairTimer);
    this.#repairTimer = setTimeout(() => this.#inTurn(() => this.#rebuildUnlessConnected(connection)), RESTART_TIMEOUT_MS);
  }

  /** The credentials of the latest assignment may have ended: a restart and a new connection begin with newer ones. */
  async #renewServers() {
    const [assigned, connection] = [this.#assigned, this.#connection];
    if (!assigned?.ice_servers.length) return;
    const servers = await freshServers(this.#meeting.proof);
    if (!servers || assigned !== this.#assigned) return;
    this.#assigned = { ...assigned, ice_servers: servers };
    if (connection === this.#connection) connection?.setConfiguration(configurationOf(servers, this.#relaysOnly));
  }

  /** @param {RTCPeerConnection} connection */
  async #rebuildUnlessConnected(connection) {
    if (connection === this.#connection && connection.connectionState !== "connected") await this.#connect();
  }

  /**
   * @param {() => Promise<void>} work
   * @returns {Promise<void>}
   */
  #inTurn(work) {
    this.#turn = this.#turn.then(work).catch((error) => console.warn("media:", error));
    return this.#turn;
  }

  /** Nothing is assigned any more. */
  #end() {
    this.#assigned = null;
    this.#close();
    emit(this, "media", { state: "closed" });
  }

  #close() {
    clearTimeout(this.#repairTimer);
    this.#connection?.close();
    this.#connection = null;
    this.#audioSender = this.#cameraSender = this.#screenTransceiver = null;
    this.slots.close();
  }
}
