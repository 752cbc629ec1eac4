// The face before a meeting: who you are, how you look, what you bring.

import { dressDevices } from "./controls.js";
import { listDevices } from "./devices.js";
import { byId, make, show } from "./dom.js";
import { Own } from "./own.js";

/** Where this browser keeps the name between meetings. */
const NAME_KEY = "passerelle.name";

/**
 * Shows it until the person joins.
 *
 * @param {string} conference
 * @returns {Promise<Own>}
 */
export function prejoin(conference) {
  const own = new Own();
  const name = /** @type {HTMLInputElement} */ (byId("prejoin-name"));
  const [audio, video] = [byId("prejoin-audio"), byId("prejoin-video")];
  byId("prejoin-title").textContent = conference;
  name.value = storedName();
  audio.onclick = () => own.toggleAudio();
  video.onclick = () => own.toggleVideo();
  wireSelect("prejoin-microphone", (deviceId) => own.useMicrophone(deviceId));
  wireSelect("prejoin-camera", (deviceId) => own.useCamera(deviceId));
  const draw = () => drawOwn(own, audio, video);
  own.addEventListener("change", draw);
  navigator.mediaDevices?.addEventListener("devicechange", fillSelects);
  show("prejoin");
  name.focus();
  own.open().then(fillSelects);
  draw();
  return new Promise((resolve) => {
    byId("prejoin-form").onsubmit = (event) => {
      event.preventDefault();
      own.name = name.value.trim();
      if (!own.name) return name.focus();
      storeName(own.name);
      own.removeEventListener("change", draw);
      navigator.mediaDevices?.removeEventListener("devicechange", fillSelects);
      /** @type {HTMLVideoElement} */ (byId("preview")).srcObject = null;
      resolve(own);
    };
  });
}

/**
 * @param {Own} own
 * @param {HTMLElement} audio
 * @param {HTMLElement} video
 */
function drawOwn(own, audio, video) {
  dressDevices(audio, video, own);
  const preview = /** @type {HTMLVideoElement} */ (byId("preview"));
  const shown = /** @type {MediaStream | null} */ (preview.srcObject)?.getVideoTracks()[0] ?? null;
  if (shown !== own.camera) preview.srcObject = own.camera && new MediaStream([own.camera]);
  byId("preview-note").textContent = note(own);
}

/** @param {Own} own */
function note(own) {
  if (!window.isSecureContext) return "This address is not secure: the browser gives no camera and no microphone here.";
  if (own.isAwaited) return "Waiting for camera and microphone…";
  if (!own.microphone) return own.camera ? "No microphone" : "No microphone, no camera. You can join all the same.";
  return own.camera ? "" : "Your camera is off";
}

/**
 * @param {string} id
 * @param {(deviceId: string) => Promise<void>} choose
 */
function wireSelect(id, choose) {
  const select = /** @type {HTMLSelectElement} */ (byId(id));
  select.onchange = () => choose(select.value);
}

/** Names of devices are known only after the person has allowed their use. */
async function fillSelects() {
  const { microphones, cameras } = await listDevices();
  fill("prejoin-microphone", microphones, "Microphone");
  fill("prejoin-camera", cameras, "Camera");
}

/**
 * @param {string} id
 * @param {MediaDeviceInfo[]} devices
 * @param {string} word
 */
function fill(id, devices, word) {
  const select = /** @type {HTMLSelectElement} */ (byId(id));
  const chosen = select.value;
  const options = devices.map((device, index) => {
    const option = make("option", "", device.label || `${word} ${index + 1}`);
    option.value = device.deviceId;
    return option;
  });
  select.replaceChildren(...options);
  select.disabled = devices.length === 0;
  if (devices.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
}

/** A browser may refuse to keep anything; then a name is typed again. */
function storedName() {
  try {
    return localStorage.getItem(NAME_KEY) ?? "";
  } catch {
    return "";
  }
}

/** @param {string} name */
function storeName(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // Typed again next time.
  }
}
