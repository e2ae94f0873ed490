/** What the page knows of events: bounded, without duplicates. Pure. */

/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").Filter} Filter */

const MAX_NOTABLE = 2000;
const MAX_PLAIN = 1000; // Frames that are complete come by the hundred a second: they never push out the others.

/** @type {Readonly<Filter>} */
export const NO_FILTER = { camera: "", type: "notable", label: "", text: "", outcome: "" };

/** @param {CameraEvent} event Anything but a complete frame. */
export const isNotable = (event) => event.type !== "frame" || event.outcome !== "complete";

/** @param {CameraEvent} event @param {Filter} filter */
export function matches(event, filter) {
  if (filter.camera && event.camera !== filter.camera) return false;
  if (filter.type === "notable" ? !isNotable(event) : filter.type && event.type !== filter.type) return false;
  if (filter.outcome && event.outcome !== filter.outcome) return false;
  if (filter.label && !event.objects.some(({ label }) => holds(label, filter.label))) return false;
  return !filter.text || holds(event.text, filter.text);
}

/** @param {string} text @param {string} words */
const holds = (text, words) => text.toLowerCase().includes(words.toLowerCase());

/** @param {CameraEvent} left @param {CameraEvent} right Newest first. */
export const newestFirst = (left, right) => right.at_ms - left.at_ms || right.sequence - left.sequence;

export class Store {
  /** @type {Map<string, CameraEvent>} Oldest first. */ #notable = new Map();
  /** @type {Map<string, CameraEvent>} */ #plain = new Map();

  /** @param {CameraEvent} event @returns {boolean} It is new. */
  add(event) {
    const [ring, most] = isNotable(event) ? [this.#notable, MAX_NOTABLE] : [this.#plain, MAX_PLAIN];
    if (ring.has(event.id)) return false;
    ring.set(event.id, event);
    for (const id of ring.keys()) {
      if (ring.size <= most) break;
      ring.delete(id);
    }
    return true;
  }

  get size() {
    return this.#notable.size + this.#plain.size;
  }

  /** @param {string} id */
  find(id) {
    return this.#notable.get(id) ?? this.#plain.get(id);
  }

  /** @returns {CameraEvent[]} */
  notable() {
    return [...this.#notable.values()];
  }

  /** @param {Filter} filter @param {number} most @returns {CameraEvent[]} Newest first. */
  matching(filter, most) {
    const all = [...this.#notable.values(), ...(filter.type === "notable" ? [] : this.#plain.values())];
    return all
      .filter((event) => matches(event, filter))
      .sort(newestFirst)
      .slice(0, most);
  }
}
