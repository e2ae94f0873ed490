"""What the alerts are asked in `promtool test rules`: a pipeline in health, and one thing that is different.

`python -m tests.dashboards.rule_cases` writes `dashboards/streamproc.rules-test.yml`. Series are in promtool's words:
`0+150x160` begins at 0 and grows by 150 each quarter of a minute, `_x4` is four scrapes without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from dashboards.rules import FILE

TEST_FILE: Final = FILE.with_name("streamproc.rules-test.yml")
STEPS: Final = 200  # of a quarter of a minute
PRODUCER: Final = 'job="ingest",instance="p"'
EXTRACT: Final = 'job="workers",instance="e"'
AGGREGATE: Final = 'job="workers",instance="a"'
SINK: Final = 'job="sinks",instance="s"'

HEALTHY: Final[Mapping[str, str]] = {
    **{f"up{{{one}}}": f"1x{STEPS}" for one in (PRODUCER, EXTRACT, AGGREGATE, SINK)},
    **{f"streamproc_build_info{{{one}}}": f"1x{STEPS}" for one in (PRODUCER, EXTRACT, AGGREGATE, SINK)},
    **{f"process_start_time_seconds{{{one}}}": f"0x{STEPS}" for one in (PRODUCER, EXTRACT, AGGREGATE, SINK)},
    f'streamproc_camera_up{{{PRODUCER},camera="gate"}}': f"1x{STEPS}",
    f'streamproc_frames_published_total{{{PRODUCER},camera="gate"}}': f"0+150x{STEPS}",
    f'streamproc_frames_failed_total{{{PRODUCER},camera="gate"}}': f"0x{STEPS}",
    f'streamproc_frames_dropped_total{{{PRODUCER},camera="gate",reason="fps"}}': f"0+75x{STEPS}",
    f'streamproc_frames_dropped_total{{{PRODUCER},camera="gate",reason="drop-oldest"}}': f"0x{STEPS}",
    f'streamproc_camera_lost_total{{{PRODUCER},camera="gate",reason="timeout"}}': f"0x{STEPS}",
    f"streamproc_camera_events_lost_total{{{PRODUCER}}}": f"0x{STEPS}",
    f'streamproc_buffer_bytes{{{PRODUCER},buffer="producer"}}': f"100x{STEPS}",
    f'streamproc_buffer_limit_bytes{{{PRODUCER},buffer="producer"}}': f"1000x{STEPS}",
    f'streamproc_buffer_bytes{{{EXTRACT},buffer="references"}}': f"1000x{STEPS}",
    f'streamproc_buffer_limit_bytes{{{EXTRACT},buffer="references"}}': f"1000x{STEPS}",
    f'streamproc_consumer_lag_seconds{{{EXTRACT},topic="streamproc.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_records{{{EXTRACT},topic="streamproc.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_seconds{{{AGGREGATE},topic="streamproc.features"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_records{{{AGGREGATE},topic="streamproc.features"}}': f"0x{STEPS}",
    f'streamproc_deadletters_total{{{EXTRACT},stage="extract",reason="decode"}}': f"0x{STEPS}",
    f"streamproc_rebalances_total{{{EXTRACT}}}": f"2x{STEPS}",
    f"streamproc_open_frames{{{AGGREGATE}}}": f"2x{STEPS}",
    f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="complete"}}': f"0+150x{STEPS}",
    f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="expired"}}': f"0x{STEPS}",
    f'streamproc_event_latency_seconds_bucket{{{AGGREGATE},camera="gate",le="1.0"}}': f"0+150x{STEPS}",
    f'streamproc_event_latency_seconds_bucket{{{AGGREGATE},camera="gate",le="+Inf"}}': f"0+150x{STEPS}",
    f'streamproc_event_latency_seconds_count{{{AGGREGATE},camera="gate"}}': f"0+150x{STEPS}",
    f'streamproc_sink_events_total{{{SINK},kind="jsonl",outcome="refused"}}': f"0x{STEPS}",
    f'streamproc_sink_retries_total{{{SINK},kind="jsonl"}}': f"0x{STEPS}",
    f'streamproc_disk_free_bytes{{{SINK},kind="sink"}}': f"700x{STEPS}",
    f'streamproc_disk_size_bytes{{{SINK},kind="sink"}}': f"1000x{STEPS}",
    f'streamproc_certificate_end_timestamp_seconds{{{EXTRACT},kind="ca"}}': f"31536000x{STEPS}",
    f'streamproc_replay_frames_total{{{PRODUCER},source="log",target="same"}}': f"0x{STEPS}",
}

PUBLISHED: Final = f'streamproc_frames_published_total{{{PRODUCER},camera="gate"}}'
ENDED: Final = f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="complete"}}'
EXPIRED: Final = f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="expired"}}'
OPEN: Final = f"streamproc_open_frames{{{AGGREGATE}}}"
LAG_S: Final = f'streamproc_consumer_lag_seconds{{{EXTRACT},topic="streamproc.tiles"}}'
LAG: Final = f'streamproc_consumer_lag_records{{{EXTRACT},topic="streamproc.tiles"}}'
FEATURES: Final = f'streamproc_consumer_lag_records{{{AGGREGATE},topic="streamproc.features"}}'
FAST: Final = f'streamproc_event_latency_seconds_bucket{{{AGGREGATE},camera="gate",le="1.0"}}'
ALL: Final = f'streamproc_event_latency_seconds_bucket{{{AGGREGATE},camera="gate",le="+Inf"}}'
COUNT: Final = f'streamproc_event_latency_seconds_count{{{AGGREGATE},camera="gate"}}'


def up(one: str) -> str:
    """The series of a target that is scraped."""
    return f"up{{{one}}}"


def info(one: str) -> str:
    """That of a process's version."""
    return f"streamproc_build_info{{{one}}}"


