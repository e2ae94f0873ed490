/** Charts of the last minutes: own small SVG drawings, each with words for its newest values and a table. */

import { ApiError, readSeries } from "./api.js";
import { el, part, say, svg } from "./dom.js";
import { clock, figure } from "./format.js";
import { offerNames } from "./feed.js";

/** @typedef {import("./types.js").Series} Series */
/** @typedef {{name: string, kind: string, values: (number | null)[]}} Line */
/** @typedef {{title: string, unit: string, bars: boolean, lines: (series: Series) => Line[]}} Chart */

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [340, 132, 40, 18, 6];
const REFRESH_MS = 5000;
const TABLE_ROWS = 30;

/** @type {readonly Chart[]} */
const CHARTS = [
  {
    title: "Latency, capture to event",
    unit: "ms",
    bars: false,
    lines: ({ p50, p95 }) => [
      { name: "p50", kind: "first", values: p50 },
      { name: "p95", kind: "second", values: p95 },
    ],
  },
  {
    title: "Frames",
    unit: "a second",
    bars: false,
    lines: ({ frames, step_s }) => [{ name: "frames", kind: "first", values: frames.map((number) => number / step_s) }],
  },
  {
    title: "Objects found",
    unit: "a second",
    bars: false,
    lines: ({ objects, step_s }) => [
      { name: "objects", kind: "first", values: objects.map((number) => number / step_s) },
    ],
  },
  {
    title: "Frames that are not complete",
    unit: "in each step",
    bars: true,
    lines: ({ not_complete }) => [{ name: "not complete", kind: "bad", values: not_complete }],
  },
];

export class Charts {
  #place = part("charts", HTMLDivElement);
  #form = part("chart-form", HTMLFormElement);
  #told = part("charts-told", HTMLParagraphElement);
  #shown = false;
  #reading = false;
  /** @type {Set<string>} Titles of charts whose table is open. */ #open = new Set();

