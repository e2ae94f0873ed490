/** When each camera was blind in the last hour: one bar a camera over a shared scale, and the same in words. */

import { el, part, say, svg } from "./dom.js";
import { clock, duration } from "./format.js";
import { blindWords, HOUR_MS, judge, spans } from "./health.js";

/** @typedef {import("./types.js").Camera} Camera */

export class Hour {
  #place = part("hour", HTMLDivElement);
  #told = part("hour-told", HTMLParagraphElement);
  #drawn = "";
  #open;

  /** @param {(camera: string) => void} open */
  constructor(open) {
    this.#open = open;
  }

  /** @param {Camera[]} cameras @param {number} now_ms @param {boolean} news */
  draw(cameras, now_ms, news) {
    const ever = cameras.filter((camera) => spans(camera, now_ms).length).length;
    say(
      this.#told,
      cameras.length ? `${ever} of ${cameras.length} were blind within the last hour.` : "No camera yet.",
    );
    const state = JSON.stringify([
      cameras.map(({ name, blind, online }) => [name, blind, online]),
      Math.floor(now_ms / 10_000),
      news,
    ]);
    if (state === this.#drawn || this.#place.contains(document.activeElement)) return;
    this.#drawn = state;
    const ends = [now_ms - HOUR_MS, now_ms - HOUR_MS / 2, now_ms].map((ms) => el("span", {}, clock(ms).slice(0, 5)));
    this.#place.replaceChildren(
      el("div", { class: "hour-scale", "aria-hidden": "true" }, ...ends),
      el("ul", { class: "hour-list" }, ...cameras.map((camera) => this.#row(camera, now_ms, news))),
    );
  }

  /** @param {Camera} camera @param {number} now_ms @param {boolean} news */
  #row(camera, now_ms, news) {
    const found = spans(camera, now_ms);
    const told = found.map(({ from_ms, to_ms, open }) =>
      el("li", {}, `${clock(from_ms)} to ${open ? "now" : clock(to_ms)} (${duration(to_ms - from_ms)})`),
    );
    return el(
      "li",
      { "data-health": judge(camera, now_ms, news).kind },
      el(
        "div",
        { class: "hour-head" },
        el("button", { type: "button", class: "plain", click: () => this.#open(camera.name) }, camera.name),
        el("span", {}, judge(camera, now_ms, news).text),
      ),
      svg(
        "svg",
        {
          class: "blind-bar tall",
          viewBox: "0 0 1000 10",
          preserveAspectRatio: "none",
          role: "img",
          "aria-label": blindWords(camera, now_ms),
        },
        ...found.map(({ from, to }) =>
          svg("rect", { x: from * 1000, width: Math.max(3, (to - from) * 1000), y: 0, height: 10 }),
        ),
      ),
      told.length
        ? el("details", {}, el("summary", {}, blindWords(camera, now_ms)), el("ul", {}, ...told))
        : el("p", { class: "told" }, blindWords(camera, now_ms)),
    );
  }
}