def start(one: str) -> str:
    """That of a process's start."""
    return f"process_start_time_seconds{{{one}}}"


def of(one: str) -> dict[str, str]:
    """All series of a process in health, but that it is scraped."""
    return {name: values for name, values in HEALTHY.items() if one in name and not name.startswith("up{")}


def gap(one: str, first: int, last: int) -> dict[str, str]:
    """A process that is not reached for some scrapes, and counts on meanwhile."""
    return {
        up(one): f"1x{first} 0x{last - first - 1} 1x{STEPS - last}",
        **{name: _with_gap(values, first, last) for name, values in of(one).items()},
    }


def _with_gap(values: str, first: int, last: int) -> str:
    begin, _, growth = values.rpartition("x")[0].partition("+")
    at, by = int(begin), int(growth or 0)
    ends = at + by * (last + 1)
    return f"{at}+{by}x{first} stale _x{last - first - 1} {ends}+{by}x{STEPS - last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test.

    Attributes:
        changes: Series that are not as in health; None: there is no such series.
        alerts: What is told, by minute: names with `*` while they only wait.
    """

    name: str
    changes: Mapping[str, str | None] = field(default_factory=dict)
    alerts: Mapping[int, set[str]]


QUIET: Final[Mapping[int, set[str]]] = {minute: set() for minute in (1, 5, 10, 15, 20, 24)}
STILL: Final = {
    "StreamprocArchiveMissing",
    "StreamprocCameraEventsLost",
    "StreamprocDeadLetters",
    "StreamprocFramesIncomplete",
    "StreamprocSinkRefused",
}

CASES: Final = (
    Case(name="in health nothing is told, or waits to be", alerts={minute: set() for minute in (1, 5, 10)}),
    # --- frames lost ---------------------------------------------------------------------------------------------
    Case(
        name="five frames at the end of a run have no outcome",
        changes={PUBLISHED: "0+150x20 3000x180", ENDED: "0+150x19 2995x180", OPEN: f"0x{STEPS}"},
        alerts={
            5: set(),
            7: {"StreamprocFramesLost*"},
            10: {"StreamprocFramesLost", "StreamprocNothingPublished"},
            20: {"StreamprocFramesLost", "StreamprocNothingPublished"},
            24: {"StreamprocNothingPublished"},
        },
    ),
    Case(
        name="a camera's frames are published and none comes out",
        changes={ENDED: "0+150x20 3000x180"},
        alerts={6: set(), 9: {"StreamprocFramesLost"}, 20: {"StreamprocFramesLost"}},
    ),
    Case(
        name="one frame is enough",
        changes={PUBLISHED: "0x12 3x188", ENDED: "0x12 2x188", OPEN: f"0x{STEPS}"},
        alerts={7: {"StreamprocFramesLost", "StreamprocNothingPublished"}},
    ),
    Case(
        name="frames that wait in a backlog are under way, not lost",
        changes={ENDED: "0x40 0+150x160", LAG_S: "0+15x40 600x160", LAG: "0+600x40 24000x160"},
        alerts={9: {"StreamprocLagGrowing"}, 15: {"StreamprocLagGrowing"}},
    ),
    Case(
        name="frames that are still open are not lost",
        changes={PUBLISHED: "0+150x20 3000x180", ENDED: "0+150x19 2900x180", OPEN: f"100x{STEPS}"},
        alerts={8: {"StreamprocNothingPublished*"}, 11: {"StreamprocNothingPublished"}},
    ),
    Case(
        name="series that begin above 0 are counted from their beginning",
        changes={PUBLISHED: "_x12 40+150x20 3040x150", ENDED: "_x12 90+150x19 2940x1 3040x150"},
        alerts={8: set(), 12: {"StreamprocNothingPublished"}, 15: {"StreamprocNothingPublished"}},
    ),
    Case(
        name="a producer and a worker that Prometheus meets late have counted before",
        changes={
            **{start(one): f"-100000x{STEPS}" for one in (PRODUCER, AGGREGATE)},
            PUBLISHED: f"1000000+150x{STEPS}",
            ENDED: f"5000+150x{STEPS}",
        },
        alerts={minute: set() for minute in (1, 5, 10)},
    ),
    Case(
        name="a producer begins anew, and its last frames were never scraped",
        changes={PUBLISHED: "0+150x20 0+150x180", start(PRODUCER): "0x20 300x180", ENDED: "0+150x20 3100+150x180"},
        alerts=QUIET,
    ),
    Case(
        name="a worker is killed and comes back, and its last outcomes were never scraped",
        changes={
            start(AGGREGATE): "0x20 315x180",
            up(AGGREGATE): "1x20 0x1 1x178",
            ENDED: "0+150x20 _x1 200+150x2 500x176",
            PUBLISHED: "0+150x24 3600x176",
        },
        alerts={6: set(), **{minute: {"StreamprocNothingPublished"} for minute in (10, 15, 20, 24)}},
    ),
    Case(
        name="more is lost than a restart explains",
        changes={
            start(AGGREGATE): "0x20 315x180",
            up(AGGREGATE): "1x20 0x1 1x178",
            ENDED: "0+150x20 _x1 200x180",
            PUBLISHED: "0+150x40 6000x160",
        },
        alerts={15: {"StreamprocNothingPublished", "StreamprocFramesLost"}},
    ),
    Case(
        name="a worker that cannot be scraped for four minutes, and counts on",
        changes=gap(AGGREGATE, 20, 36),
        alerts={8: {"StreamprocNoWorkers", "StreamprocTargetDown"}, 10: set(), 14: set(), 23: set(), 25: set()},
    ),
    Case(
        name="a producer that cannot be scraped for four minutes, and counts on",
        changes=gap(PRODUCER, 20, 36),
        alerts={8: {"StreamprocTargetDown"}, **{minute: set() for minute in (10, 14, 22, 23, 24, 25, 26)}},
    ),
    Case(
        name="a replay of the camera into the same topics: more outcomes than published, all of them late",
        changes={
            f'streamproc_replay_frames_total{{{PRODUCER},source="log",target="same"}}': "0x10 0+300x30 9000x160",
            **dict.fromkeys((ENDED, ALL, COUNT), "0+150x11 2100+450x29 15300+150x158"),
        },
        alerts=QUIET,
    ),
    Case(
        name="a replay whose last frames never end",
        changes={
            f'streamproc_replay_frames_total{{{PRODUCER},source="log",target="same"}}': "0x10 0+300x20 6000x170",
            PUBLISHED: "0+150x20 3000x180",
            ENDED: "0+150x11 2100+450x8 6000+300x8 8550x172",
            OPEN: f"0x{STEPS}",
        },
        alerts={7: set(), 15: {"StreamprocFramesLost", "StreamprocNothingPublished"}},
    ),
    Case(
        name="more cameras than one process names: which of them are `other` differs",
        changes={
            ENDED: "0+50x20 1000+100x180",
            f'streamproc_frames_total{{{AGGREGATE},camera="other",outcome="complete"}}': "0+100x20 2000+50x180",
        },
        alerts=QUIET,
    ),
    Case(
        name="more cameras than one process names, and none comes out",
        changes={
            ENDED: "0+50x20 1000x180",
            f'streamproc_frames_total{{{AGGREGATE},camera="other",outcome="complete"}}': "0+100x20 2000x180",
        },
        alerts={6: set(), 10: {"StreamprocFramesLost"}},
    ),
    Case(
        name="a worker of another pod takes over, the old one's name is gone",
        changes={
            **{name: f"{values.rpartition('x')[0]}x20 stale" for name, values in of(AGGREGATE).items()},
            up(AGGREGATE): "1x20 stale",
            'streamproc_build_info{job="workers",instance="b"}': "_x21 1x179",
            'up{job="workers",instance="b"}': "_x21 1x179",
            'process_start_time_seconds{job="workers",instance="b"}': "_x21 310x179",
            FEATURES.replace('"a"', '"b"'): "_x21 0x179",
            LAG_S.replace('"e"', '"b"').replace("tiles", "features"): "_x21 0x179",
            ENDED.replace('"a"', '"b"'): "_x22 250+150x8 1450x169",
            PUBLISHED: "0+150x30 4500x170",
        },
        alerts={6: set(), **{minute: {"StreamprocNothingPublished"} for minute in (12, 15, 20, 24)}},
    ),
    # --- what must stand still -----------------------------------------------------------------------------------
    Case(
        name="what must stand still grows once, and is forgotten after a while",
        changes={
            f'streamproc_frames_failed_total{{{PRODUCER},camera="gate"}}': "0x8 1x192",
            f'streamproc_frames_dropped_total{{{PRODUCER},camera="gate",reason="drop-oldest"}}': "0x8 1x192",
            EXPIRED: "0x8 1x192",
            f'streamproc_deadletters_total{{{EXTRACT},stage="extract",reason="decode"}}': "0x8 1x192",
            f"streamproc_camera_events_lost_total{{{PRODUCER}}}": "0x8 1x192",
            f'streamproc_archive_missing_records_total{{{SINK},topic="streamproc.tiles"}}': "0x8 1x192",
            f'streamproc_sink_events_total{{{SINK},kind="jsonl",outcome="refused"}}': "0x8 1x192",
            f'streamproc_sink_retries_total{{{SINK},kind="jsonl"}}': "0x8 1x192",
        },
        alerts={
            2: set(),
            3: {*STILL, "StreamprocFramesFailed", "StreamprocFramesDropped", "StreamprocSinkRetrying*"},
            9: STILL,
            18: set(),
        },
    ),
    Case(
        name="a series of failures that begins above 0",
        changes={f'streamproc_frames_failed_total{{{PRODUCER},camera="yard"}}': "_x8 1x192"},
        alerts={1: set(), 3: {"StreamprocFramesFailed"}, 8: set()},
    ),
    Case(
        name="failures from before Prometheus began are over",
        changes={
            start(PRODUCER): f"-9000x{STEPS}",
            f'streamproc_frames_failed_total{{{PRODUCER},camera="gate"}}': f"7x{STEPS}",
        },
        alerts={1: set(), 5: set()},
    ),
    # --- cameras, sinks, disks -----------------------------------------------------------------------------------
    Case(
        name="a camera blinks and then is blind; a target does not answer; a buffer and a disk fill",
        changes={
            f'streamproc_camera_up{{{PRODUCER},camera="gate"}}': "1x4 0x1 1x5 0x6 1x180",
            f'streamproc_sink_retries_total{{{SINK},kind="jsonl"}}': "0x8 1+1x40 42x150",
            f'streamproc_buffer_bytes{{{PRODUCER},buffer="producer"}}': "100x20 990x30 100x140",
            f'streamproc_disk_free_bytes{{{SINK},kind="sink"}}': "700x8 480-8x56 20x130",
        },
        alerts={
            1: set(),
            4: {"StreamprocCameraDown", "StreamprocSinkRetrying*", "StreamprocDiskFilling*"},
            6: {"StreamprocSinkRetrying*", "StreamprocDiskFilling*", "StreamprocBufferFull*"},
            11: {"StreamprocSinkRetrying", "StreamprocDiskFilling*", "StreamprocBufferFull"},
            15: {"StreamprocDiskFilling"},
            18: {"StreamprocDiskFilling", "StreamprocDiskFull"},
        },
    ),
    Case(
        name="a camera is lost again and again, a process begins anew, partitions wander, a certificate ends",
        changes={
            f'streamproc_camera_lost_total{{{PRODUCER},camera="gate",reason="timeout"}}': "0x4 1x8 2x8 3x180",
            start(PRODUCER): "0x8 130x8 250x8 370x172",
            f"streamproc_rebalances_total{{{EXTRACT}}}": "2x8 2+2x2 6x20 6+1x20 26x148",
            f'streamproc_certificate_end_timestamp_seconds{{{EXTRACT},kind="ca"}}': "31536000x8 1209600x192",
            f'streamproc_certificate_end_timestamp_seconds{{{EXTRACT},kind="client"}}': "_x16 400x180",
        },
        alerts={
            2: set(),
            3: {"StreamprocCertificateEndsSoon"},
            7: {
                *("StreamprocCameraUnstable", "StreamprocRestarts"),
                *("StreamprocCertificateEndsSoon", "StreamprocCertificateEnds"),
            },
            14: {
                *("StreamprocCameraUnstable", "StreamprocRestarts", "StreamprocRebalances"),
                *("StreamprocCertificateEndsSoon", "StreamprocCertificateEnds"),
            },
        },
    ),
    # --- workers -------------------------------------------------------------------------------------------------
    Case(
        name="the last worker that extracts is killed",
        changes={
            **{name: f"{values.rpartition('x')[0]}x8 stale" for name, values in of(EXTRACT).items()},
            up(EXTRACT): "1x8 0x192",
        },
        alerts={
            2: set(),
            3: {"StreamprocNoWorkers*", "StreamprocTargetDown*"},
            4: {"StreamprocNoWorkers", "StreamprocTargetDown"},
            15: {"StreamprocNoWorkers", "StreamprocTargetDown"},
        },
    ),
    Case(
        name="nobody aggregates",
        changes={FEATURES: None},
        alerts={1: {"StreamprocNoWorkers"}, 2: {"StreamprocNoWorkers"}},
    ),
    Case(
        name="workers fall behind",
        changes={LAG_S: "0x8 0+5x192", LAG: "0x8 0+50x192"},
        alerts={2: set(), 4: {"StreamprocLagGrowing*"}, 8: {"StreamprocLagGrowing"}},
    ),
    Case(
        name="records are about to be deleted unread",
        changes={LAG_S: "0x8 1900x192"},
        alerts={3: {"StreamprocLagNearRetention", "StreamprocLagGrowing*"}},
    ),
    # --- latency -------------------------------------------------------------------------------------------------
    Case(
        name="half of the frames are late",
        changes={FAST: "0+150x20 3000+75x180"},
        alerts={
            5: set(),
            10: {"StreamprocLatencyBurnFast", "StreamprocLatencyBurnSlow*"},
        },
    ),
    Case(
        name="four of a hundred frames are late",
        changes={FAST: f"0+144x{STEPS}"},
        alerts={10: {"StreamprocLatencyBurnSlow*"}, 18: {"StreamprocLatencyBurnSlow"}},
    ),
    Case(
        name="one of a hundred and fifty is late, as may be",
        changes={FAST: f"0+149x{STEPS}"},
        alerts={minute: set() for minute in (5, 10)},
    ),
    Case(
        name="a few late frames after a start say nothing",
        changes={COUNT: "0+3x20 60x180", ALL: "0+3x20 60x180", FAST: f"0x{STEPS}"},
        alerts={5: set(), 10: set()},
    ),
)


def text() -> str:
    """The file that promtool reads."""
    head = "# Made by `python -m tests.dashboards.rule_cases`; do not edit it here.\n"
    return head + as_test(CASES, file=FILE.name)


def as_test(cases: Sequence[Case], *, file: str) -> str:
    """Some cases for the rules of a file."""
    made: dict[str, Any] = {
        "rule_files": [file],
        "evaluation_interval": "15s",
        "tests": [_test(case) for case in cases],
    }
    return yaml.safe_dump(made, sort_keys=False, width=140, allow_unicode=True)


def _test(case: Case) -> dict[str, Any]:
    series = {name: values for name, values in {**HEALTHY, **case.changes}.items() if values is not None}
    return {
        "name": case.name,
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": "count by (alertname, alertstate) (ALERTS) > bool 0",
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {
                        "labels": f'{{alertname="{name.rstrip("*")}", alertstate="{_state(name)}"}}',
                        "value": 1,
                    }
                    for name in sorted(names)
                ],
            }
            for minute, names in sorted(case.alerts.items())
        ],
    }


def _state(name: str) -> str:
    return "pending" if name.endswith("*") else "firing"


if __name__ == "__main__":
    TEST_FILE.write_text(text())