  constructor() {
    this.#form.addEventListener("change", () => void this.#read());
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    setInterval(() => this.#shown && !document.hidden && void this.#read(), REFRESH_MS);
  }

  /** @param {boolean} shown Only charts that can be seen are read. */
  show(shown) {
    this.#shown = shown;
    if (shown) void this.#read();
  }

  /** @param {string[]} names */
  offer(names) {
    offerNames(this.#form.elements.namedItem("camera"), names);
  }

  /** @param {string} camera */
  choose(camera) {
    const select = this.#form.elements.namedItem("camera");
    if (select instanceof HTMLSelectElement && camera) select.value = camera;
    if (this.#shown) void this.#read();
  }

  async #read() {
    if (this.#reading) return;
    const data = new FormData(this.#form);
    if (!data.get("camera")) {
      say(this.#told, "No camera yet.");
      return;
    }
    this.#reading = true;
    try {
      const series = await readSeries(String(data.get("camera") ?? ""), Number(data.get("minutes")));
      settle(series);
      say(this.#told, series.times_ms.length ? "" : "Nothing measured yet: figures begin when the viewer starts.");
      if (!this.#place.contains(document.activeElement)) this.#draw(series);
    } catch (error) {
      say(this.#told, error instanceof ApiError ? `No figures: ${error.message}` : String(error));
    } finally {
      this.#reading = false;
    }
  }

  /** @param {Series} series */
  #draw(series) {
    this.#place.replaceChildren(...CHARTS.map((chart) => this.#figure(chart, series)));
  }

  /** @param {Chart} told @param {Series} series */
  #figure(told, series) {
    const { chart, lines } = inSeconds(told, told.lines(series));
    const newest = lines.map(({ name, values }) => `${name} ${shown(lastOf(values))}`).join(", ");
    const table = el(
      "details",
      {
        open: this.#open.has(chart.title),
        toggle: () => {
          if (table.open) this.#open.add(chart.title);
          else this.#open.delete(chart.title);
        },
      },
      el("summary", {}, "Table", el("span", { class: "unseen" }, ` of ${chart.title}`)),
      rows(chart, lines, series),
    );
    const legend = lines.map(({ name, kind, values }) =>
      el("span", { class: `key ${kind}` }, lines.length > 1 ? `${name} ` : "", el("b", {}, shown(lastOf(values)))),
    );
    return el(
      "figure",
      { class: "chart" },
      el(
        "figcaption",
        {},
        el("span", {}, chart.title, " ", el("small", {}, chart.unit)),
        el("span", { class: "legend" }, ...legend),
      ),
      drawing(chart, lines, series, `${chart.title}, ${chart.unit}; newest: ${newest}`),
      table,
    );
  }
}

/**
 * The step that is still running is left out, and so is all before the viewer's first frame: neither is a measurement.
 *
 * @param {Series} series Changed in place.
 */
function settle(series) {
  const first = Math.max(
    0,
    series.frames.findIndex((number) => number > 0),
  );
  for (const values of [series.times_ms, series.frames, series.p50, series.p95, series.objects, series.not_complete]) {
    values.pop();
    values.splice(0, first);
  }
}

/** Milliseconds above ten thousand are read more easily as seconds. @param {Chart} chart @param {Line[]} lines */
function inSeconds(chart, lines) {
  if (chart.unit !== "ms" || !lines.some(({ values }) => values.some((value) => (value ?? 0) >= 10_000)))
    return { chart, lines };
  const scaled = lines.map((line) => ({
    ...line,
    values: line.values.map((value) => (value === null ? null : value / 1000)),
  }));
  return { chart: { ...chart, unit: "s" }, lines: scaled };
}

/** @param {number | null | undefined} value */
const shown = (value) => (value === null || value === undefined ? "–" : figure(value));

/** @param {(number | null)[]} values @returns {number | null} */
const lastOf = (values) => values.findLast((value) => value !== null) ?? null;

/** @param {number} most A round number at or above it: 1, 2 or 5 times a power of ten. */
function roundUp(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * ([1, 2, 5, 10].find((step) => step * power >= most) ?? 10);
}

/** @param {Chart} chart @param {Line[]} lines @param {Series} series @param {string} words */
function drawing(chart, lines, series, words) {
  const { times_ms } = series;
  const top = roundUp(Math.max(...lines.flatMap(({ values }) => values.map((value) => value ?? 0)), 0));
  const [first, last] = [times_ms[0] ?? 0, times_ms.at(-1) ?? 1];
  /** @param {number} ms */
  const x = (ms) => LEFT + ((ms - first) / Math.max(1, last - first)) * (WIDTH - LEFT - 4);
  /** @param {number} value */
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - TOP);
  const scale = [0, top / 2, top].flatMap((value) => [
    svg("line", { class: "rule", x1: LEFT, x2: WIDTH - 4, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, figure(value)),
  ]);
  const ends =
    times_ms.length > 1
      ? [
          svg("text", { x: LEFT, y: HEIGHT - 4 }, clock(first)),
          svg("text", { x: WIDTH - 4, y: HEIGHT - 4, "text-anchor": "end" }, clock(last)),
        ]
      : [];
  const wide = Math.max(1.5, ((WIDTH - LEFT) / Math.max(1, times_ms.length)) * 0.8);
  const marks = lines.flatMap(({ kind, values }) =>
    chart.bars
      ? values.flatMap((value, index) =>
          value
            ? [
                svg("rect", {
                  class: kind,
                  x: x(times_ms[index] ?? 0) - wide / 2,
                  width: wide,
                  y: y(value),
                  height: y(0) - y(value),
                }),
              ]
            : [],
        )
      : [svg("path", { class: kind, d: pathOf(values, times_ms, x, y) })],
  );
  return svg(
    "svg",
    { class: "drawing", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words },
    ...scale,
    ...ends,
    ...marks,
  );
}

/**
 * Interrupted where there is no value.
 *
 * @param {(number | null)[]} values @param {number[]} times_ms
 * @param {(ms: number) => number} x @param {(value: number) => number} y
 */
function pathOf(values, times_ms, x, y) {
  let pen = "M";
  return values
    .map((value, index) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const part_of = `${pen}${x(times_ms[index] ?? 0).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
      return part_of;
    })
    .join("");
}

/** @param {Chart} chart @param {Line[]} lines @param {Series} series The newest values, newest first. */
function rows(chart, lines, series) {
  const newest = series.times_ms
    .map((ms, index) => ({ ms, index }))
    .slice(-TABLE_ROWS)
    .reverse();
  return el(
    "div",
    { class: "table-scroll", tabindex: 0, role: "region", "aria-label": `Table of ${chart.title}` },
    el(
      "table",
      { class: "facts" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("th", { scope: "col" }, "Time"),
          ...lines.map(({ name }) => el("th", { scope: "col" }, `${name}, ${chart.unit}`)),
        ),
      ),
      el(
        "tbody",
        {},
        ...newest.map(({ ms, index }) =>
          el(
            "tr",
            {},
            el("th", { scope: "row" }, clock(ms)),
            ...lines.map(({ values }) => el("td", {}, shown(values[index]))),
          ),
        ),
      ),
    ),
  );
}
