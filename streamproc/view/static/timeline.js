/** The time bar: live, or stopped at a moment that the slider, steps or an event choose. */

import { part, say, seldom, settled, svg } from "./dom.js";
import { clock, clockOrDay, duration } from "./format.js";
import { mood } from "./feed.js";

const MOVED_MS = 180;

export class Timeline {
  /** @type {number | null} The moment that is shown; null: live. */ moment = null;
  #slider = part("slider", HTMLInputElement);
  #live = part("live", HTMLButtonElement);
  #now = part("now", HTMLOutputElement);
  #window = part("window", HTMLSelectElement);
  #marks = /** @type {Element} */ (document.getElementById("marks"));
  #end_ms;
  #clock;
  #store;
  #changed;
  #told = settled(MOVED_MS, () => this.#changed(this.moment));

  /**
   * @param {() => number} server_ms The server's clock now.
   * @param {import("./store.js").Store} store
   * @param {(moment: number | null) => void} changed
   */
  constructor(server_ms, store, changed) {
    this.#clock = server_ms;
    this.#store = store;
    this.#changed = changed;
    this.#end_ms = server_ms();
    this.#slider.addEventListener("input", () => this.#slide());
    this.#window.addEventListener("change", () => this.#resize());
    this.#live.addEventListener("click", () => this.go(this.moment === null ? this.#clock() : null));
    for (const button of document.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => this.step(Number(button.getAttribute("data-step"))));
    }
    setInterval(() => this.tick(), 1000);
    this.#resize();
  }

  get #span_s() {
    return Number(this.#window.value);
  }

  #resize() {
    const span = this.#span_s;
    this.#slider.min = String(-span);
    this.#slider.step = String(Math.max(1, span / 3600));
    if (this.moment !== null && this.moment < this.#end_ms - span * 1000) this.go(this.#end_ms - span * 1000);
    else this.#show();
  }

  #slide() {
    if (this.moment === null) this.#end_ms = this.#clock();
    const back_s = Number(this.#slider.value);
    if (back_s >= 0) this.go(null);
    else this.go(this.#end_ms + back_s * 1000);
  }

  /** @param {number} ms From the moment that is shown, live being now. */
  step(ms) {
    const from = this.moment ?? this.#clock();
    if (this.moment === null && ms >= 0) return;
    this.go(from + ms >= this.#clock() ? null : from + ms);
  }

  toggle() {
    this.go(this.moment === null ? this.#clock() : null);
  }

  /** @param {number | null} ms */
  go(ms) {
    if (ms === this.moment) {
      this.#show();
      return;
    }
    if (this.moment === null || ms === null || ms > this.#end_ms) this.#end_ms = this.#clock();
    this.moment = ms;
    if (ms !== null) this.#widen(this.#end_ms - ms);
    this.#show();
    if (ms === null) this.#changed(null);
    this.#told();
  }

  /** @param {number} back_ms A moment that the slider does not reach makes it reach further. */
  #widen(back_ms) {
    const fits = [...this.#window.options].find(({ value }) => Number(value) * 1000 >= back_ms);
    if (back_ms <= this.#span_s * 1000) return;
    this.#window.value = (fits ?? this.#window.options[this.#window.options.length - 1])?.value ?? "600";
    this.#slider.min = String(-this.#span_s);
    this.#slider.step = String(Math.max(1, this.#span_s / 3600));
  }

  tick() {
    if (this.moment === null) this.#end_ms = this.#clock();
    this.#show();
  }

  #show() {
    const live = this.moment === null;
    const now = this.#clock();
    document.documentElement.dataset.time = live ? "live" : "past";
    this.#live.setAttribute("aria-pressed", String(live));
    say(this.#live, live ? "Live" : "Back to live");
    this.#live.title = live ? "Stop here (Space)" : "Back to live (L)";
    this.#slider.value = live ? "0" : String(((this.moment ?? now) - this.#end_ms) / 1000);
    const words = live ? clock(now) : clockOrDay(this.moment ?? now, now);
    const ago = live ? "" : ` (${duration(now - (this.moment ?? now))} ago)`;
    say(this.#now, words);
    this.#now.title = `${words}${ago}`;
    this.#slider.setAttribute("aria-valuetext", live ? "live" : words);
    for (const button of document.querySelectorAll("[data-step^='1']")) button.toggleAttribute("disabled", live);
    this.#draw();
  }

  #draw = seldom(1000, () => {
    const start = this.#end_ms - this.#span_s * 1000;
    const shown = this.#store.notable().filter(({ type, at_ms }) => type !== "track" && at_ms >= start);
    const lines = new Map(
      shown.map((event) => [Math.round((1000 * (event.at_ms - start)) / (this.#span_s * 1000)), mood(event)]),
    );
    this.#marks.replaceChildren(
      ...[...lines].map(([x, kind]) => svg("rect", { x, y: 0, width: 1.5, height: 10, class: kind })),
    );
  });
}
