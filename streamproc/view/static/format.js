/** Numbers and times as words. Pure. */

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

/** @param {number} ms Local time of day, as 14:03:09. */
export const clock = (ms) => CLOCK.format(ms);

/** @param {number} ms With tenths of a second, as 14:03:09.4. */
export const clockTenths = (ms) => `${CLOCK.format(ms)}.${Math.floor((ms % 1000) / 100)}`;

/** @param {number} ms Day and time of day. */
export const moment = (ms) => `${DAY.format(ms)}, ${clockTenths(ms)}`;

/** @param {number} ms @param {number} now_ms The day only where it is not today's. */
export function clockOrDay(ms, now_ms) {
  return DAY.format(ms) === DAY.format(now_ms) ? clock(ms) : `${DAY.format(ms)}, ${clock(ms)}`;
}

/**
 * A length of time in at most two units: `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
 *
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  const min = Math.round(s / 60);
  if (min < 24 * 60) return two(Math.floor(min / 60), "h", min % 60, "min");
  const h = Math.round(min / 60);
  return two(Math.floor(h / 24), "d", h % 24, "h");
}

/** @param {number} large @param {string} unit @param {number} small @param {string} part */
const two = (large, unit, small, part) => (small ? `${large} ${unit} ${small} ${part}` : `${large} ${unit}`);

/** @param {number | null | undefined} value Milliseconds as a figure; a dash where nothing is known. */
export const milliseconds = (value) => (value === null || value === undefined ? "–" : duration(value));

/** @param {number} value 999, 1.2 k, 15 k, 2.3 M: four characters at most. */
export function count(value) {
  if (value < 1000) return String(value);
  const [scaled, unit] = value < 999_500 ? [value / 1000, "k"] : [value / 1_000_000, "M"];
  return `${scaled < 9.95 ? scaled.toFixed(1) : Math.round(scaled)} ${unit}`;
}

/** @param {number} number @param {string} one @param {string} [many] */
export const things = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** @param {number} value A figure with one decimal below ten. */
export const figure = (value) =>
  value < 9.95 && !Number.isInteger(value) ? value.toFixed(1) : String(Math.round(value));
