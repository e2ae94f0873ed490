/** The list of events: filters, live rows on top, older ones from the log, one row in the tab order. */

import { ApiError, readEvents, wasAborted } from "./api.js";
import { el, part, say, seldom, settled } from "./dom.js";
import { clock, clockOrDay, things } from "./format.js";
import { matches, newestFirst, NO_FILTER } from "./store.js";

/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").Filter} Filter */

const LIVE_ROWS = 200;
const MOST_ROWS = 1000;
const PAGE = 100;
const MOST_SOUGHT = 500; // Rows that are read of what came after a moment, to reach it.
const AROUND_MS = 30_000;

export class Feed {
  #list = part("feed", HTMLOListElement);
  #form = part("filters", HTMLFormElement);
  #told = part("feed-told", HTMLParagraphElement);
  #newer = part("feed-new", HTMLButtonElement);
  #older = part("feed-older", HTMLButtonElement);
  /** @type {CameraEvent[]} What the rows show, newest first. */ #rows = [];
  /** @type {CameraEvent[]} Came while someone read; newest last. */ #waiting = [];
  #more = true;
  #stuck = false;
  /** @type {number | null} */ #moment = null;
  #seeking = false; // The moment is to be scrolled to once its events are there.
  #reading = new AbortController();
  #store;
  #open;

