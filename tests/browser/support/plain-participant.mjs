// A participant without a browser: joins over a plain WebSocket and waits. It has no media.

import { WebSocket } from "ws";

/**
 * Resolves when the server has let it in.
 *
 * @param {string} server
 * @param {string} conference
 * @param {string} name
 * @returns {Promise<{ heard: any[], leave: () => void }>}
 */
export function joinPlainly(server, conference, name) {
  const url = `${server.replace("http", "ws")}/ws?conference=${encodeURIComponent(conference)}`;
  const socket = new WebSocket(url, "passerelle.v1");
  /** @type {any[]} */
  const heard = [];
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`${name} was not let into ${conference}`)));
    socket.on("open", () => socket.send(JSON.stringify({ type: "join", name })));
    socket.on("message", (data) => {
      const update = JSON.parse(String(data));
      heard.push(update);
      if (update.type === "joined") resolve({ heard, leave: () => socket.send(JSON.stringify({ type: "leave" })) });
    });
  });
}
