/** What was found on the last frames of one camera: boxes by frame, and where each track has been. Bounded, pure. */

/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").FoundObject} FoundObject */
/** @typedef {{x: number, y: number, sequence: number}} TrailPoint Where a box stands: the middle of its lower edge. */
/** @typedef {{objects: FoundObject[], width: number | null, height: number | null}} Found */

const MAX_FRAMES = 150;
const MAX_TRACKS = 200;
const MAX_POINTS = 40;

/** @param {{run: string, sequence: number}} frame */
export const frameKey = (frame) => `${frame.run}/${frame.sequence}`;

export class Frames {
  /** @type {Map<string, Found>} Oldest first. */ #frames = new Map();
  /** @type {Map<string, TrailPoint[]>} Longest without a point first. */ #trails = new Map();

  /** @param {CameraEvent} event */
  add(event) {
    if (event.type !== "frame") return;
    const key = frameKey(event);
    this.#frames.delete(key);
    this.#frames.set(key, { objects: event.objects, width: event.width, height: event.height });
    trim(this.#frames, MAX_FRAMES);
    for (const { track, box } of event.objects) {
      if (!track) continue;
      const name = `${event.run}/${track}`;
      const points = this.#trails.get(name) ?? [];
      const last = points.at(-1);
      if (last && last.sequence >= event.sequence) continue;
      points.push({ x: (box[0] + box[2]) / 2, y: box[3], sequence: event.sequence });
      if (points.length > MAX_POINTS) points.shift();
      this.#trails.delete(name);
      this.#trails.set(name, points);
    }
    trim(this.#trails, MAX_TRACKS);
  }

  /** @param {string} key @returns {Found | undefined} */
  found(key) {
    return this.#frames.get(key);
  }

  /**
   * The last positions of a track up to a frame, oldest first.
   *
   * @param {{run: string, sequence: number}} frame
   * @param {string} track
   * @returns {TrailPoint[]}
   */
  trail(frame, track) {
    return (this.#trails.get(`${frame.run}/${track}`) ?? []).filter(({ sequence }) => sequence <= frame.sequence);
  }

  /** Forget all, as before pictures of another time. */
  clear() {
    this.#frames.clear();
    this.#trails.clear();
  }
}

/** @param {Map<string, unknown>} map @param {number} most */
function trim(map, most) {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
