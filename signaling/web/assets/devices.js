// Microphone, camera and screen of this browser. A device that is missing, refused or busy is no reason not to join.

/** What a camera is asked for; it gives what it can. */
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** @typedef {{ microphone: MediaStreamTrack | null, camera: MediaStreamTrack | null }} Pair */

/**
 * Both with one question to the person, or whichever there is.
 *
 * @returns {Promise<Pair>}
 */
export async function openBoth() {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO, video: VIDEO });
    return { microphone: stream.getAudioTracks()[0] ?? null, camera: stream.getVideoTracks()[0] ?? null };
  } catch {
    return { microphone: await openMicrophone(), camera: await openCamera() };
  }
}

/**
 * @param {string} [deviceId]
 * @returns {Promise<MediaStreamTrack | null>}
 */
export function openMicrophone(deviceId) {
  return openOne({ audio: deviceId ? { ...AUDIO, deviceId: { exact: deviceId } } : AUDIO });
}

/**
 * @param {string} [deviceId]
 * @returns {Promise<MediaStreamTrack | null>}
 */
export function openCamera(deviceId) {
  return openOne({ video: deviceId ? { ...VIDEO, deviceId: { exact: deviceId } } : VIDEO });
}

/** Telephones cannot. */
export function canShareScreen() {
  return typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

/** @returns {Promise<MediaStreamTrack | null>} */
export async function openScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: false });
    const track = stream.getVideoTracks()[0] ?? null;
    // Text stays readable when bandwidth is short; motion may stutter.
    if (track) track.contentHint = "detail";
    return track;
  } catch {
    return null;
  }
}

/** @returns {Promise<{ microphones: MediaDeviceInfo[], cameras: MediaDeviceInfo[] }>} */
export async function listDevices() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return {
    microphones: devices.filter(({ kind }) => kind === "audioinput"),
    cameras: devices.filter(({ kind }) => kind === "videoinput"),
  };
}

/**
 * @param {MediaStreamConstraints} constraints
 * @returns {Promise<MediaStreamTrack | null>}
 */
async function openOne(constraints) {
  try {
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    return stream.getTracks()[0] ?? null;
  } catch {
    return null;
  }
}
