// A wire between browsers and a server that a test can cut.

import { connect, createServer } from "node:net";

/**
 * @param {string} target  `http://host:port`
 */
export async function startProxy(target) {
  const { hostname, port } = new URL(target);
  /** @type {Set<import("node:net").Socket>} */
  const open = new Set();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return void near.destroy();
    const far = connect(Number(port), hostname);
    for (const [socket, other] of /** @type {const} */ ([[near, far], [far, near]])) {
      open.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => (other.destroy(), open.delete(socket)));
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  const cut = () => {
    isCut = true;
    for (const socket of open) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${address.port}`,
    /** Every connection breaks, and none is carried until it is mended: a page that comes back within a moment could not be seen to notice. */
    cut,
    mend: () => {
      isCut = false;
    },
    close: () => {
      server.close();
      cut();
    },
  };
}
