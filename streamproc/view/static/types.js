/**
 * Types that modules share; no code. Times: `*_ms` are milliseconds since 1970, `*_ns` decimal strings.
 *
 * @typedef {object} Camera
 * @property {string} name
 * @property {boolean | null} online Null where nothing is told about it.
 * @property {boolean} finished A film or folder that was read to its end.
 * @property {number | null} last_event_ms
 * @property {number | null} last_frame_ms
 * @property {number | null} last_picture_ms
 * @property {number | null} not_complete_ms Since when no frame came out complete; null while they do.
 * @property {string | null} last_outcome Of the newest frame.
 * @property {number} fps Frame events a second over 5 s.
 * @property {Record<string, number>} outcomes
 * @property {number} not_complete Frames of the last hour that ended otherwise than complete, 1000 at the most.
 * @property {{p50: number | null, p95: number | null}} latency_ms
 * @property {string | null} why Why it gives no frames.
 * @property {[number, number | null][]} blind Spans of the last hour; null: still blind.
 * @property {[number, number][]} seen Spans of the last hour in which frames came.
 * @property {number | null} width Of its frames, pixels.
 * @property {number | null} height
 *
 * @typedef {object} FoundObject
 * @property {string} label
 * @property {number | null} score
 * @property {[number, number, number, number]} box x1, y1, x2, y2 in pixels of the frame.
 * @property {string | null} track
 *
 * @typedef {object} CameraEvent
 * @property {string} id
 * @property {"frame" | "track" | "rule" | "anomaly" | "camera"} type
 * @property {string} camera
 * @property {string} run
 * @property {number} sequence
 * @property {string} captured_ns
 * @property {number} captured_ms
 * @property {number} emitted_ms
 * @property {number} at_ms Its record's time: the order of the log.
 * @property {string | null} what
 * @property {string | null} outcome
 * @property {string} text
 * @property {FoundObject[]} objects
 * @property {number | null} width
 * @property {number | null} height
 * @property {number | null} latency_ms
 * @property {number | null} edges_density
 *
 * @typedef {object} Broker
 * @property {boolean} ok
 * @property {string} told
 *
 * @typedef {object} State
 * @property {number} server_ms
 * @property {string} version
 * @property {Broker} broker
 * @property {Camera[]} cameras
 *
 * @typedef {object} PictureHead
 * @property {string} camera
 * @property {string} run
 * @property {number} sequence
 * @property {"preview" | "edges"} kind
 * @property {string} captured_ns
 * @property {number} published_ms
 * @property {string} content_type
 *
 * @typedef {object} Series
 * @property {number} step_s
 * @property {number[]} times_ms
 * @property {number[]} frames
 * @property {(number | null)[]} p50
 * @property {(number | null)[]} p95
 * @property {number[]} objects
 * @property {number[]} not_complete
 *
 * @typedef {object} Filter What the feed shows; an empty string is no condition.
 * @property {string} camera
 * @property {string} type `notable` is everything but complete frames and updates of tracks.
 * @property {string} label
 * @property {string} text
 * @property {string} outcome
 */
export {};
