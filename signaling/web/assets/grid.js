// The tiles of a meeting: everybody as far as the area holds them, shared screens on a stage above. It is told who there
// is, what fills the slots and who speaks, and draws at most every few milliseconds whatever comes.
//
// Events: wish {Constraints}  (what pictures this screen can use, to be asked of the bridge)

import { emit } from "./events.js";
import { chosen, pictureHeight, tileSize, tilesMax } from "./layout.js";
import { Tile } from "./tile.js";

/** @import { Participant } from "./messages.js" */
/** @import { Filled, Slot } from "./slots.js" */
/** @import { Own } from "./own.js" */
/** @import { Area } from "./layout.js" */

/** One drawing for all that changes within this; 20 times a second look immediate. */
const DRAW_INTERVAL_MS = 50;
const GAP_PX = 8;
/** Those who spoke last keep a tile in a conference that has more participants than the area has tiles. */
const SPEAKERS_MAX = 8;
/** Sound above this is a voice (0..1, as receivers report it). */
const VOICE_LEVEL = 0.02;
/** Beside a stage, tiles are for orientation; the strip can be scrolled. */
const STRIP_TILES_MAX = 12;

export class Grid extends EventTarget {
  #section;
  #stage;
  #list;
  #more;
  #own;
  #self = "";
  /** @type {Participant[]} */ #all = [];
  /** @type {Slot[]} */ #videos = [];
  /** Latest first. @type {string[]} */ #speakers = [];
  #dominant = "";
  /** By participant. @type {Map<string, number>} */ #levels = new Map();
  /** Cameras by participant. @type {Map<string, Tile>} */ #tiles = new Map();
  /** Screens by source. @type {Map<string, Tile>} */ #screens = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #drawTimer;
  #wished = "";

  /**
   * @param {{ section: HTMLElement, stage: HTMLElement, list: HTMLElement, more: HTMLElement }} elements
   * @param {Own} own
   */
  constructor(elements, own) {
    super();
    this.#section = elements.section;
    this.#stage = elements.stage;
    this.#list = elements.list;
    this.#more = elements.more;
    this.#own = own;
    own.addEventListener("change", () => this.#drawSoon());
    new ResizeObserver(() => this.#drawSoon()).observe(elements.section);
  }

  /**
   * @param {Participant[]} all
   * @param {string} self
   */
  setParticipants(all, self) {
    this.#all = all;
    this.#self = self;
    this.#drawSoon();
  }

  /** @param {Filled} filled */
  setSlots({ videos }) {
    this.#videos = videos;
    this.#drawSoon();
  }

  /** @param {import("./channel.js").Speaker} speaker */
  setSpeaker({ endpoint, isSilent }) {
    this.#dominant = isSilent ? "" : endpoint;
    this.#speakers = [endpoint, ...this.#speakers.filter((before) => before !== endpoint)].slice(0, SPEAKERS_MAX);
    this.#drawSoon();
  }

  /** How loud each participant is now, 0..1; whoever is not in it is silent. */
  setLevels(/** @type {Map<string, number>} */ levels) {
    this.#levels = levels;
    for (const [id, tile] of this.#tiles) this.#light(id, tile);
  }

  #drawSoon() {
    this.#drawTimer ??= setTimeout(() => {
      this.#drawTimer = undefined;
      this.#draw();
    }, DRAW_INTERVAL_MS);
  }

