// How media gets to the bridge: directly or through a relay, and with which credentials. Whoever has to find out whether a
// relay works opens the page with one of these in its address:
//
//   ?relay=1     media takes a relay or does not come at all
//   ?relay=udp   the same, and the way to the relay is UDP; likewise `tcp`, and `tls` for TLS over TCP

import { readCredentials } from "./messages.js";

/** @import { IceServer } from "./messages.js" */

/** A server that does not answer by then: the credentials there are may still do. */
const FETCH_TIMEOUT_MS = 2_000;

/** Which URLs each value of `relay` leaves. RFC 7065: `turn` without a transport is UDP, `turns` is TCP. */
const LEGS = new Map([
  ["1", /./u],
  ["udp", /^turn:[^?]*(\?transport=udp)?$/u],
  ["tcp", /^turn:[^?]*\?transport=tcp$/u],
  ["tls", /^turns:/u],
]);

/**
 * What the page's address says of relays: the URLs that may be used, or `null` for the usual way.
 *
 * @param {string} search
 */
export function relaysOnly(search) {
  return LEGS.get(new URLSearchParams(search).get("relay") ?? "") ?? null;
}

/**
 * How to build a connection.
 *
 * @param {IceServer[]} servers
 * @param {RegExp | null} only  Of `relaysOnly`.
 * @returns {RTCConfiguration}
 */
export function configurationOf(servers, only) {
  const usable = servers.map((server) => ({ ...server, urls: server.urls.filter((url) => !only || only.test(url)) }));
  const iceServers = usable.filter(({ urls }) => urls.length > 0);
  return { iceServers, iceTransportPolicy: only ? "relay" : "all", bundlePolicy: "max-bundle" };
}

/**
 * The relays with credentials as of now, since those of `assigned` end after some minutes. `null`: not to be had.
 *
 * @param {string} proof  Who asks: the latest resume secret.
 */
export async function freshServers(proof) {
  try {
    const headers = { authorization: `Bearer ${proof}` };
    const response = await fetch("/api/turn-credentials", { headers, signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
    return response.ok ? readCredentials(await response.text()) : null;
  } catch (error) {
    console.debug("relays:", error);
    return null;
  }
}
