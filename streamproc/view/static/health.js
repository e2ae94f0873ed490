/** Does a camera see? Judged from what the server told, with the time as an argument. Pure. */

import { duration, things } from "./format.js";

/** @typedef {import("./types.js").Camera} Camera */

const SILENT_MS = 10_000;
const LATE_MS = 5000;
const REPLAY_MS = 3_600_000; // Frames of more than an hour ago are played again: that is no lag.
export const HOUR_MS = 3_600_000;

/** @typedef {{kind: "ok" | "late" | "blind" | "silent" | "unknown", text: string}} Health */

/**
 * @param {Camera} camera
 * @param {number} now_ms The server's clock.
 * @param {boolean} news False while the broker is gone or the server away: then silence says nothing about cameras.
 * @returns {Health}
 */
export function judge(camera, now_ms, news) {
  if (!news) return { kind: "unknown", text: "No news" };
  if (camera.online === false) {
    const since = camera.blind.find(([, to]) => to === null)?.[0];
    return { kind: "blind", text: since === undefined ? "Blind" : `Blind for ${duration(now_ms - since)}` };
  }
  if (camera.last_event_ms === null) return { kind: "unknown", text: "No frame yet" };
  const quiet = now_ms - camera.last_event_ms;
  if (quiet > SILENT_MS) return { kind: "silent", text: `No frame for ${duration(quiet)}` };
  const late = camera.latency_ms.p50 ?? 0;
  if (late > LATE_MS && late < REPLAY_MS) return { kind: "late", text: `${duration(late)} behind` };
  return { kind: "ok", text: "Seeing" };
}

/**
 * The blind spans of the hour before a moment, as shares of it.
 *
 * @param {Camera} camera
 * @param {number} now_ms
 * @returns {{from: number, to: number, from_ms: number, to_ms: number, open: boolean}[]} `from`, `to`: 0 to 1.
 */
export function spans(camera, now_ms) {
  const start = now_ms - HOUR_MS;
  return camera.blind
    .map(([from, to]) => ({ from_ms: Math.max(from, start), to_ms: Math.min(to ?? now_ms, now_ms), open: to === null }))
    .filter(({ from_ms, to_ms }) => to_ms > from_ms)
    .map((span) => ({ ...span, from: (span.from_ms - start) / HOUR_MS, to: (span.to_ms - start) / HOUR_MS }));
}

/** @param {Camera} camera @param {number} now_ms The blind spans in words. */
export function blindWords(camera, now_ms) {
  const found = spans(camera, now_ms);
  if (!found.length) return "Never blind in the last hour";
  const total = found.reduce((sum, { from_ms, to_ms }) => sum + to_ms - from_ms, 0);
  const now = found.some(({ open }) => open) ? ", blind now" : "";
  return `Blind ${things(found.length, "time")} in the last hour, ${duration(total)} together${now}`;
}

/** @param {Record<string, number>} outcomes @returns {number} Frames that ended otherwise than complete. */
export const notComplete = (outcomes) =>
  Object.entries(outcomes).reduce((sum, [name, number]) => (name === "complete" ? sum : sum + number), 0);
