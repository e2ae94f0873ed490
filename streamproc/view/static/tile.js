/** One camera: its picture with edges, boxes and trails, how it is, and its blind spans. */

import { COLOURS, prefs } from "./prefs.js";
import { canvasContext, drawBoxes, drawEdges, drawTrail, fit } from "./drawing.js";
import { el, say, svg } from "./dom.js";
import { count, duration, figure, milliseconds } from "./format.js";
import { Frames, frameKey } from "./frames.js";
import { blindWords, hour, judge, REPLAY_MS } from "./health.js";
import { Pairing } from "./pairing.js";

/** @typedef {import("./types.js").Camera} Camera */
/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").PictureHead} PictureHead */

const MAX_RATIO = 2;
const LATE_MS = 3000;

/** @type {Set<Tile>} */
const dirty = new Set();

/** @param {Tile} tile Draw it with the next frame of the screen. */
function drawSoon(tile) {
  if (!dirty.size) {
    requestAnimationFrame(() => {
      const tiles = [...dirty];
      dirty.clear();
      for (const one of tiles) one.draw();
    });
  }
  dirty.add(tile);
}

export class Tile {
  visible = false;
  /** @type {Camera} */ camera;
  frames = new Frames();
  #pairing;
  #context;
  #canvas = el("canvas", { width: 16, height: 9, "aria-hidden": "true" });
  #note = el("span", { class: "tile-note" });
  #stamp = el("span", { class: "tile-stamp", "aria-hidden": "true" });
  #state = el("span", { class: "state" });
  #figures = {
    fps: el("dd"),
    latency: el("dd", { class: "wide" }),
    complete: el("dd", { class: "wide" }),
    lost: el("dd"),
  };
  #bar = svg(
    "svg",
    { class: "blind-bar", viewBox: "0 0 1000 6", preserveAspectRatio: "none", role: "img" },
    svg("title", {}, "The last hour is not known yet"), // until the first update
  );
  #seen_edges_ms = -Infinity;
  #past = false;

  /**
   * @param {Camera} camera
   * @param {(name: string) => void} open
   * @param {() => void} got A picture was shown or passed over.
   */
  constructor(camera, open, got) {
    this.camera = camera;
    this.#pairing = new Pairing(() => this.#changed(), got);
    this.#context = canvasContext(this.#canvas);
    const state = `state-${Math.random().toString(36).slice(2)}`;
    this.#state.id = state;
    this.button = el(
      "button",
      {
        class: "stage",
        type: "button",
        tabindex: -1,
        "aria-label": `Camera ${camera.name}`,
        "aria-describedby": state,
        click: () => open(camera.name),
      },
      this.#canvas,
      this.#note,
      this.#stamp,
    );
    this.element = el(
      "li",
      { class: "tile", "data-camera": camera.name },
      this.button,
      el(
        "div",
        { class: "caption" },
        el("h3", { class: "name", title: camera.name }, camera.name),
        this.#state,
        this.#list(),
      ),
      this.#bar,
    );
    new ResizeObserver(() => this.#resize()).observe(this.button);
  }

  #list() {
    const { fps, latency, complete, lost } = this.#figures;
    const terms = /** @type {[string, HTMLElement][]} */ ([
      ["Frames a second", fps],
      ["Latency p50 and p95", latency],
      ["Complete frames", complete],
      ["Other outcomes", lost],
    ]);
    return el(
      "dl",
      { class: "figures" },
      ...terms.flatMap(([term, value]) => [el("dt", { class: "unseen" }, term), value]),
    );
  }

  #resize() {
    const ratio = Math.min(MAX_RATIO, devicePixelRatio);
    const width = Math.max(16, Math.round(this.button.clientWidth * ratio));
    const height = Math.max(9, Math.round(this.button.clientHeight * ratio));
    if (this.#canvas.width === width && this.#canvas.height === height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.draw();
  }

  /** @param {boolean} visible Pictures of tiles that nobody can see are closed. */
  setVisible(visible) {
    this.visible = visible;
    if (visible) this.redraw();
    else this.#pairing.clear();
  }

  /** @param {CameraEvent} event */
  add(event) {
    this.frames.add(event);
    const shown = this.#pairing.shown.preview;
    if (shown && frameKey(shown.head) === frameKey(event)) this.redraw();
    if (event.type === "frame") this.element.dataset.sequence = String(event.sequence);
  }

  /** @param {PictureHead} head @param {Blob} picture */
  receive(head, picture) {
    if (head.kind === "edges") this.#seen_edges_ms = performance.now();
    this.#pairing.receive(head, picture, prefs.edges && performance.now() - this.#seen_edges_ms < 2000);
  }

  #changed() {
    say(this.#note, "");
    this.redraw();
  }

  redraw() {
    if (this.visible) drawSoon(this);
  }

  draw() {
    const { preview, edges } = this.#pairing.shown;
    const { width, height } = this.#canvas;
    this.#context.fillStyle = "#05070a";
    this.#context.fillRect(0, 0, width, height);
    if (!preview) {
      delete this.element.dataset.frame;
      return;
    }
    const { head, bitmap } = preview;
    const found = this.frames.found(frameKey(head));
    const frame_width = found?.width ?? this.camera.width ?? bitmap.width;
    const place = fit(frame_width, found?.height ?? this.camera.height ?? bitmap.height, width, height);
    this.#context.imageSmoothingQuality = "medium";
    this.#context.drawImage(bitmap, place.x, place.y, place.width, place.height);
    if (edges && prefs.edges)
      drawEdges(this.#context, edges, place, { colour: COLOURS[prefs.colour] ?? "#ffffff", opacity: prefs.opacity });
    const ratio = width / Math.max(1, this.button.clientWidth);
    for (const object of found?.objects ?? []) {
      if (prefs.trails && object.track) drawTrail(this.#context, place, this.frames.trail(head, object.track), ratio);
    }
    if (prefs.boxes && found) drawBoxes(this.#context, place, found.objects, ratio);
    this.element.dataset.frame = frameKey(head);
  }

  /**
   * @param {Camera} camera
   * @param {number} now_ms The server's clock.
   * @param {boolean} news
   */
  update(camera, now_ms, news) {
    this.camera = camera;
    const health = judge(camera, now_ms, news);
    this.element.dataset.health = health.kind;
    say(this.#state, this.#past ? `Now: ${health.text}` : health.text);
    const lost = camera.not_complete;
    say(this.#figures.fps, `${figure(camera.fps)} fps`);
    say(this.#figures.latency, `${milliseconds(camera.latency_ms.p50)} / ${milliseconds(camera.latency_ms.p95)}`);
    say(this.#figures.complete, `${count(camera.outcomes.complete ?? 0)} complete`);
    say(this.#figures.lost, lost ? outcomeWords(camera.outcomes) : "");
    this.#figures.lost.className = lost ? "warn" : "";
    this.#bar.replaceChildren(
      svg("title", {}, blindWords(camera, now_ms, news)),
      ...hour(camera, now_ms, news).map(({ kind, from, to }) =>
        svg("rect", { class: kind, x: from * 1000, width: Math.max(4, (to - from) * 1000), y: 0, height: 6 }),
      ),
    );
    const shown = this.#pairing.shown.preview;
    const late = shown ? ageOf(shown.head, now_ms) : 0;
    if (this.#past) return;
    const old = news && shown && late > LATE_MS && !camera.finished ? `Picture is ${duration(late)} old` : "";
    const why = news && shown && camera.online === false ? (camera.why ?? "") : "";
    say(this.#stamp, [why, old].filter(Boolean).join("; "));
    if (!shown) say(this.#note, this.#waitingWords(now_ms));
  }

  /** @param {number} now_ms */
  #waitingWords(now_ms) {
    const last = this.camera.last_picture_ms;
    if (this.camera.online === false) return this.camera.why ? `Blind: ${this.camera.why}` : "Blind";
    if (last === null) return "No picture yet";
    return now_ms - last > LATE_MS ? `No picture for ${duration(now_ms - last)}` : "Waiting for the next picture";
  }

  /** @param {boolean} past Whether pictures of another time are shown; begins with none. @param {string} note */
  enter(past, note) {
    this.#past = past;
    this.#pairing.clear();
    this.frames.clear();
    say(this.#stamp, "");
    say(this.#note, note);
    this.redraw();
  }

  /** @param {PictureHead} head @param {ImageBitmap} bitmap @param {ImageBitmap | null} edges */
  put(head, bitmap, edges) {
    this.#pairing.put({ head, bitmap }, edges);
  }

  /** @param {string} note Words in place of a picture. */
  tell(note) {
    this.#pairing.clear();
    say(this.#stamp, "");
    say(this.#note, note);
    this.redraw();
  }

  /** @param {string} text Over a corner of the picture. */
  stamp(text) {
    say(this.#stamp, text);
  }
}

/** How old what a picture shows is; when it was published, if it is of a recording. @param {PictureHead} head @param {number} now_ms */
function ageOf(head, now_ms) {
  const captured_ms = Number(head.captured_ns) / 1e6;
  return now_ms - (now_ms - captured_ms < REPLAY_MS ? captured_ms : head.published_ms);
}

/** @param {Record<string, number>} outcomes */
function outcomeWords(outcomes) {
  const found = Object.entries(outcomes).filter(([name, number]) => name !== "complete" && number);
  return found.map(([name, number]) => `${count(number)} ${name}`).join(", ");
}
