/** What a person chose, kept in localStorage; a browser that keeps nothing works too. */

const KEY = "streamproc-view";

/**
 * @typedef {object} Prefs
 * @property {"auto" | "light" | "dark"} theme
 * @property {boolean} edges
 * @property {number} opacity 0.1 to 1.
 * @property {string} colour Of edges; one of COLOURS.
 * @property {boolean} boxes
 * @property {boolean} trails
 * @property {boolean} keys Single-key shortcuts.
 */

/** @type {Readonly<Record<string, string>>} Colours of edges: all stand out on dark and on bright pictures. */
export const COLOURS = { cyan: "#22d3ee", green: "#4ade80", amber: "#fbbf24", magenta: "#f472b6", white: "#ffffff" };

/** @type {Readonly<Prefs>} */
const DEFAULTS = { theme: "auto", edges: true, opacity: 0.7, colour: "cyan", boxes: true, trails: true, keys: true };

/** @type {Prefs} */
export const prefs = { ...DEFAULTS, ...kept() };

/** @type {Set<() => void>} */
const listeners = new Set();

/** @returns {Partial<Prefs>} What is kept and of the right kind: it may be of another version, or written by hand. */
function kept() {
  /** @type {Record<string, unknown>} */
  let found = {};
  try {
    const value = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (value && typeof value === "object") found = value;
  } catch {
    return {};
  }
  const right = Object.entries(DEFAULTS).filter(([name, value]) => typeof found[name] === typeof value);
  /** @type {Partial<Prefs>} */
  const chosen = Object.fromEntries(right.map(([name]) => [name, found[name]]));
  if (chosen.colour !== undefined && !Object.hasOwn(COLOURS, chosen.colour)) delete chosen.colour;
  if (chosen.opacity !== undefined && !(chosen.opacity >= 0.1 && chosen.opacity <= 1)) delete chosen.opacity;
  if (chosen.theme !== undefined && !["auto", "light", "dark"].includes(chosen.theme)) delete chosen.theme;
  return chosen;
}

/** @param {Partial<Prefs>} change */
export function choose(change) {
  Object.assign(prefs, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs));
  } catch {
    // Private windows may refuse; the choice then holds until the page is closed.
  }
  for (const listener of listeners) listener();
}

/** @param {() => void} listener Called after each choice. */
export function onChoice(listener) {
  listeners.add(listener);
}
