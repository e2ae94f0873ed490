/** One event: its pixels, where they come from, and the whole of what was told. */

import { ApiError, readEvent, readEventPicture, wasAborted } from "./api.js";
import { el, part, say } from "./dom.js";
import { milliseconds, moment } from "./format.js";
import { mood } from "./feed.js";

/** @typedef {import("./types.js").CameraEvent} CameraEvent */
/** @typedef {import("./api.js").Place} Place */
/**
 * What is around the dialog: the events beside one in the list, the time bar, the address.
 *
 * @typedef {object} Around
 * @property {(id: string, step: number) => CameraEvent | undefined} beside
 * @property {(ms: number) => void} goTo
 * @property {(event: Place | null) => void} shown
 */

export class EventDialog {
  #dialog = part("event-dialog", HTMLDialogElement);
  #reading = new AbortController();
  #picture_url = "";
  #edges = false;
  /** @type {Place | null} */ #event = null;
  #around;

  /** @param {Around} around */
  constructor(around) {
    this.#around = around;
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#dialog.addEventListener("click", (click) => click.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("keydown", (key) => {
      if (
        !(key.target instanceof HTMLElement) ||
        key.target.closest("pre, input") ||
        key.ctrlKey ||
        key.metaKey ||
        key.altKey
      )
        return;
      if (key.key === "ArrowRight") this.#move(1);
      if (key.key === "ArrowLeft") this.#move(-1);
    });
  }

  #closed() {
    this.#reading.abort();
    this.#forgetPicture();
    this.#dialog.replaceChildren();
    this.#event = null;
    this.#around.shown(null);
  }

  #forgetPicture() {
    if (this.#picture_url) URL.revokeObjectURL(this.#picture_url);
    this.#picture_url = "";
  }

  /** @param {number} step 1: the older one. */
  #move(step) {
    const next = this.#event && this.#around.beside(this.#event.id, step);
    if (next) this.open(next);
  }

  close() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** @param {Place & Partial<CameraEvent>} event All of it, or what a link tells. */
  open(event) {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#forgetPicture();
    this.#event = { id: event.id, camera: event.camera, at_ms: event.at_ms };
    const focused = this.#dialog.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-do")
      : null;
    const stage = el("div", { class: "event-stage" });
    const facts = el(
      "div",
      { class: "event-facts", "aria-busy": "true" },
      el("p", { class: "told" }, "Reading the event…"),
    );
    this.#dialog.replaceChildren(this.#head(event), el("div", { class: "event-body" }, stage, facts));
    if (!this.#dialog.open) this.#dialog.showModal();
    const again = focused && this.#dialog.querySelector(`[data-do="${focused}"]`);
    if (again instanceof HTMLButtonElement && !again.disabled) again.focus();
    else part("event-close", HTMLButtonElement).focus();
    this.#around.shown(this.#event);
    void this.#readPicture(stage);
    void this.#readFacts(facts);
  }

  /** @param {Place & Partial<CameraEvent>} event */
  #head(event) {
    /** @param {string} name @param {string} words @param {number} step */
    const go = (name, words, step) =>
      el(
        "button",
        {
          type: "button",
          class: "button",
          "data-do": name,
          disabled: !this.#around.beside(event.id, step),
          click: () => this.#move(step),
        },
        words,
      );
    const kind = event.type === "frame" ? event.outcome : event.what;
    return el(
      "header",
      { class: "dialog-head" },
      el(
        "div",
        {},
        el(
          "h2",
          { id: "event-title", "data-mood": event.type ? mood(/** @type {CameraEvent} */ (event)) : "plain" },
          [event.camera, event.type, kind].filter(Boolean).join(", "),
        ),
        el("p", { id: "event-told" }, event.text ?? ""),
      ),
      el(
        "div",
        { class: "dialog-tools" },
        go("newer", "Newer", -1),
        go("older", "Older", 1),
        el(
          "button",
          { type: "button", class: "button", id: "event-close", "data-do": "close", click: () => this.#dialog.close() },
          "Close",
        ),
      ),
    );
  }

  /** What a link did not tell. @param {Record<string, any>} event The CloudEvent. */
  #title(event) {
    const type = String(event.type ?? "").replace(/^io\.streamproc\.|\.v\d+$/g, "");
    say(
      part("event-title", HTMLHeadingElement),
      [event.data?.camera, type, event.data?.outcome ?? event.data?.what].filter(Boolean).join(", "),
    );
  }

  /** @param {HTMLElement} stage */
  async #readPicture(stage) {
    if (!this.#event) return;
    const event = this.#event;
    const { signal } = this.#reading;
    const told = el("p", { class: "told", role: "status" }, "Reading its pixels…");
    stage.replaceChildren(told);
    try {
      const picture = await readEventPicture(event, this.#edges, signal);
      if (signal.aborted) return;
      this.#forgetPicture();
      this.#picture_url = URL.createObjectURL(picture);
      stage.replaceChildren(
        el("img", {
          src: this.#picture_url,
          alt: `Pixels of the event on camera ${event.camera}, with what was found${this.#edges ? " and edges" : ""}`,
        }),
      );
    } catch (error) {
      if (wasAborted(error) || signal.aborted) return;
      say(told, error instanceof ApiError ? error.message : "The answer is not a picture.");
      stage.replaceChildren(told);
      return;
    }
    const edges = el("input", {
      type: "checkbox",
      checked: this.#edges,
      change: () => {
        this.#edges = edges.checked;
        void this.#readPicture(stage).then(() => stage.querySelector("input")?.focus());
      },
    });
    stage.append(el("label", { class: "check" }, edges, " Show its edges"));
  }

  /** @param {HTMLElement} facts */
  async #readFacts(facts) {
    if (!this.#event) return;
    const { signal } = this.#reading;
    try {
      const { event, text } = await readEvent(this.#event, signal);
      if (signal.aborted) return;
      facts.replaceChildren(...this.#facts(event, text));
      this.#title(event);
    } catch (error) {
      if (wasAborted(error) || signal.aborted) return;
      facts.replaceChildren(
        el(
          "p",
          { class: "told", role: "status" },
          error instanceof ApiError ? error.message : "The answer is not an event.",
        ),
      );
    } finally {
      facts.removeAttribute("aria-busy");
    }
  }

  /** @param {Record<string, any>} event The CloudEvent. @param {string} json @returns {Node[]} */
  #facts(event, json) {
    const data = event.data ?? {};
    const at_ms = Number(BigInt(data.captured_ns ?? data.at_ns ?? 0) / 1_000_000n);
    const told_ms = this.#event?.at_ms || (data.emitted_ns ? Number(BigInt(data.emitted_ns) / 1_000_000n) : at_ms);
    const of_frame = !String(event.type ?? "").includes(".camera.");
    const command = of_frame ? `streamproc show ${event.id} --out event.png` : "";
    return [
      el(
        "div",
        { class: "dialog-tools" },
        el(
          "button",
          {
            type: "button",
            class: "button",
            click: () => {
              this.close();
              this.#around.goTo(told_ms);
            },
          },
          "Go to this moment",
        ),
        copier("Copy link", () => location.href),
        copier("Copy JSON", () => json),
        ...(command ? [copier("Copy command", () => command)] : []),
      ),
      el("h3", {}, "What"),
      table([
        ["Camera", data.camera],
        [of_frame ? "Captured" : "Noticed", moment(at_ms)],
        ["Outcome", data.outcome],
        ["Reason", data.reason ?? data.data?.reason],
        ["Happened", data.what],
        ["Subject", data.subject],
        ["Step", data.step],
        ["Coverage", typeof data.coverage === "number" ? `${(100 * data.coverage).toFixed(1)} %` : undefined],
        ["Latency", typeof data.latency_ms?.total === "number" ? milliseconds(data.latency_ms.total) : undefined],
        ["Frame", data.width ? `${data.width} × ${data.height} px` : undefined],
        [
          "Objects",
          (data.objects ?? [])
            .map((/** @type {any} */ found) =>
              typeof found.score === "number" ? `${found.label} ${found.score.toFixed(2)}` : found.label,
            )
            .join(", "),
        ],
      ]),
      el("h3", {}, "Evidence"),
      table([
        ["Event", event.id],
        ["Run", data.run],
        ["Sequence", data.sequence],
        ["Topic", data.evidence?.topic],
        ...offsets(data.evidence?.offsets ?? {}),
        ["Pipeline", data.evidence?.pipeline ?? data.pipeline],
        [
          "Operators",
          Object.entries(data.evidence?.operators ?? {})
            .map(([name, version]) => `${name} v${version}`)
            .join(", "),
        ],
        ["Command", command],
      ]),
      el(
        "details",
        {},
        el("summary", {}, "The whole event as JSON"),
        el("pre", { tabindex: 0, "aria-label": "The event as JSON" }, json),
      ),
    ];
  }
}

/** @typedef {[string, string | number | null | undefined]} Fact */

/** @param {Record<string, [number, number]>} found First and last offset by partition. @returns {Fact[]} */
const offsets = (found) =>
  Object.entries(found).map(([partition, [first, last]]) => [
    `Partition ${partition}`,
    first === last ? `offset ${first}` : `offsets ${first} to ${last}`,
  ]);

/** @param {Fact[]} rows Those without a value are left out. */
function table(rows) {
  const told = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return el(
    "table",
    { class: "facts" },
    el(
      "tbody",
      {},
      ...told.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value)))),
    ),
  );
}

/** @param {string} words @param {() => string} text */
function copier(words, text) {
  const button = el(
    "button",
    {
      type: "button",
      class: "button",
      click: async () => {
        try {
          await navigator.clipboard.writeText(text());
          say(button, "Copied");
        } catch {
          say(button, "This browser does not let it");
        }
        setTimeout(() => say(button, words), 1500);
      },
    },
    words,
  );
  return button;
}
