// The page: home, or the way into the conference that the address names.

import { byId, show } from "./dom.js";
import { meet } from "./face.js";
import { prejoin } from "./prejoin.js";

/** What is said when a meeting has ended, by the reason. */
const ENDINGS = new Map([
  ["left", ["You have left", ""]],
  ["replaced", ["This meeting goes on elsewhere", "You came back on another connection."]],
  ["conference_full", ["This conference is full", "It holds as many as it may."]],
  ["bad_conference", ["No such conference", "Its name is empty, too long, or has characters that cannot be shown."]],
  ["bad_name", ["This name cannot be used", "A name has 1 to 64 letters."]],
  ["bad_token", ["You are not invited", "The invitation is missing, too old, or for something else."]],
]);

/** Addresses that belong to the server, and so are no conference's. */
const TAKEN = new Set(["ws", "bridge-link", "index.html", "package.json"]);

const conference = conferenceOf(location.pathname);
if (conference === "") home();
else visit(conference);

function home() {
  const input = /** @type {HTMLInputElement} */ (byId("home-conference"));
  show("home");
  input.focus();
  input.oninput = () => input.setCustomValidity("");
  byId("home-form").onsubmit = (event) => {
    event.preventDefault();
    const name = input.value.trim();
    const target = new URL(`/${encodeURIComponent(name)}`, location.origin);
    // "." and ".." are no names in an address, and no server tells a slash in a name from one between names.
    const isUsable = conferenceOf(target.pathname) === name && !/[/\\]/u.test(name) && !TAKEN.has(name);
    if (isUsable) return location.assign(target);
    input.setCustomValidity("This name cannot be used. Please choose another.");
    input.reportValidity();
  };
}

/** @param {string} name */
async function visit(name) {
  document.title = `${name} – Passerelle`;
  const own = await prejoin(name);
  const reason = await meet(name, own);
  const [title, why] = ENDINGS.get(reason) ?? ["The meeting has ended", ""];
  byId("gone-title").textContent = title ?? "";
  byId("gone-why").textContent = why ?? "";
  byId("gone-again").onclick = () => location.reload();
  show("gone");
}

/**
 * The conference that an address names; empty for none.
 *
 * @param {string} path
 */
function conferenceOf(path) {
  const [, name = "", ...rest] = path.split("/");
  if (rest.length > 0) return "";
  try {
    return decodeURIComponent(name).trim();
  } catch {
    return "";
  }
}
