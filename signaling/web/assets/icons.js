// The page's icons, drawn here so that nothing is fetched and no style is inline.

const PATHS = {
  microphone: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3ZM6 11v1a6 6 0 0 0 12 0v-1M12 18v3",
  camera: "M3 7h11v10H3ZM14 11l6-4v10l-6-4",
  screen: "M3 5h18v11H3ZM9 20h6M12 16v4M12 13V8M9.500 10.500 12 8l2.500 2.500",
  hand: "M8 12V6a1.400 1.400 0 0 1 2.800 0v4M10.800 10V4.800a1.400 1.400 0 0 1 2.800 0V10M13.600 10V6a1.400 1.400 0 0 1 2.800 0v7c0 4-2 7-5 7-2.500 0-3.600-1.300-5-4l-1.800-3.500a1.300 1.300 0 0 1 2.200-1.300L8 13",
  chat: "M4 5h16v11H10l-4 4v-4H4Z",
  stats: "M5 20V12M12 20V5M19 20v-5",
  leave: "M4 14c4-5 12-5 16 0l-2 3-4-2v-2h-4v2l-4 2Z",
  slash: "M4 4l16 16",
};

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {keyof typeof PATHS} name
 * @param {boolean} [isOff]  Struck through.
 */
export function icon(name, isOff = false) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const d of isOff ? [PATHS[name], PATHS.slash] : [PATHS[name]]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/**
 * Shows a control's state: icon, words for those who cannot see it, and whether it is on.
 *
 * @param {HTMLElement} button
 * @param {{ icon: keyof typeof PATHS, label: string, isPressed?: boolean, isOff?: boolean }} state
 */
export function dress(button, state) {
  button.replaceChildren(icon(state.icon, state.isOff));
  button.setAttribute("aria-label", state.label);
  button.title = state.label;
  button.setAttribute("aria-pressed", String(state.isPressed ?? false));
  button.classList.toggle("off", state.isOff ?? false);
}
