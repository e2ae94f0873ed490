/** Does a camera see? Judged from what the server told, with the time as an argument. Pure. */

import { duration, things } from "./format.js";

/** @typedef {import("./types.js").Camera} Camera */

const SILENT_MS = 10_000;
const LOST_MS = 10_000; // Frames come, and for so long none came out complete.
const LATE_MS = 5000;
export const REPLAY_MS = 3_600_000; // Frames of more than an hour ago are played again: that is no lag.
export const HOUR_MS = 3_600_000;
const UNKNOWN_MS = 60_000; // Less than a minute is not worth a word.

/** @typedef {{kind: "ok" | "late" | "lost" | "blind" | "silent" | "finished" | "unknown", text: string}} Health */

/**
 * @param {Camera} camera
 * @param {number} now_ms The server's clock.
 * @param {boolean} news False while the broker is gone or the server away: then silence says nothing about cameras.
 * @returns {Health}
 */
export function judge(camera, now_ms, news) {
  if (!news) return { kind: "unknown", text: "No news" };
  const still = now_ms - (camera.last_frame_ms ?? 0) > SILENT_MS; // Frames on their way come after the film's end.
  if (camera.finished && still) {
    if (camera.not_complete_ms === null) return { kind: "finished", text: "Finished" };
    return { kind: "lost", text: `Finished, its last frames ${camera.last_outcome ?? "not complete"}` };
  }
  if (camera.online === false) {
    const since = camera.blind.find(([, to]) => to === null)?.[0];
    return { kind: "blind", text: since === undefined ? "Blind" : `Blind for ${duration(now_ms - since)}` };
  }
  if (camera.last_event_ms === null) return { kind: "unknown", text: "No frame yet" };
  const quiet = now_ms - camera.last_event_ms;
  if (quiet > SILENT_MS) return { kind: "silent", text: `No frame for ${duration(quiet)}` };
  if (camera.not_complete_ms !== null && now_ms - camera.not_complete_ms > LOST_MS) {
    const why = camera.last_outcome ? `: ${camera.last_outcome}` : "";
    return { kind: "lost", text: `No complete frame for ${duration(now_ms - camera.not_complete_ms)}${why}` };
  }
  const late = lateMs(camera);
  if (late) return { kind: "late", text: `${duration(late)} behind` };
  return { kind: "ok", text: "Seeing" };
}

/** @param {Camera} camera How far it is behind; 0 where that is nothing, or its frames are played again. */
function lateMs(camera) {
  const late = camera.latency_ms.p50 ?? 0;
  return late > LATE_MS && late < REPLAY_MS ? late : 0;
}

/** @param {Camera[]} cameras How far they are behind, in words for the head: the worst of them, and how many. */
export function behindWords(cameras) {
  const late = cameras.map(lateMs).filter(Boolean);
  if (!late.length) return "";
  const of = late.length < cameras.length ? `${late.length} of ${cameras.length} cameras ` : "";
  return `${of}${duration(Math.max(...late))} behind`;
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

/**
 * The hour as it is drawn, later ones over earlier: when frames came, when none did, when it was blind. What none of
 * them covers is not known: nothing was told of the camera.
 *
 * @param {Camera} camera
 * @param {number} now_ms
 * @param {boolean} news
 * @returns {{kind: "seen" | "silent" | "blind", from: number, to: number, from_ms: number, to_ms: number}[]}
 */
export function hour(camera, now_ms, news) {
  const start = now_ms - HOUR_MS;
  /** @param {"seen" | "silent"} kind @param {number} from_ms @param {number} to_ms */
  const part = (kind, from_ms, to_ms) => ({
    kind,
    from_ms,
    to_ms,
    from: Math.max(0, from_ms - start) / HOUR_MS,
    to: Math.min(HOUR_MS, to_ms - start) / HOUR_MS,
  });
  const parts = camera.seen.flatMap(([from_ms, to_ms], index) => {
    const next = camera.seen[index + 1]?.[0];
    const expected = news && !camera.finished;
    const quiet_ms = next ?? (expected && now_ms - to_ms > SILENT_MS ? now_ms : undefined);
    const seen = part("seen", from_ms, quiet_ms === undefined && expected ? now_ms : to_ms);
    return quiet_ms === undefined ? [seen] : [seen, part("silent", to_ms, quiet_ms)];
  });
  return [...parts, ...spans(camera, now_ms).map((span) => ({ ...span, kind: /** @type {const} */ ("blind") }))];
}

/** @param {Camera} camera @param {number} now_ms @param {boolean} news The hour in words. */
export function blindWords(camera, now_ms, news) {
  const found = spans(camera, now_ms);
  const parts = hour(camera, now_ms, news);
  const quiet = parts.filter(({ kind, from_ms, to_ms }) => kind === "silent" && !within(from_ms, to_ms, found));
  const unknown = HOUR_MS - covered(parts);
  const now = found.some(({ open }) => open) ? ", blind now" : "";
  const blind = found.length
    ? `Blind ${things(found.length, "time")} in the last hour, ${duration(total(found))} together${now}`
    : unknown >= UNKNOWN_MS
      ? "Not blind in what is known of the last hour"
      : "Never blind in the last hour";
  const silent = quiet.length ? `no frames ${things(quiet.length, "time")}, ${duration(total(quiet))} together` : "";
  const rest = unknown >= UNKNOWN_MS ? `not known for ${Math.round(unknown / 60_000)} min` : "";
  return [blind, silent, rest].filter(Boolean).join("; ");
}

/** @param {{from_ms: number, to_ms: number}[]} parts */
const total = (parts) => parts.reduce((sum, { from_ms, to_ms }) => sum + to_ms - from_ms, 0);

/** @param {number} from_ms @param {number} to_ms @param {{from_ms: number, to_ms: number}[]} parts Overlaps one. */
const within = (from_ms, to_ms, parts) => parts.some((part) => part.from_ms < to_ms && from_ms < part.to_ms);

/** @param {{from_ms: number, to_ms: number}[]} parts Time that at least one of them covers. */
function covered(parts) {
  let [sum, reached] = [0, -Infinity];
  for (const { from_ms, to_ms } of [...parts].sort((left, right) => left.from_ms - right.from_ms)) {
    sum += Math.max(0, to_ms - Math.max(from_ms, reached));
    reached = Math.max(reached, to_ms);
  }
  return sum;
}
