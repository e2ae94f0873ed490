"""What the alerts are asked in `promtool test rules`: a pipeline in health, and one thing that is different.

`python -m tests.dashboards.rule_cases` writes `dashboards/streamproc.rules-test.yml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from dashboards.rules import FILE, rules
from tests.dashboards.gone_cases import GONE_CASES
from tests.dashboards.rule_series import (
    AGGREGATE,
    ALL,
    COUNT,
    ENDED,
    EXPIRED,
    EXTRACT,
    FAST,
    FEATURES,
    HEALTHY,
    LAG,
    LAG_S,
    OF_KEPT,
    OPEN,
    PARTIAL,
    PRODUCER,
    PUBLISHED,
    REPLAYED,
    SINK,
    STEPS,
    Case,
    archive,
    gap,
    of,
    start,
    up,
)

TEST_FILE: Final = FILE.with_name("streamproc.rules-test.yml")


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
        alerts={
            8: {"StreamprocTargetDown", "StreamprocIngestGone"},
            **{minute: set() for minute in (10, 14, 22, 23, 24, 25, 26)},
        },
    ),
    Case(
        name="a replay of the camera into the same topics: more outcomes than published, their latency is not counted",
        changes={REPLAYED: "0x10 0+300x30 9000x160", ENDED: "0+150x11 2100+450x29 15300+150x158"},
        alerts=QUIET,
    ),
    Case(
        name="a replay whose last frames never end",
        changes={
            REPLAYED: "0x10 0+300x20 6000x170",
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
        name="a frame ends in part",
        changes={PARTIAL: "0x8 1x192"},
        alerts={2: set(), 3: {"StreamprocFramesIncomplete"}, 9: {"StreamprocFramesIncomplete"}, 18: set()},
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
        alerts={
            3: {"StreamprocLagNearRetention*", "StreamprocLagGrowing*"},
            5: {"StreamprocLagNearRetention", "StreamprocLagGrowing"},
        },
    ),
    Case(
        name="records are about to be deleted unread because of their bytes",
        changes={LAG_S: "0x8 0+15x192", LAG: "0x8 0+600x192", OF_KEPT: "0x8 0+0.05x19 1x172"},
        alerts={
            4: {"StreamprocLagGrowing*"},
            5: {"StreamprocLagNearRetention*", "StreamprocLagGrowing"},
            7: {"StreamprocLagNearRetention", "StreamprocLagGrowing"},
        },
    ),
    Case(
        name="half of the little that a new topic keeps is unread for some seconds",
        changes={LAG_S: "0x8 10+0.1x192", OF_KEPT: "0x8 0.9x192", LAG: "0x8 90x192"},
        alerts={minute: set() for minute in (3, 5, 10)},
    ),
    Case(
        name="workers are late, and it is little of what is kept",
        changes={LAG_S: "0x8 600x192", OF_KEPT: "0x8 0.4x192", LAG: "0x8 9000x192"},
        alerts={5: {"StreamprocLagGrowing"}, 10: {"StreamprocLagGrowing"}},
    ),
    Case(
        name="an archive's records are about to be deleted because of their bytes, and no worker's",
        changes=archive(lag_s="0x8 120x192", lag="0x8 9000x192", of_kept="0x8 0.6x192"),
        alerts={2: set(), 6: {"StreamprocLagGrowing", "StreamprocLagNearRetention"}},
    ),
    Case(
        name="a single scrape says that a reader is hours behind",
        changes={LAG_S: "0x19 7200 0x180"},
        alerts={4: set(), 5: {"StreamprocLagNearRetention*", "StreamprocLagGrowing*"}, 6: set(), 7: set()},
    ),
    Case(
        name="an archive of the same topics is behind, and no worker is",
        changes={**archive(lag_s="0x8 0+60x192", lag="0+50x200"), ENDED: "0+150x20 3000x180"},
        alerts={
            2: set(),
            6: {"StreamprocLagGrowing"},
            9: {"StreamprocLagGrowing", "StreamprocFramesLost"},
            12: {"StreamprocLagGrowing", "StreamprocLagNearRetention", "StreamprocFramesLost"},
        },
    ),
    *GONE_CASES,
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
        name="half of the live frames are late while twice as many are replayed",
        changes={
            FAST: "0+150x20 3000+75x180",
            REPLAYED: f"0+300x{STEPS}",
            ENDED: f"0+450x{STEPS}",
        },
        alerts={5: set(), 10: {"StreamprocLatencyBurnFast", "StreamprocLatencyBurnSlow*"}},
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
        "group_eval_order": [group.name for group in rules()],
        "tests": [_test(case) for case in cases],
    }
    return yaml.safe_dump(made, sort_keys=False, width=140, allow_unicode=True)


def _test(case: Case) -> dict[str, Any]:
    healthy = HEALTHY if not case.hours else {name: _for(case.hours, values) for name, values in HEALTHY.items()}
    series = {name: values for name, values in {**healthy, **case.changes}.items() if values is not None}
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


def _for(hours: int, values: str) -> str:
    return f"{values.rpartition('x')[0]}x{hours * 240}"


def _state(name: str) -> str:
    return "pending" if name.endswith("*") else "firing"


if __name__ == "__main__":
    TEST_FILE.write_text(text())
