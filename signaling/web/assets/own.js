// What this participant sends and shows: microphone, camera, screen, raised hand. One of these lives from the pre-join
// face until the page goes; both faces show it and change it.
//
// Events: change

import { emit } from "./events.js";
import { openBoth, openCamera, openMicrophone, openScreen } from "./devices.js";

export class Own extends EventTarget {
  name = "";
  hand = false;
  /** @type {MediaStreamTrack | null} */ microphone = null;
  /** @type {MediaStreamTrack | null} */ camera = null;
  /** @type {MediaStreamTrack | null} */ screen = null;
  /** What the person wants; a device may be missing all the same. */
  #wantsAudio = true;
  #wantsVideo = true;
  /** Devices asked for and not given or refused yet: a switch shows, and a click changes, what will be. */
  #isAudioAwaited = false;
  #isVideoAwaited = false;
  /** The device to open when it is switched on again. */
  #microphoneId = "";
  #cameraId = "";
  /** Opening a device takes a second, and a person clicks twice in that time: one thing after the other. */
  #turn = Promise.resolve();

  get isAudioOn() {
    return this.#wantsAudio && (this.microphone !== null || this.#isAudioAwaited);
  }

  get isVideoOn() {
    return this.#wantsVideo && (this.camera !== null || this.#isVideoAwaited);
  }

  /** The person has been asked for a device and has not answered yet. */
  get isAwaited() {
    return this.#isAudioAwaited || this.#isVideoAwaited;
  }

  /** What the others are told: the `Changes` of messages.js. */
  get shown() {
    const [hasVoice, hasPicture] = [this.#wantsAudio && this.microphone !== null, this.#wantsVideo && this.camera !== null];
    return { muted_audio: !hasVoice, muted_video: !hasPicture, screen: this.screen !== null, hand: this.hand };
  }

  /** Asks for microphone and camera. */
  open() {
    this.#isAudioAwaited = this.#isVideoAwaited = true;
    return this.#inTurn(async () => {
      const { microphone, camera } = await openBoth();
      this.#takeMicrophone(microphone);
      this.#takeCamera(camera);
    });
  }

  /** Muting keeps the microphone open, so that speaking again is immediate; nothing but silence leaves meanwhile. */
  toggleAudio() {
    this.#wantsAudio = !this.isAudioOn;
    if (this.microphone) this.microphone.enabled = this.#wantsAudio;
    else this.#isAudioAwaited = this.#wantsAudio;
    emit(this, "change");
    return this.#inTurn(async () => {
      if (this.#wantsAudio && !this.microphone) this.#takeMicrophone(await openMicrophone(this.#microphoneId));
      this.#isAudioAwaited = false;
    });
  }

  /** Switching off closes the camera, and its light goes out. */
  toggleVideo() {
    this.#wantsVideo = !this.isVideoOn;
    this.#isVideoAwaited = this.#wantsVideo;
    emit(this, "change");
    return this.#inTurn(async () => {
      if (!this.#wantsVideo) this.#takeCamera(null);
      else if (!this.camera) this.#takeCamera(await openCamera(this.#cameraId));
      this.#isVideoAwaited = false;
    });
  }

  toggleScreen() {
    return this.#inTurn(async () => this.#takeScreen(this.screen ? null : await openScreen()));
  }

  toggleHand() {
    this.hand = !this.hand;
    emit(this, "change");
  }

  /** @param {string} deviceId */
  useMicrophone(deviceId) {
    this.#microphoneId = deviceId;
    return this.#inTurn(async () => this.#takeMicrophone(await openMicrophone(deviceId)));
  }

  /** @param {string} deviceId */
  useCamera(deviceId) {
    this.#cameraId = deviceId;
    return this.#inTurn(async () => {
      // Some systems give a camera to one use at a time, so the one before goes first.
      this.camera?.stop();
      if (this.#wantsVideo) this.#takeCamera(await openCamera(deviceId));
    });
  }

  /** Lets everything go. */
  close() {
    return this.#inTurn(async () => {
      this.#takeMicrophone(null);
      this.#takeCamera(null);
      this.#takeScreen(null);
    });
  }

  #takeMicrophone(/** @type {MediaStreamTrack | null} */ track) {
    this.#isAudioAwaited = false;
    this.microphone?.stop();
    this.microphone = track;
    if (!track) return;
    track.enabled = this.#wantsAudio;
    track.onended = () => this.microphone === track && this.#inTurn(async () => this.#takeMicrophone(null));
  }

  #takeCamera(/** @type {MediaStreamTrack | null} */ track) {
    this.#isVideoAwaited = false;
    this.camera?.stop();
    // It may be unwanted by the time it is given.
    if (!this.#wantsVideo) track?.stop();
    this.camera = this.#wantsVideo ? track : null;
    if (track) track.onended = () => this.camera === track && this.#inTurn(async () => this.#takeCamera(null));
  }

  #takeScreen(/** @type {MediaStreamTrack | null} */ track) {
    this.screen?.stop();
    this.screen = track;
    // The browser's own "stop sharing" bar.
    if (track) track.onended = () => this.screen === track && this.#inTurn(async () => this.#takeScreen(null));
  }

  /** @param {() => Promise<void>} work */
  #inTurn(work) {
    this.#turn = this.#turn.then(work).then(() => emit(this, "change"));
    return this.#turn;
  }
}
