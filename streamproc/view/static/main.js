/** Brings the parts of the page together. */

import { Charts } from "./charts.js";
import { Connection } from "./connection.js";
import { EventDialog } from "./dialog.js";
import { el, part, seldom } from "./dom.js";
import { Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { behindWords } from "./health.js";
import { Hour } from "./hour.js";
import { listen, showHelp } from "./keys.js";
import { Past } from "./past.js";
import { choose, COLOURS, onChoice, prefs } from "./prefs.js";
import { Status } from "./status.js";
import { Store } from "./store.js";
import { showTab, tabs } from "./tabs.js";
import { Timeline } from "./timeline.js";

/** @typedef {import("./types.js").Camera} Camera */
/** @typedef {import("./types.js").CameraEvent} CameraEvent */

const store = new Store();
/** @type {Camera[]} */ let cameras = [];
let ahead_ms = 0; // The server's clock less ours: spans and ages are told by the server's clock.
let started = false;

const serverMs = () => Date.now() + ahead_ms;

const connection = new Connection({
  hello: (state) => {
    ahead_ms = state.server_ms - Date.now();
    status.connected();
    status.broker(state.broker);
    take(state.cameras);
    if (!started) feed.start();
    started = true;
    followLink();
  },
  event: (event) => receive(event),
  cameras: (told) => take(told),
  broker: (broker) => {
    status.broker(broker);
    refresh();
  },
  skipped: (events, pictures) => status.skipped(events, pictures),
  picture: (head, picture) => {
    const tile = grid.tiles.get(head.camera);
    if (tile?.visible && past.moment === null) tile.receive(head, picture);
    else connection.got();
  },
  lost: (pause_ms, told, login) => {
    status.lost(pause_ms, told, login);
    refresh();
  },
});

const status = new Status(() => connection.open());
const grid = new Grid(
  () => watch(),
  (name) => opened(name),
  () => connection.got(),
);
const past = new Past();
const charts = new Charts();
const hour = new Hour((name) => grid.open(name));
const feed = new Feed(store, (event) => dialog.open(event));
const timeline = new Timeline(serverMs, store, (moment) => {
  past.go(moment, grid.tiles.values());
  feed.around(moment);
  status.past(moment !== null);
  watch();
});
const dialog = new EventDialog({
  beside: (id, step) => feed.beside(id, step),
  goTo: (ms) => timeline.go(ms),
  shown: (event) => writeLink(event),
});

/** @param {CameraEvent} event */
function receive(event) {
  if (!store.add(event)) return;
  if (past.moment === null) {
    grid.tiles.get(event.camera)?.add(event);
    status.lag(Math.max(0, serverMs() - event.emitted_ms));
  }
  feed.add(event);
}

/** @param {Camera[]} told */
function take(told) {
  cameras = told;
  const names = told.map(({ name }) => name).sort();
  feed.offer(names);
  charts.offer(names);
  refresh();
}

const refresh = seldom(250, () => {
  const now_ms = serverMs();
  grid.update(cameras, now_ms, status.news, past.moment !== null);
  status.behind(behindWords(cameras));
  if (!part("panel-hour", HTMLElement).hidden) hour.draw(cameras, now_ms, status.news);
  status.show();
});

/** Ask for pictures of the tiles that can be seen, and of no others. */
function watch() {
  const looking = past.moment === null && !document.hidden;
  connection.watch(looking ? grid.seen : [], prefs.edges ? ["preview", "edges"] : ["preview"]);
  if (past.moment !== null) past.show([...grid.tiles.values()].filter(({ visible }) => visible));
  refresh();
}

/** @param {string | null} name One camera alone, or null. */
function opened(name) {
  feed.choose(name ?? "");
  charts.choose(name ?? "");
  writeLink(null);
  watch();
}

/** @param {import("./api.js").Place | null} event The address shows what is open, to be kept or sent. */
function writeLink(event) {
  const words = new URLSearchParams();
  if (event) words.set("event", event.id);
  const camera = event?.camera ?? grid.single;
  if (camera) words.set("camera", camera);
  if (event?.at_ms) words.set("ms", String(event.at_ms));
  history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
}

function followLink() {
  const words = new URLSearchParams(location.hash.slice(1));
  const [id, camera] = [words.get("event"), words.get("camera")];
  if (id)
    dialog.open(
      store.find(id) ?? {
        id,
        camera: camera ?? "",
        ...(words.get("ms") ? { at_ms: Number(words.get("ms")) || 0 } : {}),
      },
    );
  else if (camera && grid.tiles.has(camera)) grid.open(camera);
}

function look() {
  const form = part("view-form", HTMLFormElement);
  for (const name of /** @type {const} */ (["edges", "boxes", "trails"]))
    field(form, name, HTMLInputElement).checked = prefs[name];
  field(form, "opacity", HTMLInputElement).value = String(prefs.opacity);
  field(form, "colour", HTMLSelectElement).value = prefs.colour;
  field(form, "theme", HTMLSelectElement).value = prefs.theme;
  if (prefs.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = prefs.theme;
}

/**
 * @template {Element} Kind
 * @param {HTMLFormElement} form @param {string} name @param {new () => Kind} kind @returns {Kind}
 */
function field(form, name, kind) {
  const found = form.elements.namedItem(name);
  if (!(found instanceof kind)) throw new Error(`the form has no ${name}`);
  return found;
}

function listenToForms() {
  const form = part("view-form", HTMLFormElement);
  const colour = field(form, "colour", HTMLSelectElement);
  colour.append(...Object.keys(COLOURS).map((name) => el("option", { value: name }, name)));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () =>
    choose({
      edges: field(form, "edges", HTMLInputElement).checked,
      boxes: field(form, "boxes", HTMLInputElement).checked,
      trails: field(form, "trails", HTMLInputElement).checked,
      opacity: Number(field(form, "opacity", HTMLInputElement).value),
      colour: colour.value,
      theme: /** @type {"auto" | "light" | "dark"} */ (field(form, "theme", HTMLSelectElement).value),
    }),
  );
  const menu = part("view-menu", HTMLDetailsElement);
  document.addEventListener("pointerdown", (press) => {
    if (press.target instanceof Node && !menu.contains(press.target)) menu.open = false;
  });
  part("help-button", HTMLButtonElement).addEventListener("click", showHelp);
}

function isDark() {
  return prefs.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : prefs.theme === "dark";
}

let had_edges = prefs.edges;
onChoice(() => {
  look();
  grid.redraw();
  if (past.moment !== null && prefs.edges && !had_edges) past.go(past.moment, grid.tiles.values());
  had_edges = prefs.edges;
  watch();
});
tabs((name) => {
  charts.show(name === "charts");
  refresh();
});
listenToForms();
look();
listen({
  "?": showHelp,
  "/": () => part("search", HTMLInputElement).focus(),
  r: () => part("troubled", HTMLButtonElement).click(),
  e: () => choose({ edges: !prefs.edges }),
  b: () => choose({ boxes: !prefs.boxes }),
  t: () => choose({ trails: !prefs.trails }),
  d: () => choose({ theme: isDark() ? "light" : "dark" }),
  " ": () => timeline.toggle(),
  l: () => timeline.go(null),
  ",": () => timeline.step(-1000),
  ".": () => timeline.step(1000),
  "<": () => timeline.step(-10_000),
  ">": () => timeline.step(10_000),
  f: () => {
    showTab("events");
    field(part("filters", HTMLFormElement), "type", HTMLSelectElement).focus();
  },
  g: () => {
    showTab("events");
    feed.focus();
  },
  1: () => showTab("events", true),
  2: () => showTab("charts", true),
  3: () => showTab("hour", true),
  Escape: () => grid.open(null),
});
document.addEventListener("visibilitychange", watch);
addEventListener("hashchange", followLink);
setInterval(refresh, 1000);
connection.open();
