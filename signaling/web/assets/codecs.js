// Which video codecs are offered: the one profile of each that everybody decodes. A browser lists every variant it knows
// on every m-line, which makes an offer with many slots five times as long and nobody's picture better.

/** Most wanted first; what a variant must say in its parameters to be the common one. */
const WANTED = [
  { mimeType: "video/vp8", format: "" },
  { mimeType: "video/h264", format: "packetization-mode=1;profile-level-id=42e01f" },
  { mimeType: "video/vp9", format: "profile-id=0" },
  { mimeType: "video/av1", format: "profile=0" },
  { mimeType: "video/rtx", format: "" },
];

/** @param {RTCRtpTransceiver} transceiver */
export function preferCommonCodecs(transceiver) {
  const known = globalThis.RTCRtpReceiver?.getCapabilities("video")?.codecs ?? [];
  const preferred = commonCodecs(known);
  if (preferred.length > 0) transceiver.setCodecPreferences?.(preferred);
}

/**
 * @template {{ mimeType: string, sdpFmtpLine?: string }} C
 * @param {C[]} known
 * @returns {C[]}
 */
export function commonCodecs(known) {
  return WANTED.flatMap(({ mimeType, format }) => {
    const variants = known.filter((codec) => codec.mimeType.toLowerCase() === mimeType);
    const common = variants.find((codec) => says(codec.sdpFmtpLine ?? "", format));
    return common ? [common] : variants.slice(0, 1);
  });
}

/** Whether a codec's parameters contain all those of `format`. */
function says(/** @type {string} */ parameters, /** @type {string} */ format) {
  const given = new Set(parameters.toLowerCase().split(";").map((parameter) => parameter.trim()));
  return format.split(";").every((parameter) => parameter === "" || given.has(parameter));
}
