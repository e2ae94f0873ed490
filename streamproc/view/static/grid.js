/** All cameras: which are shown, which can be seen (only these are watched), one alone, one tile in the tab order. */

import { part, say, settled } from "./dom.js";
import { things } from "./format.js";
import { judge } from "./health.js";
import { Tile } from "./tile.js";

/** @typedef {import("./types.js").Camera} Camera */

const NO_CAMERA =
  "Nothing has been published to these topics. Start a camera and a worker, each in a terminal of its own, " +
  "for example with the built-in pictures:";
const ORDER = new Intl.Collator(undefined, { numeric: true });
const MOST_NAMED = 3;

export class Grid {
  /** @type {Map<string, Tile>} In the order of names. */ tiles = new Map();
  /** @type {string | null} The camera that is shown alone. */ single = null;
  #grid = part("grid", HTMLUListElement);
  #bar = part("single-bar", HTMLDivElement);
  #search = part("search", HTMLInputElement);
  #troubled = part("troubled", HTMLButtonElement);
  #summary = part("summary", HTMLParagraphElement);
  #empty = part("empty", HTMLDivElement);
  /** @type {Map<Element, Tile>} */ #by_element = new Map();
  #past = false;
  #seeing;
  #seen_changed;
  #opened;
  #got;

  /**
   * @param {() => void} seen_changed Other tiles can be seen than before.
   * @param {(name: string | null) => void} opened One camera is shown alone, or none.
   * @param {() => void} got A picture was shown or passed over.
   */
  constructor(seen_changed, opened, got) {
    this.#opened = opened;
    this.#got = got;
    this.#seen_changed = settled(80, seen_changed);
    this.#seeing = new IntersectionObserver((entries) => this.#look(entries));
    this.#search.addEventListener("input", () => this.#choose());
    this.#troubled.addEventListener("click", () => {
      this.#troubled.setAttribute("aria-pressed", String(this.#troubled.getAttribute("aria-pressed") !== "true"));
      this.#choose();
    });
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    part("single-back", HTMLButtonElement).addEventListener("click", () => this.open(null));
    part("single-before", HTMLButtonElement).addEventListener("click", () => this.beside(-1));
    part("single-next", HTMLButtonElement).addEventListener("click", () => this.beside(1));
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      const tile = this.#by_element.get(target);
      if (tile && tile.visible !== isIntersecting) tile.setVisible(isIntersecting);
    }
    this.#seen_changed();
  }

  /** @returns {string[]} Cameras whose tiles can be seen. */
  get seen() {
    return [...this.tiles.values()].filter(({ visible }) => visible).map(({ camera }) => camera.name);
  }

  /**
   * @param {Camera[]} cameras As the server knows them; others are taken away.
   * @param {number} now_ms
   * @param {boolean} news
   * @param {boolean} past Pictures of another time are shown: what is told of cameras is of now.
   */
  update(cameras, now_ms, news, past = false) {
    this.#past = past;
    const names = new Set(cameras.map(({ name }) => name));
    for (const [name, tile] of this.tiles) if (!names.has(name)) this.#remove(name, tile);
    const fresh = cameras.filter(({ name }) => !this.tiles.has(name));
    for (const camera of fresh) this.#add(camera);
    if (fresh.length) this.#arrange();
    for (const camera of cameras) {
      const tile = this.tiles.get(camera.name);
      if (tile?.visible) tile.update(camera, now_ms, news);
      else if (tile) tile.camera = camera;
    }
    if (this.#troubled.getAttribute("aria-pressed") === "true") this.#choose(now_ms, news);
    else if (fresh.length) this.#choose();
    this.#summarize(cameras, now_ms, news);
  }

  /** @param {Camera} camera */
  #add(camera) {
    const tile = new Tile(camera, (name) => this.open(this.single === name ? null : name), this.#got);
    this.tiles.set(camera.name, tile);
    this.#by_element.set(tile.element, tile);
    this.#seeing.observe(tile.element);
  }

  /** @param {string} name @param {Tile} tile */
  #remove(name, tile) {
    tile.setVisible(false);
    this.#seeing.unobserve(tile.element);
    this.#by_element.delete(tile.element);
    this.tiles.delete(name);
    tile.element.remove();
    if (this.single === name) this.open(null);
    this.#seen_changed();
  }

  #arrange() {
    this.tiles = new Map([...this.tiles].sort(([left], [right]) => ORDER.compare(left, right)));
    this.#grid.replaceChildren(...[...this.tiles.values()].map(({ element }) => element));
  }

  /** Show the tiles that the search, the switch and the single view leave. */
  #choose(now_ms = Date.now(), news = true) {
    const words = this.#search.value.trim().toLowerCase();
    const troubled = this.#troubled.getAttribute("aria-pressed") === "true";
    let shown = 0;
    for (const [name, { element, camera }] of this.tiles) {
      const kind = troubled ? judge(camera, now_ms, news).kind : "blind";
      const fits =
        this.single === null
          ? name.toLowerCase().includes(words) && ["blind", "silent", "lost", "late"].includes(kind)
          : name === this.single;
      element.hidden = !fits;
      if (fits) shown += 1;
    }
    this.#grid.dataset.count = this.single === null ? String(shown) : "1";
    this.#empty.hidden = shown > 0;
    if (!shown) this.#tellWhy(troubled);
    this.#tabbable();
  }

  /** @param {boolean} troubled */
  #tellWhy(troubled) {
    const none = !this.tiles.size;
    say(
      part("empty-title", HTMLHeadingElement),
      none ? "No camera yet" : troubled ? "No camera in trouble" : "No camera has this name",
    );
    say(
      part("empty-text", HTMLParagraphElement),
      none
        ? NO_CAMERA
        : troubled
          ? "None of those that fit is blind, silent, behind, or without complete frames."
          : `None of ${things(this.tiles.size, "camera")} has these letters in its name.`,
    );
    for (const id of ["empty-command", "empty-more"]) part(id, HTMLElement).hidden = !none;
  }

  /** @param {Camera[]} cameras @param {number} now_ms @param {boolean} news */
  #summarize(cameras, now_ms, news) {
    if (!cameras.length) this.#choose();
    const kinds = cameras.map((camera) => judge(camera, now_ms, news).kind);
    /** @param {string} kind The cameras that are so, the first by name. */
    const named = (kind) => {
      const names = cameras.filter((_, index) => kinds[index] === kind).map(({ name }) => name);
      const more = names.length > MOST_NAMED ? [`${names.length - MOST_NAMED} more`] : [];
      return names.length ? `${names.length} ${kind} (${[...names.slice(0, MOST_NAMED), ...more].join(", ")})` : "";
    };
    const blind = named("blind");
    const silent = named("silent");
    const none = kinds.filter((kind) => kind === "lost").length;
    const late = kinds.filter((kind) => kind === "late").length;
    const finished = kinds.filter((kind) => kind === "finished").length;
    const lost = cameras.reduce((sum, { not_complete }) => sum + not_complete, 0);
    const trouble = [
      blind,
      silent,
      none && `${none} without complete frames`,
      late && `${late} behind`,
      lost && `${things(lost, "frame")} not complete in the last hour`,
    ].filter(Boolean);
    say(
      this.#summary,
      cameras.length
        ? (this.#past ? "Now: " : "") +
            [
              things(cameras.length, "camera"),
              ...(finished ? [`${finished} finished`] : []),
              ...(trouble.length ? trouble : news && finished < cameras.length ? ["all well"] : []),
            ].join(", ")
        : "",
    );
    this.#summary.dataset.mood = blind || silent || none ? "bad" : lost || late ? "warn" : "good";
  }

  /** @param {string | null} name Show one camera alone; null: all again. */
  open(name) {
    const before = this.single;
    if (name === before || (name !== null && !this.tiles.has(name))) return;
    this.single = name;
    this.#bar.hidden = name === null;
    this.#grid.classList.toggle("single", name !== null);
    say(part("single-name", HTMLHeadingElement), name ?? "");
    this.#choose();
    this.#stand(name ?? before);
    this.#opened(name);
  }

  /** @param {number} step The camera before or after the one that is shown alone. */
  beside(step) {
    const names = [...this.tiles.keys()];
    const here = names.indexOf(this.single ?? "");
    const name = names[(here + step + names.length) % names.length];
    if (here >= 0 && name !== undefined) this.open(name);
  }

  #shown() {
    return [...this.tiles.values()].filter(({ element }) => !element.hidden);
  }

  #tabbable() {
    const shown = this.#shown();
    if (!shown.some(({ button }) => button.tabIndex === 0)) shown[0]?.button.setAttribute("tabindex", "0");
  }

  /** @param {string | null} name */
  #stand(name) {
    for (const { camera, button } of this.tiles.values()) button.tabIndex = camera.name === name ? 0 : -1;
    const tile = name === null ? undefined : this.tiles.get(name);
    if (tile && !tile.element.hidden) tile.button.focus();
    this.#tabbable();
  }

  /** @param {KeyboardEvent} key Arrows go by where tiles lie on the screen. */
  #key(key) {
    if (this.single !== null && (key.key === "ArrowLeft" || key.key === "ArrowRight")) {
      key.preventDefault();
      this.beside(key.key === "ArrowLeft" ? -1 : 1);
      return;
    }
    const shown = this.#shown();
    const here = shown.findIndex(({ button }) => button === document.activeElement);
    if (here < 0) return;
    const top = shown[here]?.element.offsetTop;
    const columns = Math.max(1, shown.filter(({ element }) => element.offsetTop === top).length);
    const row = Math.max(
      columns,
      shown.findIndex(({ element }) => element.offsetTop !== shown[0]?.element.offsetTop),
    );
    const last = shown.length - 1;
    const to = {
      ArrowRight: here + 1,
      ArrowLeft: here - 1,
      ArrowDown: here + row,
      ArrowUp: here - row,
      Home: 0,
      End: last,
    }[key.key];
    if (to === undefined) return;
    key.preventDefault();
    const tile = shown[Math.max(0, Math.min(last, to))];
    if (tile) this.#stand(tile.camera.name);
  }

  /** Draw all tiles that can be seen anew, as after a choice of how they look. */
  redraw() {
    for (const tile of this.tiles.values()) tile.redraw();
  }
}
