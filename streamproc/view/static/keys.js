/** Single-key shortcuts and the page that lists them. They can be switched off there (WCAG 2.1.4). */

import { el, part } from "./dom.js";
import { choose, prefs } from "./prefs.js";

/** @typedef {Record<string, () => void>} Actions By `KeyboardEvent.key`. */

/** @type {readonly [string, [string, string][]][]} */
const TOLD = [
  [
    "Cameras",
    [
      ["Arrows, Home, End", "go from tile to tile"],
      ["Enter", "show one camera alone; Left and Right go to its neighbours"],
      ["Esc", "all cameras again"],
      ["/", "find a camera"],
      ["r", "only cameras in trouble"],
    ],
  ],
  [
    "Pictures",
    [
      ["e", "edges"],
      ["b", "boxes"],
      ["t", "trails of tracks"],
      ["d", "dark or light"],
    ],
  ],
  [
    "Time",
    [
      ["Space", "stop here, or back to live"],
      ["l", "live"],
      [", and .", "back or forward 1 s"],
      ["< and >", "back or forward 10 s"],
      ["Arrows, Page Up/Down, Home", "move the slider, when it has the focus"],
    ],
  ],
  [
    "Events",
    [
      ["f", "to the filters"],
      ["g", "to the list of events"],
      ["Up, Down, Page Up/Down, Home, End", "go through the list"],
      ["Enter", "see the pixels of an event"],
      ["Left, Right", "newer or older event, when one is open"],
      ["Esc", "close it"],
    ],
  ],
  [
    "Panels",
    [
      ["1, 2, 3", "events, charts, last hour"],
      ["?", "this page"],
    ],
  ],
];

/** @param {Actions} actions */
export function listen(actions) {
  document.addEventListener("keydown", (key) => {
    if (key.defaultPrevented || key.ctrlKey || key.metaKey || key.altKey || key.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    const target = key.target instanceof HTMLElement ? key.target : document.body;
    if (key.key === "Escape") {
      if (!leave(target)) actions.Escape?.();
      return;
    }
    if (!prefs.keys && key.key !== "?") return;
    if (target.closest("input:not([type=range], [type=checkbox]), select, textarea")) return;
    if (key.key === " " && target.closest("button, summary, input, a, pre")) return;
    const action = actions[key.key];
    if (!action) return;
    key.preventDefault();
    action();
  });
}

/** Leave a menu or a field. @param {HTMLElement} target @returns {boolean} There was something to leave. */
function leave(target) {
  const menu = target.closest("details.menu[open]");
  if (menu instanceof HTMLDetailsElement) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
    return true;
  }
  if (!(target instanceof HTMLInputElement) || target.type !== "search") return false;
  if (target.value) {
    target.value = "";
    target.dispatchEvent(new Event("input", { bubbles: true }));
  } else target.blur();
  return true;
}

export function showHelp() {
  const dialog = part("help-dialog", HTMLDialogElement);
  if (dialog.open) return;
  const single = el("input", { type: "checkbox", checked: prefs.keys, change: () => choose({ keys: single.checked }) });
  const close = el("button", { type: "button", class: "button", click: () => dialog.close() }, "Close");
  dialog.replaceChildren(
    el("header", { class: "dialog-head" }, el("h2", { id: "help-title" }, "Keyboard"), close),
    el("label", { class: "check" }, single, " Shortcuts of a single key"),
    ...TOLD.flatMap(([title, keys]) => [
      el("h3", {}, title),
      el(
        "table",
        { class: "facts keys" },
        el(
          "tbody",
          {},
          ...keys.map(([key, does]) =>
            el("tr", {}, el("th", { scope: "row" }, el("kbd", {}, key)), el("td", {}, does)),
          ),
        ),
      ),
    ]),
  );
  dialog.onclick = (click) => {
    if (click.target === dialog) dialog.close();
  };
  dialog.showModal();
  close.focus();
}
