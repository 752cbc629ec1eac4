// A voice that a test can recognise: a tone of one frequency, in syllables, because a steady tone is noise to a browser's
// noise suppression and would be taken away.

import { writeFileSync } from "node:fs";

const RATE_HZ = 48_000;
const SECONDS = 8;
/** Four syllables a second, as people speak. */
const SYLLABLE_SAMPLES = RATE_HZ / 4;
const LOUDNESS = 0.5;

/**
 * Writes it as a WAV file: PCM, mono, 16 bits.
 *
 * @param {string} file
 * @param {number} frequencyHz
 */
export function writeTone(file, frequencyHz) {
  const samples = RATE_HZ * SECONDS;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(RATE_HZ, 24);
  wav.writeUInt32LE(RATE_HZ * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let n = 0; n < samples; n++) {
    const place = (n % SYLLABLE_SAMPLES) / SYLLABLE_SAMPLES;
    const envelope = place < 0.6 ? Math.sin((Math.PI * place) / 0.6) : 0;
    const value = LOUDNESS * envelope * Math.sin((2 * Math.PI * frequencyHz * n) / RATE_HZ);
    wav.writeInt16LE(Math.round(value * 32_767), 44 + n * 2);
  }
  writeFileSync(file, wav);
}
