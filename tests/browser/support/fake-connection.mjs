// An RTCPeerConnection without media, and the globals that the page's media needs beside it, for tests without a browser.

/** @typedef {{ mid: string | null, direction: string, sender: any, receiver: any }} FakeTransceiver */

export class FakeConnection extends EventTarget {
  /** All that were made, in order. @type {FakeConnection[]} */
  static made = [];

  connectionState = "new";
  signalingState = "stable";
  /** @type {object | null} */ localDescription = null;
  /** @type {object | null} */ currentRemoteDescription = null;
  /** @type {FakeTransceiver[]} */ transceivers = [];
  restarts = 0;
  /** What it was built with, or given later. @type {RTCConfiguration} */ configuration;
  isClosed = false;
  /** @type {(() => void) | null} */ onconnectionstatechange = null;

  /** @param {RTCConfiguration} configuration */
  constructor(configuration) {
    super();
    this.configuration = configuration;
    FakeConnection.made.push(this);
  }

  /**
   * @param {any} trackOrKind
   * @param {{ direction: string, sendEncodings?: object[] }} init
   */
  addTransceiver(trackOrKind, { direction, sendEncodings = [] }) {
    const kind = trackOrKind.kind ?? trackOrKind;
    const sender = {
      track: trackOrKind.kind ? trackOrKind : null,
      replaceTrack: async (/** @type {any} */ track) => void (sender.track = track),
      getParameters: () => ({ encodings: sendEncodings }),
      setParameters: async () => {},
    };
    const transceiver = { mid: String(this.transceivers.length), direction, sender, receiver: { track: { kind } } };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers() {
    return this.transceivers;
  }

  /** @param {{ type: string }} [description] */
  async setLocalDescription(description) {
    const isRollback = description?.type === "rollback";
    this.signalingState = isRollback ? "stable" : "have-local-offer";
    this.localDescription = isRollback ? null : { type: "offer", sdp: `offer of ${this.transceivers.length}` };
  }

  /** @param {{ sdp: string }} description */
  async setRemoteDescription(description) {
    if (description.sdp === "nonsense") throw new Error("this is no SDP");
    this.signalingState = "stable";
    this.currentRemoteDescription = description;
  }

  /** @param {RTCConfiguration} configuration */
  setConfiguration(configuration) {
    if (this.isClosed) throw new Error("it is closed");
    this.configuration = configuration;
  }

  restartIce() {
    this.restarts++;
  }

  close() {
    this.isClosed = true;
    this.signalingState = "closed";
  }

  /** The network does this. @param {string} state */
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

/** Puts the fakes where the page's scripts look for them. */
export function installFakes() {
  FakeConnection.made = [];
  const openSocket = class {
    readyState = 0;
    close() {}
  };
  Object.assign(globalThis, { RTCPeerConnection: FakeConnection, WebSocket: openSocket, location: new URL("http://here/demo") });
}
