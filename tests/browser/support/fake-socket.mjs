// A WebSocket without a network: the test is the server.

/** @import { Socket } from "../../../signaling/web/assets/protocol.js" */

export class FakeSocket {
  readyState = 0;
  isClosed = false;
  /** What the page sent, parsed, oldest first. @type {any[]} */ sent = [];
  /** @type {Socket["onopen"]} */ onopen = null;
  /** @type {Socket["onmessage"]} */ onmessage = null;
  /** @type {Socket["onclose"]} */ onclose = null;

  /** @param {unknown} data */
  send(data) {
    this.sent.push(JSON.parse(String(data)));
  }

  close() {
    this.readyState = 3;
    this.isClosed = true;
  }

  /** The server accepts. */
  accept() {
    this.readyState = 1;
    this.onopen?.call(/** @type {any} */ (this), new Event("open"));
  }

  /** The server says something. @param {object} message */
  say(message) {
    this.sayText(JSON.stringify(message));
  }

  /** @param {unknown} data  A whole frame as it stands. */
  sayText(data) {
    this.onmessage?.call(/** @type {any} */ (this), new MessageEvent("message", { data }));
  }

  /** The connection is lost. */
  lose() {
    this.readyState = 3;
    this.onclose?.call(/** @type {any} */ (this), /** @type {any} */ (new Event("close")));
  }

  /** What was sent of one type, latest last. @param {string} type */
  sentOf(type) {
    return this.sent.filter((message) => message.type === type || message.colibriClass === type);
  }
}

/** All sockets that were opened, in order, and the function that opens them. */
export function fakeSockets() {
  /** @type {FakeSocket[]} */
  const opened = [];
  const open = () => {
    const socket = new FakeSocket();
    opened.push(socket);
    return /** @type {any} */ (socket);
  };
  const latest = () => {
    const socket = opened[opened.length - 1];
    if (!socket) throw new Error("no socket was opened");
    return socket;
  };
  return { opened, open, latest };
}