  #draw() {
    const byId = new Map(this.#all.map((participant) => [participant.id, participant]));
    this.#drawScreens(byId);
    const area = this.#area();
    const max = this.#screens.size > 0 ? Math.min(STRIP_TILES_MAX, this.#all.length) : tilesMax(area);
    const cameras = new Map(this.#videos.filter(({ isScreen }) => !isScreen).map((slot) => [slot.owner, slot.track]));
    const lively = new Set([...cameras.keys(), ...this.#speakers]);
    const shown = chosen(this.#all, { self: this.#self, lively, max });
    this.#drawTiles(shown, cameras);
    this.#more.hidden = shown.length === this.#all.length;
    this.#more.textContent = `, ${shown.length} shown`;
    const size = this.#screens.size > 0 ? null : tileSize(shown.length, area);
    this.#resize(size);
    this.#wish(size);
  }

  /** @param {Map<string, Participant>} byId */
  #drawScreens(byId) {
    const screens = this.#videos.filter(({ isScreen, owner }) => isScreen && byId.has(owner));
    const sources = new Set(screens.map(({ source }) => source));
    for (const [source, tile] of this.#screens) {
      if (sources.has(source)) continue;
      tile.remove();
      this.#screens.delete(source);
    }
    for (const { source, owner, track } of screens) {
      const participant = byId.get(owner);
      let tile = this.#screens.get(source);
      if (!tile) {
        tile = new Tile("screen", owner, false);
        this.#screens.set(source, tile);
        this.#stage.append(tile.element);
      }
      if (participant) tile.show(participant);
      tile.play(track);
    }
    this.#section.classList.toggle("with-stage", this.#screens.size > 0);
  }

  /**
   * @param {Participant[]} shown
   * @param {Map<string, MediaStreamTrack>} cameras
   */
  #drawTiles(shown, cameras) {
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, tile] of this.#tiles) {
      // Another identity after a lost one: the own tile goes, too.
      if (ids.has(id) && tile.isOwn === (id === this.#self)) continue;
      tile.remove();
      this.#tiles.delete(id);
    }
    // A tile is put in its place once and never moved: moving would stop its picture.
    /** @type {Element | null} */ let next = this.#list.firstElementChild;
    for (const participant of shown) {
      const isOwn = participant.id === this.#self;
      let tile = this.#tiles.get(participant.id);
      if (!tile) {
        tile = new Tile("camera", participant.id, isOwn);
        this.#tiles.set(participant.id, tile);
        this.#list.insertBefore(tile.element, next);
      } else if (tile.element === next) next = next.nextElementSibling;
      tile.show(isOwn ? { ...participant, name: `${participant.name} (you)`, ...this.#own.shown } : participant);
      const track = isOwn ? this.#own.camera : participant.muted_video ? null : cameras.get(participant.id);
      tile.play(track ?? null);
      this.#light(participant.id, tile);
    }
  }

  /**
   * @param {string} id
   * @param {Tile} tile
   */
  #light(id, tile) {
    tile.light({ isSpeaking: (this.#levels.get(id) ?? 0) > VOICE_LEVEL, isDominant: id === this.#dominant });
  }

  /** @returns {Area} */
  #area() {
    const style = getComputedStyle(this.#section);
    const width = this.#section.clientWidth - Number.parseFloat(style.paddingLeft) - Number.parseFloat(style.paddingRight);
    const height = this.#section.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom);
    return { width, height, gap: GAP_PX };
  }

  /** @param {{ width: number, height: number } | null} size  `null`: the style sheet's, beside a stage. */
  #resize(size) {
    for (const [name, pixels] of Object.entries(size ?? { width: 0, height: 0 })) {
      if (size) this.#list.style.setProperty(`--tile-${name}`, `${pixels}px`);
      else this.#list.style.removeProperty(`--tile-${name}`);
    }
  }

  /** @param {{ height: number } | null} size */
  #wish(size) {
    const tileHeight = size?.height ?? this.#list.firstElementChild?.clientHeight ?? 0;
    const maxHeight = pictureHeight(tileHeight * devicePixelRatio);
    const onStageSources = [...this.#screens.keys()];
    const wish = { defaultConstraints: { maxHeight }, constraints: Object.fromEntries(onStageSources.map(wholeScreen)), onStageSources };
    const text = JSON.stringify(wish);
    if (text === this.#wished || maxHeight === 0) return;
    this.#wished = text;
    emit(this, "wish", wish);
  }
}

/**
 * A shared screen is read, so it is wanted as it is.
 *
 * @param {string} source
 * @returns {[string, { maxHeight: number }]}
 */
function wholeScreen(source) {
  return [source, { maxHeight: -1 }];
}
