/** The one line above everything: what is wrong right now, worst first, and nothing when nothing is. */

import { part, say } from "./dom.js";
import { duration, things } from "./format.js";

/** @typedef {import("./types.js").Broker} Broker */

const SKIPPED_SHOWN_MS = 10_000; // Told when it goes on: a page that builds itself passes over a few, and that is all.
const LAG_MS = 3000;
const BROKEN_MS = 1200; // A viewer that has just begun is still asking the broker.

export class Status {
  /** @type {{until_ms: number | null, told: string, login: boolean} | null} */ #lost = null;
  /** @type {Broker | null} Null: not connected yet. */ #broker = null;
  #broken_ms = Infinity;
  #skipped = { events: 0, pictures: 0, times: 0, at_ms: -Infinity };
  #lag_ms = 0;
  #behind = "";
  #past = false;
  #banner = part("banner", HTMLDivElement);
  #text = part("banner-text", HTMLParagraphElement);
  #more = part("banner-more", HTMLSpanElement);
  #again = part("banner-button", HTMLButtonElement);
  #login = part("banner-login", HTMLAnchorElement);

  /** @param {() => void} again Try to connect now. */
  constructor(again) {
    this.#again.addEventListener("click", () => {
      if (this.#lost) this.#lost.until_ms = null;
      this.show();
      again();
    });
  }

  /** What the server says can be taken as the present. */
  get news() {
    return this.#lost === null && this.#broker?.ok === true;
  }

  /** @param {Broker} broker */
  broker(broker) {
    this.#broken_ms = broker.ok ? Infinity : Math.min(this.#broken_ms, Date.now());
    this.#broker = broker;
    this.show();
  }

  connected() {
    this.#lost = null;
    this.#skipped.at_ms = -Infinity;
    this.show();
  }

  /** @param {number | null} pause_ms @param {string} told @param {boolean} login */
  lost(pause_ms, told, login) {
    this.#lost = { until_ms: pause_ms === null ? null : Date.now() + pause_ms, told, login };
    this.show();
  }

  /** @param {number} events @param {number} pictures */
  skipped(events, pictures) {
    const again = Date.now() - this.#skipped.at_ms < SKIPPED_SHOWN_MS;
    const had = again ? this.#skipped : { events: 0, pictures: 0, times: 0 };
    this.#skipped = {
      events: had.events + events,
      pictures: had.pictures + pictures,
      times: had.times + 1,
      at_ms: Date.now(),
    };
    this.show();
  }

  /** @param {number} lag_ms How old the newest event was when it came here. */
  lag(lag_ms) {
    this.#lag_ms = lag_ms;
  }

  /** @param {string} words How far cameras are behind; "" if they are not. */
  behind(words) {
    this.#behind = words;
  }

  /** @param {boolean} past */
  past(past) {
    this.#past = past;
    this.show();
  }

  /** @returns {[kind: string, words: string, told: string, more: string]} */
  #words() {
    if (this.#lost) {
      const left = this.#lost.until_ms === null ? 0 : this.#lost.until_ms - Date.now();
      if (this.#lost.login)
        return ["bad", "Not logged in", "This viewer asks for a token. Log in to see the cameras.", ""];
      const more = left > 500 ? `Next try in ${Math.ceil(left / 1000)} s.` : "Trying now.";
      return [
        "bad",
        "Not connected",
        `Connection to the viewer lost. ${this.#lost.told} What you see stands still; it is tried again by itself.`,
        more,
      ];
    }
    if (!this.#broker || (!this.#broker.ok && Date.now() - this.#broken_ms < BROKEN_MS))
      return ["wait", "Connecting", "", ""];
    if (!this.#broker.ok)
      return ["bad", "No broker", `Pictures stand still until Kafka can be read: ${this.#broker.told}`, ""];
    if (this.#past) return ["past", "Looking back", "", ""];
    // These come and go: they stand in the head, where nothing moves because of them.
    if (this.#behind) return ["warn", `Live, ${this.#behind}`, "", ""];
    if (this.#lag_ms > LAG_MS) return ["warn", `Live, ${duration(this.#lag_ms)} behind`, "", ""];
    if (this.#skipped.times > 1 && Date.now() - this.#skipped.at_ms < SKIPPED_SHOWN_MS)
      return ["warn", `Live, too slow: ${this.#skippedWords()} skipped`, "", ""];
    return ["ok", "Live", "", ""];
  }

  #skippedWords() {
    const { events, pictures } = this.#skipped;
    return [pictures && things(pictures, "picture"), events && things(events, "event")].filter(Boolean).join(" and ");
  }

  show() {
    const [kind, words, told, more] = this.#words();
    part("link", HTMLParagraphElement).dataset.kind = kind;
    say(part("link-text", HTMLSpanElement), words);
    this.#banner.hidden = !told;
    this.#banner.dataset.kind = kind;
    say(this.#text, told);
    say(this.#more, more);
    this.#again.hidden = !this.#lost || this.#lost.login;
    this.#login.hidden = !this.#lost?.login;
  }
}
