// Small words for the page. Everything that came from another participant becomes a text node, never markup.

/**
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return /** @type {E} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

/** One of the page's four faces. */
export function show(/** @type {"home" | "prejoin" | "meeting" | "gone"} */ face) {
  for (const id of ["home", "prejoin", "meeting", "gone"]) byId(id).hidden = id !== face;
}

/** What a person sees as one letter may be many code points: a flag, a family, an accent. */
const LETTERS = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The first letters of up to two words, for a tile without a picture. */
export function initials(/** @type {string} */ name) {
  const words = name.trim().split(/\s+/u).slice(0, 2);
  return words.map((word) => [...LETTERS.segment(word)][0]?.segment ?? "").join("").toLocaleUpperCase();
}

/** Of the style sheet. */
const HUES = 8;

/** One of eight colours, the same for the same participant everywhere. */
export function hue(/** @type {string} */ id) {
  const sum = [...id].reduce((total, letter) => total + (letter.codePointAt(0) ?? 0), 0);
  return `hue-${sum % HUES}`;
}

const LINK = /https?:\/\/[^\s<>"'\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;

/**
 * Text with its http and https addresses as links; nothing else becomes one.
 *
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function linked(text) {
  /** @type {(Node | string)[]} */
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const address = match[0].replace(/[.,;:!?)\]]+$/u, "");
    if (!URL.canParse(address)) continue;
    const link = make("a", "", address);
    link.href = address;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    parts.push(text.slice(from, match.index), link);
    from = match.index + address.length;
  }
  parts.push(text.slice(from));
  return parts;
}
