/**
 * Pictures of one camera: decodes the newest of each kind, brings preview and edges of one frame together.
 *
 * At most one picture of a kind is being decoded and one waits; whatever gives way to a newer one is closed at once.
 */

import { frameKey } from "./frames.js";

/** @typedef {import("./types.js").PictureHead} PictureHead */
/** @typedef {{head: PictureHead, bitmap: ImageBitmap}} Decoded */
/** @typedef {{preview: Decoded | null, edges: ImageBitmap | null}} Shown */

const EDGES_WAIT_MS = 70; // A preview waits so long for the edges of its frame, which are sent right after it.

export class Pairing {
  /** @type {Shown} What is to be seen now; edges only of the preview's own frame. */ shown = {
    preview: null,
    edges: null,
  };
  /** @type {Decoded | null} A preview that waits for its edges. */ #held = null;
  /** @type {Decoded | null} Edges that came before their preview. */ #early = null;
  /** @type {Map<string, {head: PictureHead, picture: Blob}>} */ #waiting = new Map();
  /** @type {Set<string>} */ #decoding = new Set();
  #timer = 0;
  #generation = 0;
  #changed;
  #done;

  /**
   * @param {() => void} changed `shown` is another.
   * @param {() => void} done A picture that `receive` got was used or passed over; once for each.
   */
  constructor(changed, done) {
    this.#changed = changed;
    this.#done = done;
  }

  /** @param {PictureHead} head @param {Blob} picture @param {boolean} with_edges A preview is to wait for its edges. */
  receive(head, picture, with_edges) {
    if (this.#waiting.has(head.kind)) this.#done();
    this.#waiting.set(head.kind, { head, picture });
    if (!this.#decoding.has(head.kind)) void this.#decode(head.kind, with_edges);
  }

  /** @param {"preview" | "edges"} kind @param {boolean} with_edges */
  async #decode(kind, with_edges) {
    this.#decoding.add(kind);
    for (let next = this.#waiting.get(kind); next; next = this.#waiting.get(kind)) {
      this.#waiting.delete(kind);
      const generation = this.#generation;
      try {
        const bitmap = await createImageBitmap(next.picture);
        if (generation === this.#generation) this.#place({ head: next.head, bitmap }, with_edges);
        else bitmap.close();
      } catch {
        // Not a picture after all: the next one may be.
      }
      this.#done();
    }
    this.#decoding.delete(kind);
  }

  /** @param {Decoded} decoded @param {boolean} with_edges */
  #place(decoded, with_edges) {
    const key = frameKey(decoded.head);
    if (decoded.head.kind === "edges") {
      if (this.#held && frameKey(this.#held.head) === key) this.#show(this.#held, decoded.bitmap);
      else if (this.shown.preview && frameKey(this.shown.preview.head) === key) this.#showEdges(decoded.bitmap);
      else {
        this.#early?.bitmap.close();
        this.#early = decoded;
      }
      return;
    }
    const early = this.#early && frameKey(this.#early.head) === key ? this.#early : null;
    if (early || !with_edges) {
      if (early) this.#early = null;
      this.#show(decoded, early?.bitmap ?? null);
      return;
    }
    if (this.#held) this.#show(this.#held, null);
    this.#held = decoded;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#held && this.#show(this.#held, null), EDGES_WAIT_MS);
  }

  /** @param {Decoded} preview @param {ImageBitmap | null} edges */
  #show(preview, edges) {
    if (this.#held && this.#held !== preview) this.#held.bitmap.close();
    this.#held = null;
    clearTimeout(this.#timer);
    if (this.shown.preview !== preview) this.shown.preview?.bitmap.close();
    this.shown.edges?.close();
    this.shown = { preview, edges };
    this.#changed();
  }

  /** @param {ImageBitmap} edges */
  #showEdges(edges) {
    this.shown.edges?.close();
    this.shown.edges = edges;
    this.#changed();
  }

  /** Show a picture that was asked for, and no other. @param {Decoded} preview @param {ImageBitmap | null} edges */
  put(preview, edges) {
    this.clear();
    this.shown = { preview, edges };
    this.#changed();
  }

  /** Close all pictures; what is being decoded is dropped when it is ready. */
  clear() {
    this.#generation += 1;
    clearTimeout(this.#timer);
    for (const bitmap of [this.shown.preview?.bitmap, this.shown.edges, this.#held?.bitmap, this.#early?.bitmap])
      bitmap?.close();
    this.#held = this.#early = null;
    this.shown = { preview: null, edges: null };
    for (const kind of [...this.#waiting.keys()]) {
      this.#waiting.delete(kind);
      this.#done();
    }
  }
}
