// The meeting face: ties the line, the media and what this participant sends to everything that shows them.

import { Chat } from "./chat.js";
import { Controls } from "./controls.js";
import { byId, show } from "./dom.js";
import { on } from "./events.js";
import { Grid } from "./grid.js";
import { Loudspeakers } from "./loudspeakers.js";
import { Media } from "./media.js";
import { Meeting } from "./protocol.js";
import { relaysOnly } from "./relays.js";
import { Stats } from "./stats.js";
import { Standing } from "./standing.js";

/** @import { Own } from "./own.js" */
/** @import { RosterChange } from "./roster.js" */
/** @import { Joined } from "./messages.js" */

/** How often it is looked who is loud: speech has pauses of this length, and a rim should not flicker. */
const LEVELS_INTERVAL_MS = 200;

/**
 * Shows a meeting until it ends.
 *
 * @param {string} conference
 * @param {Own} own
 * @returns {Promise<string>} Why it ended.
 */
export function meet(conference, own) {
  const meeting = new Meeting({ url: lineUrl(conference), name: own.name });
  const media = new Media(meeting, relaysOnly(location.search));
  byId("meeting-title").textContent = conference;
  show("meeting");
  const grid = showPictures(media, own, meeting);
  const loudspeakers = playSound(media);
  const chat = showChat(meeting);
  const nameOf = (/** @type {string} */ id) => meeting.participants.find((participant) => participant.id === id)?.name ?? "";
  const stats = new Stats({ panel: byId("stats"), rows: byId("stats-rows"), summary: byId("stats-summary") }, media, nameOf);
  const controls = new Controls(buttons(), own, { chat, stats, leave: () => meeting.leave() });
  on(chat, "unread", ({ count }) => controls.setUnread(count));
  new Standing({ line: byId("meeting-line"), alone: byId("alone"), address: byId("alone-address") }, meeting, media);
  sendOwn(meeting, media, own);
  const levelsTimer = setInterval(() => grid.setLevels(loudspeakers.levels()), LEVELS_INTERVAL_MS);
  watchNetwork(meeting);
  meeting.join();
  return new Promise((resolve) =>
    on(meeting, "line", ({ state, reason }) => {
      if (state !== "ended") return;
      clearInterval(levelsTimer);
      stats.close();
      own.close();
      resolve(reason);
    }),
  );
}

/** @param {string} conference */
function lineUrl(conference) {
  const url = new URL("/ws", location.origin);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("conference", conference);
  return url.href;
}

/**
 * @param {Media} media
 * @param {Own} own
 * @param {Meeting} meeting
 */
function showPictures(media, own, meeting) {
  const elements = { section: byId("pictures"), stage: byId("stage"), list: byId("grid"), more: byId("grid-more") };
  const grid = new Grid(elements, own);
  on(grid, "wish", (wish) => media.slots.want(wish));
  on(media.slots, "tracks", (filled) => grid.setSlots(filled));
  on(media.slots, "speaker", (speaker) => grid.setSpeaker(speaker));
  on(meeting, "participants", (/** @type {RosterChange} */ { all }) => {
    grid.setParticipants(all, meeting.self);
    byId("meeting-count").textContent = all.length === 1 ? "1 participant" : `${all.length.toLocaleString()} participants`;
  });
  return grid;
}

/** @param {Media} media */
function playSound(media) {
  const loudspeakers = new Loudspeakers(byId("speakers-out"));
  const unblock = byId("unblock-sound");
  on(media.slots, "tracks", (filled) => loudspeakers.setSlots(filled));
  on(loudspeakers, "blocked", ({ isBlocked }) => (unblock.hidden = !isBlocked));
  unblock.onclick = () => loudspeakers.play();
  return loudspeakers;
}

/** @param {Meeting} meeting */
function showChat(meeting) {
  const form = /** @type {HTMLFormElement} */ (byId("chat-form"));
  const input = /** @type {HTMLInputElement} */ (byId("chat-text"));
  const chat = new Chat({ panel: byId("chat"), list: byId("chat-lines"), form, input, fault: byId("chat-fault") }, (text) => meeting.chat(text));
  // Those who were here before did not come; and whoever comes back as somebody new has not left.
  let isNew = true;
  on(meeting, "joined", (/** @type {Joined} */ { participant, limits }) => (isNew = chat.setSelf(participant, limits.chat_bytes_max)));
  on(meeting, "participants", (/** @type {RosterChange} */ change) => {
    if (!isNew) chat.noteComings(change);
    isNew = false;
  });
  on(meeting, "chat", (line) => chat.add(line));
  on(meeting, "fault", ({ id, message }) => id !== "unavailable" && chat.complain(message));
  return chat;
}

/** @returns {import("./controls.js").Buttons} */
function buttons() {
  const toggle = (/** @type {string} */ name) => byId(`toggle-${name}`);
  const [audio, video, screen, hand] = [toggle("audio"), toggle("video"), toggle("screen"), toggle("hand")];
  return { audio, video, screen, hand, chat: toggle("chat"), stats: toggle("stats"), leave: byId("leave") };
}

/**
 * Sends what there is, and tells the others what they see of it.
 *
 * @param {Meeting} meeting
 * @param {Media} media
 * @param {Own} own
 */
function sendOwn(meeting, media, own) {
  let told = "";
  const send = () => {
    if (media.microphone !== own.microphone) media.setMicrophone(own.microphone);
    if (media.camera !== own.camera) media.setCamera(own.camera);
    if (media.screen !== own.screen) media.setScreen(own.screen);
    const shown = JSON.stringify(own.shown);
    if (shown !== told && meeting.set(own.shown)) told = shown;
  };
  own.addEventListener("change", send);
  on(meeting, "joined", () => {
    told = "";
    send();
  });
  send();
}

/**
 * A network that comes back, a lid that opens, a page that goes: each is known before a timer would tell.
 *
 * @param {Meeting} meeting
 */
function watchNetwork(meeting) {
  window.addEventListener("online", () => meeting.checkNow());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && meeting.checkNow());
  window.addEventListener("pagehide", () => meeting.leave());
}
