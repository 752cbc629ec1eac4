// How tiles share an area, and which participants get one. Numbers only; it knows nothing of the page.

/** @import { Participant } from "./messages.js" */

/** A tile takes the shape that fills its area best, and its picture is cropped to it: as wide as cameras are, and less so. */
const ASPECT_MAX = 16 / 9;
const ASPECT_MIN_IN_LANDSCAPE = 5 / 4;
const ASPECT_MIN_IN_PORTRAIT = 3 / 4;
/** Smaller than this, nobody is recognised. */
const TILE_WIDTH_MIN = 150;
const TILE_HEIGHT_MIN = 110;
/** More faces at once are wallpaper, and each costs the page something. */
const TILES_MAX = 36;

/** Heights of picture that are asked for: what simulcast layers usually are. */
const HEIGHTS = [180, 360, 720, 1080];

/** @typedef {{ width: number, height: number, gap: number }} Area */

/**
 * The largest tiles with which `count` of them fit.
 *
 * @param {number} count
 * @param {Area} area
 */
export function tileSize(count, area) {
  const aspectMin = area.width > area.height ? ASPECT_MIN_IN_LANDSCAPE : ASPECT_MIN_IN_PORTRAIT;
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const roomX = (area.width - area.gap * (columns - 1)) / columns;
    const roomY = (area.height - area.gap * (rows - 1)) / rows;
    const width = Math.min(roomX, roomY * ASPECT_MAX);
    const height = Math.min(roomY, width / aspectMin);
    if (width > 0 && height > 0 && width * height > best.width * best.height) best = { width, height };
  }
  return { width: Math.floor(best.width), height: Math.floor(best.height) };
}

/** How many tiles an area holds at most. */
export function tilesMax(/** @type {Area} */ { width, height, gap }) {
  const columns = Math.floor((width + gap) / (TILE_WIDTH_MIN + gap));
  const rows = Math.floor((height + gap) / (TILE_HEIGHT_MIN + gap));
  return Math.min(TILES_MAX, Math.max(1, columns * rows));
}

/**
 * Those who get a tile, in the roster's order so that no tile jumps: oneself, then the lively ones, then the others.
 *
 * @param {Participant[]} all
 * @param {{ self: string, lively: Set<string>, max: number }} wish
 */
export function chosen(all, { self, lively, max }) {
  /** @type {Set<string>} */
  const ids = new Set();
  const take = (/** @type {(participant: Participant) => boolean} */ isWanted) => {
    for (const participant of all) {
      if (ids.size >= max) return;
      if (isWanted(participant)) ids.add(participant.id);
    }
  };
  take(({ id }) => id === self);
  take(({ id }) => lively.has(id));
  take(() => true);
  const shown = all.filter(({ id }) => ids.has(id));
  return [...shown.filter(({ id }) => id === self), ...shown.filter(({ id }) => id !== self)];
}

/** The least of the usual picture heights that fills a tile. */
export function pictureHeight(/** @type {number} */ tilePixels) {
  return HEIGHTS.find((height) => height >= tilePixels) ?? HEIGHTS[HEIGHTS.length - 1] ?? 0;
}
