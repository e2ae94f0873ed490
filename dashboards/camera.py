"""One camera or some: alive, how fast, how much, what became of its frames."""

from __future__ import annotations

from dashboards.grafana import GREEN, GREY, PER_SECOND, RED, YELLOW, ZERO_IF_TOLD, Dashboard, Panel, Row, one, quantiles

CAMERA = '{camera=~"$camera"}'
DROPPED = '{camera=~"$camera",reason!="fps"}'
INCOMPLETE = '{camera=~"$camera",outcome!="complete"}'

CAMERA_PAGE = Dashboard(
    uid="streamproc-camera",
    title="streamproc: camera",
    description="One camera or some: alive, how fast, how much, what became of its frames.",
    variables=(("camera", "label_values(streamproc_frames_published_total, camera)"),),
    rows=(
        Row(
            title="Alive",
            panels=(
                Panel(
                    title="Blind for",
                    kind="stat",
                    width=6,
                    height=4,
                    unit="s",
                    queries=one(f"max(time() - streamproc_camera_last_frame_timestamp_seconds{CAMERA})"),
                    thresholds=((None, GREY), (0, GREEN), (5, YELLOW), (15, RED)),
                    description="Since the last frame of the camera that is blind for longest.",
                ),
                Panel(
                    title="Online in this time",
                    kind="stat",
                    width=6,
                    height=4,
                    unit="percentunit",
                    queries=one(f"avg(avg_over_time(streamproc_camera_up{CAMERA}[$__range]))"),
                    thresholds=((None, RED), (0.95, YELLOW), (0.999, GREEN)),
                    description="Share of the shown time in which the camera gave frames.",
                ),
                Panel(
                    title="Frames never sent in this time",
                    kind="stat",
                    width=6,
                    height=4,
                    queries=one(
                        f"sum(increase(streamproc_frames_failed_total{CAMERA}[$__range]))"
                        f" + sum(increase(streamproc_frames_dropped_total{DROPPED}[$__range]))"
                    ),
                    thresholds=ZERO_IF_TOLD,
                    description="Let go because the broker took too little, or not acknowledged by it.",
                ),
                Panel(
                    title="Frames not complete in this time",
                    kind="stat",
                    width=6,
                    height=4,
                    queries=one(f"sum(increase(streamproc_frames_total{INCOMPLETE}[$__range]))"),
                    thresholds=ZERO_IF_TOLD,
                    description="Ended partial, expired or rejected; their events say why.",
                    link="streamproc-pipeline",
                ),
                Panel(
                    title="Online",
                    kind="state-timeline",
                    width=12,
                    queries=one(f"min by (camera) (streamproc_camera_up{CAMERA})", "{{camera}}"),
                    thresholds=((None, RED), (1, GREEN)),
                    description="Green while the camera gives frames. Only cameras of `streamproc ingest` are here.",
                ),
                Panel(
                    title="Frames a second",
                    unit=PER_SECOND,
                    width=12,
                    queries=(
                        *one(f"streamproc_camera_fps{CAMERA}", "given {{camera}}"),
                        *one(
                            f"sum by (camera) (rate(streamproc_frames_published_total{CAMERA}[$__rate_interval]))",
                            "published {{camera}}",
                        ),
                    ),
                    description="What the camera gives and what is sent. Given sags: light, network or the camera.",
                ),
                Panel(
                    title="Lost, by reason",
                    width=6,
                    queries=one(
                        f"sum by (camera, reason) (increase(streamproc_camera_lost_total{CAMERA}[$__rate_interval]))"
                        " > 0 or on (camera) sum by (camera)"
                        f" (increase(streamproc_camera_lost_total{CAMERA}[$__rate_interval]))",
                        "{{camera}} {{reason}}",
                    ),
                    description="unauthorized: password. unreachable, timeout: network. stalled, frozen: the camera.",
                ),
                Panel(
                    title="Gaps",
                    width=6,
                    unit="s",
                    queries=one(
                        f"sum by (camera) (increase(streamproc_camera_gap_seconds_total{CAMERA}[$__rate_interval]))",
                        "{{camera}}",
                    ),
                    description="Seconds without frames while it was online.",
                ),
                Panel(
                    title="Number of gaps, events lost",
                    width=6,
                    queries=(
                        *one(
                            f"sum by (camera) (increase(streamproc_camera_gaps_total{CAMERA}[$__rate_interval]))",
                            "gaps {{camera}}",
                        ),
                        *one("sum(increase(streamproc_camera_events_lost_total[$__rate_interval]))", "events lost"),
                    ),
                    description="Many short gaps: an overloaded network. Events lost: the broker was gone for long.",
                ),
                Panel(
                    title="Reconnects and clock steps",
                    width=6,
                    queries=(
                        *one(
                            f"sum by (camera) (increase(streamproc_camera_reconnects_total{CAMERA}[$__rate_interval]))",
                            "reconnects {{camera}}",
                        ),
                        *one(
                            "sum by (camera)"
                            f" (increase(streamproc_camera_clock_steps_total{CAMERA}[$__rate_interval]))",
                            "clock steps {{camera}}",
                        ),
                    ),
                    description="Many reconnects: network or power. Clock steps: give the camera NTP.",
                ),
            ),
        ),
        Row(
            title="Frames",
            panels=(
                Panel(
                    title="Frames by outcome",
                    unit=PER_SECOND,
                    queries=one(
                        f"sum by (camera, outcome) (rate(streamproc_frames_total{CAMERA}[$__rate_interval]))",
                        "{{camera}} {{outcome}}",
                    ),
                    description="All should be complete.",
                ),
                Panel(
                    title="Dropped and failed",
                    unit=PER_SECOND,
                    queries=(
                        *one(
                            f"sum by (camera, reason) (rate(streamproc_frames_dropped_total{CAMERA}"
                            "[$__rate_interval])) > 0 or on (camera) sum by (camera)"
                            f" (rate(streamproc_frames_dropped_total{CAMERA}[$__rate_interval]))",
                            "{{camera}} dropped {{reason}}",
                        ),
                        *one(
                            f"sum by (camera) (rate(streamproc_frames_failed_total{CAMERA}[$__rate_interval]))",
                            "{{camera}} failed",
                        ),
                    ),
                    description="Reason fps: fewer are wanted than it gives. Others: the broker takes too little."
                    " Failed: the broker did not acknowledge them.",
                ),
                Panel(
                    title="Capture to event",
                    unit="s",
                    queries=quantiles("streamproc_event_latency_seconds", only=CAMERA),
                    description="Of this camera's frames.",
                ),
                Panel(
                    title="Bytes published",
                    width=12,
                    unit="Bps",
                    queries=one(
                        f"sum by (camera) (rate(streamproc_published_bytes_total{CAMERA}[$__rate_interval]))",
                        "{{camera}}",
                    ),
                    description="Encoded tiles. `changed_only` saves most of it for a camera that stands still.",
                ),
                Panel(
                    title="Tiles unchanged and shed",
                    width=12,
                    unit=PER_SECOND,
                    queries=(
                        *one(
                            f"sum by (camera) (rate(streamproc_tiles_unchanged_total{CAMERA}[$__rate_interval]))",
                            "unchanged {{camera}}",
                        ),
                        *one(
                            f"sum by (camera) (rate(streamproc_tiles_shed_total{CAMERA}[$__rate_interval]))",
                            "shed {{camera}}",
                        ),
                    ),
                    description="Of cameras with `changed_only`. Shed: changed, and there was no room to send it.",
                ),
            ),
        ),
    ),
)
