// The meeting WebSocket's messages as this page uses them. The other side's definition: wire/src/messages/meeting.rs.

/**
 * @typedef {{ id: string, name: string, muted_audio: boolean, muted_video: boolean, screen: boolean, hand: boolean }} Participant
 * @typedef {{ chat_bytes_max: number }} Limits
 * @typedef {{ audio: number, video: number }} SlotCounts
 * @typedef {{ urls: string[], username?: string, credential?: string }} IceServer
 * @typedef {{ muted_audio?: boolean, muted_video?: boolean, screen?: boolean, hand?: boolean, name?: string }} Changes
 *
 * @typedef {{ type: "joined", participant: string, resume: string, conference: string, limits: Limits, slots: SlotCounts }} Joined
 * @typedef {{ type: "waiting" }} Waiting
 * @typedef {{ type: "assigned", ice_servers: IceServer[], reason: string, epoch: number }} Assigned
 * @typedef {{ type: "answer", sdp: string, rev: number, channel_url: string }} Answer
 * @typedef {{ type: "state", seq: number, snapshot: { participants: Participant[] } }} State
 * @typedef {{ type: "delta", seq: number, joined: Participant[], left: string[], changed: Participant[] }} Delta
 * @typedef {{ type: "chat", from: string, name: string, text: string, seq: number }} Chat
 * @typedef {{ type: "error", id: string, message: string }} Fault
 * @typedef {{ type: "bye", reason: string }} Bye
 * @typedef {{ type: "pong" }} Pong
 * @typedef {Joined | Waiting | Assigned | Answer | State | Delta | Chat | Fault | Bye | Pong} Update
 */

/** The subprotocol both ends name. */
export const SUBPROTOCOL = "passerelle.v1";

/** Receive positions that are believed: each costs this browser an m-line, and no screen shows more. */
const SLOTS_MAX = 64;

/**
 * Reads one frame of the server. Anything that is not an update of a known shape is `null`: a page never breaks on
 * what it does not know. What is returned has exactly the fields above.
 *
 * @param {unknown} frame
 * @returns {Update | null}
 */
export function parseUpdate(frame) {
  const value = parseObject(frame);
  const read = READERS.get(value?.type);
  return (read && read(value)) ?? null;
}

/**
 * A text frame that holds one JSON object; `null` for everything else.
 *
 * @param {unknown} frame
 * @returns {any}
 */
export function parseObject(frame) {
  if (typeof frame !== "string") return null;
  try {
    const value = JSON.parse(frame);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** @typedef {(value: any) => Update | null} Reader */

const READERS = new Map(
  /** @type {[unknown, Reader][]} */ ([
    ["joined", readJoined],
    ["waiting", () => ({ type: "waiting" })],
    ["assigned", readAssigned],
    ["answer", readAnswer],
    ["state", readState],
    ["delta", readDelta],
    ["chat", readChat],
    ["error", ({ id, message }) => (areText(id, message) ? { type: "error", id, message } : null)],
    ["bye", ({ reason }) => (areText(reason) ? { type: "bye", reason } : null)],
    ["pong", () => ({ type: "pong" })],
  ]),
);

/**
 * @param {any} value
 * @returns {Joined | null}
 */
function readJoined({ participant, resume, conference, limits, slots }) {
  const [audio, video] = [slots?.audio, slots?.video];
  if (!areText(participant, resume, conference) || !areCounts(audio, video, limits?.chat_bytes_max)) return null;
  const slotCounts = { audio: Math.min(audio, SLOTS_MAX), video: Math.min(video, SLOTS_MAX) };
  return { type: "joined", participant, resume, conference, limits: { chat_bytes_max: limits.chat_bytes_max }, slots: slotCounts };
}

/**
 * @param {any} value
 * @returns {Assigned | null}
 */
function readAssigned({ ice_servers: servers, reason, epoch }) {
  if (!areText(reason) || !areCounts(epoch)) return null;
  const iceServers = readList(servers, readIceServer);
  return iceServers && { type: "assigned", ice_servers: iceServers, reason, epoch };
}

/**
 * @param {any} value
 * @returns {IceServer | null}
 */
function readIceServer(value) {
  const urls = readList(value?.urls, (url) => (areText(url) ? url : null));
  if (!urls) return null;
  const { username, credential } = value;
  return { urls, ...(areText(username) && { username }), ...(areText(credential) && { credential }) };
}

/**
 * The body of `/api/turn-credentials`, as `assigned` has it.
 *
 * @param {unknown} body
 * @returns {IceServer[] | null}
 */
export function readCredentials(body) {
  const { uris, username, password } = parseObject(body) ?? {};
  const server = areText(username, password) ? readIceServer({ urls: uris, username, credential: password }) : null;
  return server && [server];
}

/**
 * @param {any} value
 * @returns {Answer | null}
 */
function readAnswer({ sdp, rev, channel_url }) {
  return areText(sdp, channel_url) && areCounts(rev) ? { type: "answer", sdp, rev, channel_url } : null;
}

/**
 * @param {any} value
 * @returns {State | null}
 */
function readState({ seq, snapshot }) {
  const participants = readList(snapshot?.participants, readParticipant);
  return participants && areCounts(seq) ? { type: "state", seq, snapshot: { participants } } : null;
}

/**
 * @param {any} value
 * @returns {Delta | null}
 */
function readDelta(value) {
  const joined = readList(value.joined ?? [], readParticipant);
  const left = readList(value.left ?? [], (id) => (areText(id) ? id : null));
  const changed = readList(value.changed ?? [], readParticipant);
  return joined && left && changed && areCounts(value.seq) ? { type: "delta", seq: value.seq, joined, left, changed } : null;
}

/**
 * @param {any} value
 * @returns {Chat | null}
 */
function readChat({ from, name, text, seq }) {
  return areText(from, name, text) && areCounts(seq) ? { type: "chat", from, name, text, seq } : null;
}

/**
 * @param {any} value
 * @returns {Participant | null}
 */
function readParticipant(value) {
  if (!areText(value?.id, value?.name)) return null;
  const { id, name } = value;
  const [muted_audio, muted_video] = [value.muted_audio === true, value.muted_video === true];
  return { id, name, muted_audio, muted_video, screen: value.screen === true, hand: value.hand === true };
}

/**
 * The list with every item read, or `null` when it is none or one item is wrong.
 *
 * @template T
 * @param {unknown} list
 * @param {(item: any) => T | null} read
 * @returns {T[] | null}
 */
function readList(list, read) {
  if (!Array.isArray(list)) return null;
  const items = [];
  for (const raw of list) {
    const item = read(raw);
    if (item === null) return null;
    items.push(item);
  }
  return items;
}

/** @param {unknown[]} values */
function areText(...values) {
  return values.every((value) => typeof value === "string");
}

/** @param {unknown[]} values */
function areCounts(...values) {
  return values.every((value) => Number.isSafeInteger(value) && Number(value) >= 0);
}
