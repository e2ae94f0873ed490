/** Pictures of a moment for the tiles that can be seen: few requests at once, given up when the moment moves. */

import { ApiError, readEvents, readPictureAt, wasAborted } from "./api.js";
import { clockTenths, duration } from "./format.js";
import { prefs } from "./prefs.js";

const AT_ONCE = 3;
const STALE_MS = 2000; // An older picture than this before the moment is told on the picture.
const AROUND_MS = 1500;

/** @typedef {import("./tile.js").Tile} Tile */

export class Past {
  /** @type {number | null} */ moment = null;
  #giving_up = new AbortController();
  /** @type {Set<string>} Cameras that have been asked for at this moment. */ #asked = new Set();
  /** @type {Tile[]} */ #queue = [];
  #busy = 0;

  /** @param {number | null} ms Null: live. @param {Iterable<Tile>} tiles */
  go(ms, tiles) {
    const entering = (this.moment === null) !== (ms === null);
    this.moment = ms;
    this.#giving_up.abort();
    this.#giving_up = new AbortController();
    this.#asked.clear();
    this.#queue = [];
    for (const tile of tiles) {
      if (ms === null) tile.enter(false, "Waiting for the next picture");
      else if (entering) tile.enter(true, "Looking for the picture");
      else tile.frames.clear();
    }
  }

  /** @param {Iterable<Tile>} tiles Those that can be seen now. */
  show(tiles) {
    if (this.moment === null) return;
    const fresh = [...tiles].filter((tile) => !this.#asked.has(tile.camera.name));
    if (!fresh.length) return;
    for (const tile of fresh) this.#asked.add(tile.camera.name);
    this.#queue.push(...fresh);
    const { signal } = this.#giving_up;
    void this.#readBoxes(fresh, this.moment, signal);
    this.#next(signal);
  }

  /** @param {AbortSignal} signal */
  #next(signal) {
    while (this.#busy < AT_ONCE && this.#queue.length && this.moment !== null && !signal.aborted) {
      const tile = this.#queue.shift();
      if (!tile) return;
      this.#busy += 1;
      void this.#read(tile, this.moment, signal).finally(() => {
        this.#busy -= 1;
        this.#next(this.#giving_up.signal);
      });
    }
  }

  /** @param {Tile} tile @param {number} ms @param {AbortSignal} signal */
  async #read(tile, ms, signal) {
    const { name } = tile.camera;
    try {
      const [found, edges] = await Promise.all([
        readPictureAt(name, ms, "preview", signal),
        prefs.edges ? readPictureAt(name, ms, "edges", signal).catch(noEdges) : null,
      ]);
      const bitmap = await createImageBitmap(found.picture);
      const same = edges?.head.run === found.head.run && edges.head.sequence === found.head.sequence;
      const lines = edges && same ? await createImageBitmap(edges.picture) : null;
      if (signal.aborted || !tile.visible) {
        bitmap.close();
        lines?.close();
        this.#asked.delete(name);
        return;
      }
      tile.put(found.head, bitmap, lines);
      const old = ms - found.head.published_ms;
      if (old > AROUND_MS) void this.#readBoxes([tile], found.head.published_ms, signal);
      tile.stamp(old > STALE_MS ? `${duration(old)} before that moment` : clockTenths(found.head.published_ms));
    } catch (error) {
      if (wasAborted(error) || signal.aborted) return;
      tile.tell(error instanceof ApiError ? error.message : "The picture cannot be read.");
    }
  }

  /**
   * The boxes of that time's frames, for all tiles by one request.
   *
   * @param {Tile[]} tiles
   * @param {number} ms
   * @param {AbortSignal} signal
   */
  async #readBoxes(tiles, ms, signal) {
    const one = tiles.length === 1 ? tiles[0]?.camera.name : undefined;
    try {
      const query = {
        type: "frame",
        camera: one,
        from_ms: Math.round(ms - 2 * AROUND_MS),
        to_ms: Math.round(ms + AROUND_MS),
        limit: 500,
      };
      const { events } = await readEvents(query, signal);
      if (signal.aborted) return;
      const by_name = new Map(tiles.map((tile) => [tile.camera.name, tile]));
      for (const event of events.reverse()) by_name.get(event.camera)?.add(event);
    } catch {
      // The picture without its boxes is still worth seeing; the feed tells when the log cannot be read.
    }
  }
}

/** @param {unknown} error Pictures without edges are shown as they are. @returns {null} */
function noEdges(error) {
  if (wasAborted(error)) throw error;
  return null;
}
