// Which relays the page uses, and what it makes of what the server says of them; without a browser.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { readCredentials } from "../../signaling/web/assets/messages.js";
import { configurationOf, relaysOnly } from "../../signaling/web/assets/relays.js";

const [UDP, TCP, TLS] = ["turn:relay.example:443?transport=udp", "turn:relay.example:443?transport=tcp", "turns:relay.example:443?transport=tcp"];
const SERVER = { urls: [UDP, TCP, TLS, "turn:relay.example"], username: "1:anna", credential: "x" };

/** @param {string} search */
function chosen(search) {
  const { iceServers, iceTransportPolicy } = configurationOf([SERVER], relaysOnly(search));
  return [iceTransportPolicy, ...(iceServers ?? []).flatMap(({ urls }) => urls)];
}

describe("the page's address", () => {
  test("leaves the way free unless it asks for relays", () => {
    for (const search of ["", "?", "?relay", "?relay=", "?relay=0", "?relay=quic", "?other=1"]) {
      assert.deepEqual(chosen(search), ["all", ...SERVER.urls], search);
    }
  });

  test("chooses the relays and the leg to them", () => {
    assert.deepEqual(chosen("?relay=1"), ["relay", ...SERVER.urls]);
    assert.deepEqual(chosen("?relay=udp"), ["relay", UDP, "turn:relay.example"]);
    assert.deepEqual(chosen("?name=x&relay=tcp"), ["relay", TCP]);
    assert.deepEqual(chosen("?relay=tls"), ["relay", TLS]);
  });

  test("never falls back to the direct way where there is no such relay", () => {
    const { iceServers, iceTransportPolicy } = configurationOf([{ ...SERVER, urls: [UDP] }], relaysOnly("?relay=tls"));
    assert.deepEqual([iceServers, iceTransportPolicy], [[], "relay"]);
  });
});

describe("credentials", () => {
  test("are read as an assignment has them", () => {
    const body = JSON.stringify({ username: "1:anna", password: "x", ttl: 600, uris: SERVER.urls, more: true });
    assert.deepEqual(readCredentials(body), [SERVER]);
  });

  test("that are none are none", () => {
    for (const body of ["", "null", "[]", "{}", '{"uris":[]}', '{"username":"a","password":"b"}', '{"username":"a","password":"b","uris":[7]}', '{"username":1,"password":"b","uris":[]}']) {
      assert.equal(readCredentials(body), null, body);
    }
  });
});
