/** When each camera was blind in the last hour: one bar a camera over a shared scale, and the same in words. */

import { el, part, say, svg } from "./dom.js";
import { clock, duration } from "./format.js";
import { blindWords, hour, HOUR_MS, judge, spans } from "./health.js";

/** @typedef {import("./types.js").Camera} Camera */

/** What colours of the bar mean; the last is the bar's own ground. */
const KINDS = { seen: "frames came", silent: "no frames", blind: "blind", unknown: "not known" };

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
      cameras.map(({ name, blind, online, seen }) => [name, blind, online, seen.length]),
      Math.floor(now_ms / 10_000),
      news,
    ]);
    if (state === this.#drawn || this.#place.contains(document.activeElement)) return;
    this.#drawn = state;
    const ends = [now_ms - HOUR_MS, now_ms - HOUR_MS / 2, now_ms].map((ms) => el("span", {}, clock(ms).slice(0, 5)));
    this.#place.replaceChildren(
      el("div", { class: "hour-scale", "aria-hidden": "true" }, ...ends),
      el(
        "p",
        { class: "hour-legend" },
        ...Object.entries(KINDS).map(([kind, word]) => el("span", { class: kind }, word)),
      ),
      el("ul", { class: "hour-list" }, ...cameras.map((camera) => this.#row(camera, now_ms, news))),
    );
  }

  /** @param {Camera} camera @param {number} now_ms @param {boolean} news */
  #row(camera, now_ms, news) {
    const found = spans(camera, now_ms);
    const words = blindWords(camera, now_ms, news);
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
          "aria-label": words,
        },
        ...hour(camera, now_ms, news).map(({ kind, from, to }) =>
          svg("rect", { class: kind, x: from * 1000, width: Math.max(3, (to - from) * 1000), y: 0, height: 10 }),
        ),
      ),
      told.length
        ? el("details", {}, el("summary", {}, words), el("ul", {}, ...told))
        : el("p", { class: "told" }, words),
    );
  }
}
