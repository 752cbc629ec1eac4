// The layers in which a camera's picture is sent (simulcast). A bridge gives each receiver the one it can use, so nobody's
// picture is made smaller for somebody else's line. Numbers only; it knows nothing of the connection.

/**
 * Lowest first. `large` and `small` tell by what a picture's sides are divided, 0: this layer is not sent.
 * The bridge shows the middle layer by default, which is the whole picture of a small camera.
 */
const CAMERA_LAYERS = [
  { rid: "q", maxBitrate: 200_000, large: 4, small: 2 },
  { rid: "h", maxBitrate: 800_000, large: 2, small: 1 },
  { rid: "f", maxBitrate: 2_000_000, large: 1, small: 0 },
];

/** Below this, browsers send two layers at most, and a quarter of the picture is of use to nobody. */
const LARGE_PIXELS_MIN = 960 * 540;

/** The layers to offer, before a camera is known. @type {RTCRtpEncodingParameters[]} */
export const CAMERA_ENCODINGS = CAMERA_LAYERS.map(({ rid, maxBitrate, large }) => ({ rid, maxBitrate, scaleResolutionDownBy: large }));

/** A shared screen is one layer: text has to be read, and is not smaller for anybody. @type {RTCRtpEncodingParameters[]} */
export const SCREEN_ENCODINGS = [{ maxBitrate: 2_500_000 }];

/**
 * Fits what is sent to the camera's picture. Answers switch all layers on again, so this is due after each.
 *
 * @param {RTCRtpSender} sender
 * @param {MediaStreamTrack} camera
 */
export async function fitLayers(sender, camera) {
  const { width = 1280, height = 720 } = camera.getSettings();
  const size = width * height < LARGE_PIXELS_MIN ? "small" : "large";
  const parameters = sender.getParameters();
  let isChanged = false;
  for (const encoding of parameters.encodings) {
    const layer = CAMERA_LAYERS.find(({ rid }) => rid === encoding.rid);
    if (!layer) continue;
    const wanted = { active: layer[size] > 0, scaleResolutionDownBy: Math.max(1, layer[size]) };
    isChanged ||= encoding.active !== wanted.active || encoding.scaleResolutionDownBy !== wanted.scaleResolutionDownBy;
    Object.assign(encoding, wanted);
  }
  if (isChanged) await sender.setParameters(parameters);
}
