/**
 * The WebSocket to the server: reconnects for ever with growing pauses, tells what the page is told.
 *
 * Back-pressure: the server sends a picture only while few are under way; each one that was shown or passed over is
 * acknowledged with `got`, at most once a frame of the screen.
 */

import { ApiError, readState } from "./api.js";

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./types.js").Camera} Camera */
/** @typedef {import("./types.js").Broker} Broker */
/** @typedef {import("./types.js").PictureHead} PictureHead */

/**
 * @typedef {object} Told
 * @property {(state: State) => void} hello
 * @property {(event: CameraEvent) => void} event
 * @property {(cameras: Camera[]) => void} cameras
 * @property {(broker: Broker) => void} broker
 * @property {(events: number, pictures: number) => void} skipped
 * @property {(head: PictureHead, picture: Blob) => void} picture
 * @property {(again_ms: number | null, told: string, login: boolean) => void} lost Null: trying now.
 */

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 15_000;
const MOST_AT_ONCE = 500; // More than can be under way.
const QUIET_MS = 20_000; // The server tells of cameras every two seconds at least: a silent link is dead.

/**
 * Pause before a try: doubles up to a bound, with a share left to chance so that many pages do not come at once.
 *
 * @param {number} attempt 0 for the first try after a loss.
 * @param {number} chance 0 to 1.
 */
export const pauseMs = (attempt, chance) =>
  Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 10)) * (0.75 + 0.25 * chance);

/**
 * Head and picture of a binary message: 4 bytes length, JSON, picture.
 *
 * @param {ArrayBuffer} message
 * @returns {{head: PictureHead, picture: Blob}}
 */
export function readPicture(message) {
  const length = new DataView(message).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  return { head, picture: new Blob([new Uint8Array(message, 4 + length)], { type: head.content_type }) };
}

export class Connection {
  /** @type {WebSocket | null} */ #socket = null;
  #attempt = 0;
  #timer = 0;
  #heard = 0;
  #got = 0;
  #flushing = false;
  /** @type {string} */ #watch = "";
  #told;

  /** @param {Told} told */
  constructor(told) {
    this.#told = told;
    setInterval(() => {
      if (this.#socket?.readyState === WebSocket.OPEN && performance.now() - this.#heard > QUIET_MS)
        this.#socket.close();
    }, 5000);
  }

  /** Connect now, whatever pause is running. */
  open() {
    clearTimeout(this.#timer);
    const address = new URL("api/live", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = performance.now();
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#heard = performance.now();
      this.#got = 0;
      if (this.#watch) socket.send(this.#watch);
    };
    socket.onmessage = (message) => this.#receive(message.data);
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      void this.#lose(opened);
    };
  }

  /** @param {boolean} was_open */
  async #lose(was_open) {
    let why = "The server does not answer.";
    let login = false;
    if (!was_open) {
      try {
        await readState();
        why = "The server answers, but not to the live connection.";
      } catch (error) {
        login = error instanceof ApiError && error.status === 401;
        if (error instanceof ApiError && error.status) why = error.message;
      }
    }
    const pause = login ? null : pauseMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.#told.lost(pause, why, login);
    if (pause !== null) this.#timer = window.setTimeout(() => this.open(), pause);
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heard = performance.now();
    if (typeof data !== "string") {
      const { head, picture } = readPicture(data);
      this.#told.picture(head, picture);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "event") this.#told.event(message.event);
    else if (message.type === "cameras") this.#told.cameras(message.cameras);
    else if (message.type === "broker") this.#told.broker(message);
    else if (message.type === "skipped") this.#told.skipped(message.events, message.pictures);
    else if (message.type === "hello") {
      this.#attempt = 0;
      this.#told.hello(message.state);
    }
  }

  /** @param {string[]} cameras @param {string[]} kinds Pictures of these only; told again after each reconnect. */
  watch(cameras, kinds) {
    const words = JSON.stringify({ type: "watch", cameras, kinds });
    if (words === this.#watch) return;
    this.#watch = words;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(words);
  }

  /** One picture was shown, or a newer one took its place. */
  got() {
    this.#got += 1;
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      if (this.#socket?.readyState === WebSocket.OPEN && this.#got) {
        this.#socket.send(JSON.stringify({ type: "got", n: Math.min(this.#got, MOST_AT_ONCE) }));
      }
      this.#got = 0;
    });
  }
}
