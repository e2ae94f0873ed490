/** Requests to the server; each failure is an ApiError with one line that can be shown. */

/** @typedef {import("./types.js").CameraEvent} CameraEvent */

const BUSY_PAUSES_MS = [300, 900, 2000];

export class ApiError extends Error {
  /** @param {number} status 0 where no answer came. @param {string} told */
  constructor(status, told) {
    super(told);
    this.status = status;
  }
}

/**
 * @param {string} path Relative to the page.
 * @param {Record<string, string | number | undefined>} query Empty and undefined values are left out.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
async function get(path, query, signal) {
  const chosen = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const words = new URLSearchParams(chosen.map(([name, value]) => [name, String(value)]));
  const address = words.size ? `${path}?${words}` : path;
  for (let attempt = 0; ; attempt += 1) {
    const answer = await ask(address, signal);
    const status = Number(answer.headers.get("X-Status") ?? answer.status);
    if (status < 400) return answer;
    const pause = BUSY_PAUSES_MS[attempt];
    if (status !== 503 || pause === undefined) throw new ApiError(status, await told(answer));
    await sleep(pause, signal);
  }
}

/** @param {string} address @param {AbortSignal} [signal] */
async function ask(address, signal) {
  try {
    // What is not there is no error of the page: told as a value it is no red line in the browser's console.
    return await fetch(address, { headers: { Prefer: "handling=lenient" }, ...(signal ? { signal } : {}) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server does not answer.");
  }
}

/** @param {Response} answer */
async function told(answer) {
  if (answer.status === 401) return "You are not logged in here any more.";
  try {
    const body = await answer.json();
    if (body && typeof body.told === "string") return body.told;
  } catch {
    // Not JSON: an answer of something between us and the server.
  }
  return `The server answered ${answer.status} ${answer.statusText}`.trim();
}

/** @param {number} ms @param {AbortSignal} [signal] @returns {Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}

/** @param {unknown} error */
export const wasAborted = (error) => error instanceof DOMException && error.name === "AbortError";

/** @returns {Promise<import("./types.js").State>} */
export const readState = async () => (await get("api/state", {})).json();

/**
 * Events from the log, newest first.
 *
 * @param {Record<string, string | number | undefined>} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<{events: CameraEvent[], more: boolean}>}
 */
export const readEvents = async (query, signal) => (await get("api/events", query, signal)).json();

/**
 * Which event; its camera and time make the search short.
 *
 * @typedef {{id: string, camera: string, at_ms?: number | undefined}} Place
 */

/**
 * The whole event, and its text. Nanoseconds are strings in the value, since numbers lose digits, not in the text.
 *
 * @param {Place} place @param {AbortSignal} signal @returns {Promise<{event: Record<string, any>, text: string}>}
 */
export async function readEvent({ id, camera, at_ms }, signal) {
  const answer = await get(`api/events/${encodeURIComponent(id)}`, { camera, ms: at_ms || undefined }, signal);
  const event = JSON.parse((await answer.text()).replace(/"(\w+_ns)":\s*(\d{16,})/g, '"$1":"$2"'));
  return { event, text: JSON.stringify(event, null, 2).replace(/"(\w+_ns)": "(\d{16,})"/g, '"$1": $2') };
}

/** @param {Place} place @param {boolean} edges @param {AbortSignal} signal */
export const readEventPicture = async ({ id, camera, at_ms }, edges, signal) =>
  (
    await get(
      `api/events/${encodeURIComponent(id)}/picture`,
      { camera, ms: at_ms || undefined, edges: edges ? 1 : 0 },
      signal,
    )
  ).blob();

/** @param {string} camera @param {number} minutes @returns {Promise<import("./types.js").Series>} */
export const readSeries = async (camera, minutes) => (await get("api/series", { camera, minutes })).json();

/**
 * The picture of a camera at a moment: of the pictures topic, else of the frame's own tiles.
 *
 * @param {string} camera
 * @param {number} ms
 * @param {"preview" | "edges"} kind
 * @param {AbortSignal} signal
 * @returns {Promise<{head: import("./types.js").PictureHead, picture: Blob}>}
 */
export async function readPictureAt(camera, ms, kind, signal) {
  let answer;
  try {
    answer = await get("api/at", { camera, ms: Math.round(ms), kind }, signal);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404 || kind !== "preview") throw error;
    answer = await get("api/frame", { camera, ms: Math.round(ms) }, signal);
  }
  const head = JSON.parse(answer.headers.get("X-Frame") ?? "null");
  if (!head) throw new ApiError(answer.status, "The server's answer does not say which frame it is.");
  return { head, picture: await answer.blob() };
}
