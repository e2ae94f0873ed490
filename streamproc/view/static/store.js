/** What the page knows of events: bounded, without duplicates. Pure. */

/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").Filter} Filter */

const MAX_NOTABLE = 2000;
const MAX_CAMERA = 500; // What happened to cameras is rare, and is not pushed out by what happened before them.
const MAX_PLAIN = 1000; // Frames that are complete come by the hundred a second: they never push out the others.

/** @type {Readonly<Filter>} */
export const NO_FILTER = { camera: "", type: "notable", label: "", text: "", outcome: "" };

/** @param {CameraEvent} event Anything but a complete frame and the update of a track: of those there is no end. */
const isNotable = ({ type, outcome, what }) =>
  type === "frame" ? outcome !== "complete" : type !== "track" || what !== "update";

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
  /** @type {Map<string, CameraEvent>} Of cameras. */ #camera = new Map();
  /** @type {Map<string, CameraEvent>} */ #plain = new Map();

  /** @param {CameraEvent} event @returns {boolean} It is new. */
  add(event) {
    const [ring, most] = this.#ring(event);
    if (ring.has(event.id)) return false;
    ring.set(event.id, event);
    for (const id of ring.keys()) {
      if (ring.size <= most) break;
      ring.delete(id);
    }
    return true;
  }

  /** @param {CameraEvent} event @returns {[Map<string, CameraEvent>, number]} */
  #ring(event) {
    if (event.type === "camera") return [this.#camera, MAX_CAMERA];
    return isNotable(event) ? [this.#notable, MAX_NOTABLE] : [this.#plain, MAX_PLAIN];
  }

  get size() {
    return this.#notable.size + this.#camera.size + this.#plain.size;
  }

  /** @param {string} id */
  find(id) {
    return this.#notable.get(id) ?? this.#camera.get(id) ?? this.#plain.get(id);
  }

  /** @returns {CameraEvent[]} */
  notable() {
    return [...this.#notable.values(), ...this.#camera.values()];
  }

  /** @param {Filter} filter @param {number} most @returns {CameraEvent[]} Newest first. */
  matching(filter, most) {
    const all = [...this.notable(), ...(filter.type === "notable" ? [] : this.#plain.values())];
    return all
      .filter((event) => matches(event, filter))
      .sort(newestFirst)
      .slice(0, most);
  }
}