  /**
   * @param {import("./store.js").Store} store
   * @param {(event: CameraEvent) => void} open
   */
  constructor(store, open) {
    this.#store = store;
    this.#open = open;
    const again = settled(250, () => this.#restart());
    this.#form.addEventListener("input", again);
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("reset", () => setTimeout(() => this.#restart()));
    this.#older.addEventListener("click", () => void this.#readOlder());
    this.#newer.addEventListener("click", () => {
      this.#list.scrollTop = 0;
      this.#takeWaiting();
      this.focus();
    });
    this.#list.addEventListener("keydown", (event) => this.#key(event));
    this.#list.addEventListener("click", (event) => this.#click(event));
    this.#list.addEventListener("scroll", () => this.#list.scrollTop === 0 && this.#settleSoon());
  }

  #settleSoon = seldom(250, () => this.#settle());

  /** @returns {Filter} */
  get filter() {
    const data = new FormData(this.#form);
    /** @param {string} name */
    const word = (name) => String(data.get(name) ?? "").trim();
    return {
      camera: word("camera"),
      type: word("type"),
      label: word("label"),
      text: word("text"),
      outcome: word("outcome"),
    };
  }

  #isPlain() {
    return Object.entries(NO_FILTER).every(
      ([name, value]) => this.filter[/** @type {keyof Filter} */ (name)] === value,
    );
  }

  /** @param {CameraEvent} event New in the store. */
  add(event) {
    if (this.#moment !== null || !matches(event, this.filter)) return;
    this.#waiting.push(event);
    // What happened to cameras stays for longest.
    if (this.#waiting.length > LIVE_ROWS)
      this.#waiting.splice(Math.max(0, this.#waiting.findIndex(({ type }) => type !== "camera")), 1);
    this.#settleSoon();
  }

  #settle() {
    const reading = this.#list.scrollTop > 0 || this.#list.contains(document.activeElement);
    if (!reading) this.#takeWaiting();
    this.#newer.hidden = !this.#waiting.length;
    say(this.#newer, this.#waiting.length ? `Show ${this.#waiting.length} new` : "");
  }

  #takeWaiting() {
    const fresh = this.#waiting.splice(0).reverse();
    if (!fresh.length) return;
    const had = this.#rows.length;
    const most = Math.max(LIVE_ROWS, Math.min(had, MOST_ROWS));
    this.#rows = [...fresh, ...this.#rows].slice(0, most);
    if (had + fresh.length > most) this.#more = true;
    this.#list.prepend(...fresh.slice(0, most).map((event) => this.#row(event)));
    while (this.#list.childElementCount > most) this.#list.lastElementChild?.remove();
    this.#newer.hidden = true;
    this.#tabbable();
    this.#tell();
  }

  /** Begin anew: what the page knows, then what the log knows. */
  #restart() {
    this.#waiting = [];
    this.#more = true;
    this.#stuck = false;
    this.#rows = this.#moment === null ? this.#store.matching(this.filter, LIVE_ROWS) : [];
    this.#render();
    void this.#readOlder();
  }

  /** @param {number | null} ms Events around this moment; null for live. */
  around(ms) {
    if (this.#moment === ms) return;
    this.#moment = ms;
    this.#seeking = ms !== null;
    this.#restart();
  }

  /** Read what the log has below the oldest row. */
  async #readOlder() {
    this.#reading.abort();
    const reading = new AbortController();
    this.#reading = reading;
    const oldest = this.#rows.at(-1);
    const end = oldest ? oldest.at_ms - (this.#stuck ? 1 : 0) : undefined;
    const span =
      this.#moment === null
        ? { to_ms: end }
        : {
            from_ms: oldest ? undefined : Math.round(this.#moment - AROUND_MS),
            to_ms: end ?? Math.round(this.#moment + AROUND_MS),
          };
    this.#list.setAttribute("aria-busy", "true");
    this.#tell("Reading the log…");
    try {
      const { events, more } = await readEvents({ ...this.filter, ...span, limit: PAGE }, reading.signal);
      if (reading.signal.aborted) return;
      const known = new Set(this.#rows.map(({ id }) => id));
      const filter = this.filter;
      const unique = new Map(events.map((event) => [event.id, event])).values(); // a loss that lasts is told again
      const fresh = [...unique].filter((event) => !known.has(event.id) && matches(event, filter));
      this.#stuck = events.length > 0 && !fresh.length; // A whole page of one millisecond: the next ends before it.
      this.#more = (more || (this.#moment !== null && !oldest)) && this.#rows.length + fresh.length < MOST_ROWS;
      this.#rows = [...this.#rows, ...fresh].sort(newestFirst).slice(0, MOST_ROWS);
      this.#render();
      if (this.#seeking && this.#more && fresh.length && this.#rows.length < MOST_SOUGHT) void this.#readOlder();
      else this.#seeking = false;
    } catch (error) {
      if (wasAborted(error)) return;
      this.#tell(error instanceof ApiError ? `The log could not be read: ${error.message}` : String(error));
    } finally {
      if (this.#reading === reading) this.#list.removeAttribute("aria-busy");
    }
  }

  #render() {
    const inside = this.#list.contains(document.activeElement);
    const focused = document.activeElement?.getAttribute("data-id");
    const at = this.#list.scrollTop;
    this.#list.replaceChildren(...this.#rows.map((event) => this.#row(event)));
    this.#list.scrollTop = at;
    this.#markMoment();
    this.#tabbable();
    const again = [...this.#buttons()].find((button) => button.dataset.id === focused);
    if (inside) (again ?? this).focus();
    this.#tell();
  }

  /** To the newest event; the list itself holds the focus while its rows are still being read. */
  focus() {
    (this.#button(0) ?? this.#list).focus();
  }

  /** Between the events before a moment and those after it: the moment, to which the list is scrolled once. */
  #markMoment() {
    const moment = this.#moment;
    if (moment === null || !this.#rows.length) return;
    const place = this.#rows.findIndex(({ at_ms }) => at_ms <= moment);
    const mark = el("li", { class: "feed-moment" }, `${clock(moment)}, the moment that is shown`);
    this.#list.insertBefore(mark, place < 0 ? null : (this.#list.children[place] ?? null));
    if (!this.#seeking || place < 0) return;
    this.#seeking = false;
    const bring = () => {
      const list = this.#list.getBoundingClientRect();
      this.#list.scrollTop += mark.getBoundingClientRect().top - list.top - list.height / 3;
    };
    bring();
    requestAnimationFrame(() => requestAnimationFrame(bring)); // rows near by take their true height only then
  }

  /** @param {string} [told] */
  #tell(told) {
    const shown = things(this.#rows.length, "event");
    const near = this.#moment === null ? "" : ` around ${clock(this.#moment)}`;
    const none =
      this.#moment === null
        ? this.#isPlain()
          ? "No event yet"
          : "No event fits"
        : `No event fits within ${AROUND_MS / 1000} s of ${clock(this.#moment)}`;
    // While events stream in, a count that changes four times a second would only be noise to a screen reader.
    this.#told.setAttribute("aria-live", this.#moment === null && this.#rows.length ? "off" : "polite");
    say(this.#told, told ?? (this.#rows.length ? shown + near : none));
    this.#older.hidden = !this.#more;
  }

  /** @param {CameraEvent} event */
  #row(event) {
    const kind = event.type === "frame" ? (event.outcome ?? "frame") : (event.what ?? event.type);
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "event", "data-id": event.id, "data-mood": mood(event), tabindex: -1 },
        el("time", { datetime: new Date(event.at_ms).toISOString() }, clockOrDay(event.at_ms, Date.now())),
        el("span", { class: "event-camera" }, event.camera),
        el("span", { class: "event-kind" }, event.type === "frame" ? `frame ${kind}` : `${event.type} ${kind}`),
        el("span", { class: "event-text" }, textOf(event)),
      ),
    );
  }

  /** @returns {NodeListOf<HTMLButtonElement>} */
  #buttons() {
    return this.#list.querySelectorAll("button");
  }

  /** @param {number} index */
  #button(index) {
    return this.#buttons()[index];
  }

  #tabbable() {
    if (!this.#list.querySelector('[tabindex="0"]')) this.#button(0)?.setAttribute("tabindex", "0");
  }

  /** @param {MouseEvent} click */
  #click(click) {
    const button = click.target instanceof Element ? click.target.closest("button") : null;
    const event = this.#rows.find(({ id }) => id === button?.dataset.id);
    if (!button || !event) return;
    this.#stand(button);
    this.#open(event);
  }

  /** @param {HTMLButtonElement} button */
  #stand(button) {
    for (const other of this.#list.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    button.setAttribute("tabindex", "0");
    button.focus();
  }

  /** @param {KeyboardEvent} key */
  #key(key) {
    const buttons = [...this.#buttons()];
    const here = buttons.findIndex((button) => button === document.activeElement);
    const last = buttons.length - 1;
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, PageDown: here + 10, PageUp: here - 10, Home: 0, End: last }[
      key.key
    ];
    if (to === undefined || here < 0) return;
    key.preventDefault();
    const button = buttons[Math.max(0, Math.min(last, to))];
    if (button) this.#stand(button);
  }

  /** The event before (1) or after (-1) one in the list. @param {string} id @param {number} step */
  beside(id, step) {
    const here = this.#rows.findIndex((event) => event.id === id);
    return here < 0 ? undefined : this.#rows[here + step];
  }

  /** @param {string[]} names */
  offer(names) {
    offerNames(this.#form.elements.namedItem("camera"), names);
  }

  /** @param {string} camera Show events of this camera, or of all for "". */
  choose(camera) {
    const select = this.#form.elements.namedItem("camera");
    if (select instanceof HTMLSelectElement && select.value !== camera) {
      select.value = camera;
      this.#restart();
    }
  }

  /** The first fill, when the page is connected. */
  start() {
    this.#restart();
  }
}

/** @param {CameraEvent} event Its line, without what the row's first line has said. */
function textOf({ type, what, text }) {
  const begin = type === "camera" ? `${what}: ` : `${type} ${what} `;
  return type !== "frame" && text.startsWith(begin) ? text.slice(begin.length) : text;
}

/** @param {CameraEvent} event How much it matters: `bad`, `warn`, `good` or `plain`. */
export function mood(event) {
  if (event.type === "frame")
    return event.outcome === "complete" ? "plain" : event.outcome === "partial" ? "warn" : "bad";
  if (event.type === "anomaly") return "warn";
  if (event.type !== "camera") return "plain";
  if (event.what === "offline") return "bad";
  return event.what === "online" || event.what === "fps-restored" ? "good" : "warn";
}

/**
 * Offer cameras, after the option for all if there is one; the choice stays.
 *
 * @param {Element | RadioNodeList | null} select
 * @param {string[]} names
 */
export function offerNames(select, names) {
  if (!(select instanceof HTMLSelectElement)) return;
  const all = [...select.options].filter(({ value }) => !value);
  const had = [...select.options].slice(all.length).map(({ value }) => value);
  if (had.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(...all, ...names.map((name) => el("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : (select.options[0]?.value ?? "");
}
