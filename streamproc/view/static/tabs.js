/** The panels at the side: tabs as the ARIA practices describe them; arrows go from one to the next. */

import { part } from "./dom.js";

const NAMES = /** @type {const} */ (["events", "charts", "hour"]);
/** @typedef {typeof NAMES[number]} Name */

/** @type {(name: Name) => void} */
let shown = () => {};

/** @param {(name: Name) => void} on_show */
export function tabs(on_show) {
  shown = on_show;
  for (const [index, name] of NAMES.entries()) {
    const tab = part(`tab-${name}`, HTMLButtonElement);
    tab.addEventListener("click", () => showTab(name));
    tab.addEventListener("keydown", (key) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: NAMES.length - 1 }[key.key];
      const next = to === undefined ? undefined : NAMES[(to + NAMES.length) % NAMES.length];
      if (!next) return;
      key.preventDefault();
      showTab(next, true);
    });
  }
}

/** @param {Name} chosen @param {boolean} [focus] */
export function showTab(chosen, focus = false) {
  for (const name of NAMES) {
    const tab = part(`tab-${name}`, HTMLButtonElement);
    tab.setAttribute("aria-selected", String(name === chosen));
    tab.tabIndex = name === chosen ? 0 : -1;
    part(`panel-${name}`, HTMLElement).hidden = name !== chosen;
    if (focus && name === chosen) tab.focus();
  }
  shown(chosen);
}
