// Stands in for signaling where a test wants to be the server: the page's files under the real policy, and every socket
// that the page opens.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { WebSocketServer } from "ws";

const WEB = fileURLToPath(new URL("../../../signaling/web/", import.meta.url));

const TYPES = new Map([[".js", "text/javascript"], [".css", "text/css"], [".svg", "image/svg+xml"], [".html", "text/html; charset=utf-8"]]);

const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' wss:", "media-src blob:", "img-src 'self' data:",
  "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'",
].join("; ");

/**
 * @param {(line: Line) => void} onLine  A page opened its meeting socket.
 */
export async function startFakeServer(onLine) {
  const http = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://here").pathname;
    const file = path.startsWith("/assets/") ? join(WEB, normalize(path)) : join(WEB, "index.html");
    response.setHeader("content-security-policy", POLICY);
    response.setHeader("content-type", TYPES.get(extname(file)) ?? "text/plain");
    response.setHeader("x-content-type-options", "nosniff");
    response.end(readFileSync(file));
  });
  const sockets = new WebSocketServer({ server: http, handleProtocols: () => "passerelle.v1" });
  sockets.on("connection", (socket) => onLine(new Line(socket)));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (http.address());
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => {
      for (const client of sockets.clients) client.terminate();
      http.closeAllConnections();
      http.close();
    },
  };
}

/** The server's end of one meeting socket. */
export class Line {
  #socket;
  /** What the page sent, oldest first. @type {any[]} */ heard = [];
  /** Answers one request. @type {(request: any) => void} */ onrequest = () => {};

  /** @param {import("ws").WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (data) => {
      const request = JSON.parse(String(data));
      this.heard.push(request);
      this.onrequest(request);
    });
  }

  /** @param {object} update */
  say(update) {
    this.sayText(JSON.stringify(update));
  }

  /** @param {string} text */
  sayText(text) {
    this.#socket.send(text);
  }

  drop() {
    this.#socket.terminate();
  }
}
