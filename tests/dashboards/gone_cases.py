"""What the alerts are asked of processes that are gone, or that Prometheus meets late."""

from __future__ import annotations

from typing import Final

from tests.dashboards.rule_series import (
    AGGREGATE,
    ENDED,
    EXTRACT,
    OPEN,
    PRODUCER,
    PUBLISHED,
    SINK,
    STEPS,
    Case,
    archive,
    of,
    start,
    up,
    vanished,
)

GONE_CASES: Final = (
    Case(
        name="no worker extracts, and an archive reads the same topic",
        changes={**archive(), **vanished(EXTRACT, 8)},
        alerts={2: set(), 4: {"StreamprocNoWorkers"}, 15: {"StreamprocNoWorkers"}},
    ),
    Case(
        name="ingest is gone from what is discovered",
        changes=vanished(PRODUCER, 20),
        alerts={5: set(), 6: {"StreamprocIngestGone*"}, 8: {"StreamprocIngestGone"}, 24: {"StreamprocIngestGone"}},
    ),
    Case(
        name="ingest is gone, and the one in its place never answers",
        changes={**vanished(PRODUCER, 20), 'up{job="ingest",instance="new"}': f"_x21 0x{STEPS}"},
        alerts={5: set(), 8: {"StreamprocIngestGone", "StreamprocTargetDown"}},
    ),
    Case(
        name="another ingest takes over the camera",
        changes={
            **vanished(PRODUCER, 20),
            **{
                name.replace('"p"', '"q"'): f"_x21 {values}"
                for name, values in {
                    **of(PRODUCER),
                    up(PRODUCER): f"1x{STEPS}",
                    start(PRODUCER): f"310x{STEPS}",
                }.items()
            },
        },
        alerts={6: set(), 8: set(), 15: set()},
    ),
    Case(
        name="a camera is taken from the list, and its ingest ends later",
        changes={
            **vanished(PRODUCER, 40),
            f'streamproc_camera_up{{{PRODUCER},camera="gate"}}': "1x20 stale",
            f'streamproc_camera_fps{{{PRODUCER},camera="gate"}}': "10x20 stale",
            **dict.fromkeys((PUBLISHED, ENDED), "0+150x20 3000x180"),
        },
        alerts={6: set(), 8: set(), 15: set(), 24: set()},
    ),
    Case(
        name="a process is down for hours, whatever its job is called",
        changes={
            **{name: f"{values.rpartition('x')[0]}x20 stale" for name, values in of(SINK).items()},
            up(SINK): "1x20 0x480",
        },
        alerts={5: set(), 7: {"StreamprocTargetDown"}, 40: {"StreamprocTargetDown"}, 120: {"StreamprocTargetDown"}},
        hours=2,
    ),
    Case(
        name="Prometheus meets an aggregator a scrape after the producer, both run for long; then the camera ends",
        changes={
            **{start(one): f"-100000x{STEPS}" for one in (PRODUCER, AGGREGATE)},
            **{name: f"_x1 {values}" for name, values in of(AGGREGATE).items()},
            up(AGGREGATE): f"_x1 1x{STEPS}",
            start(AGGREGATE): f"_x1 -100000x{STEPS}",
            PUBLISHED: "1000+150x20 4000x180",
            ENDED: "_x1 1150+150x19 4000x180",
            OPEN: f"_x1 0x{STEPS}",
        },
        alerts={minute: {"StreamprocNothingPublished"} for minute in (9, 12, 15, 20)},
    ),
    Case(
        name="a camera that gives a picture in five minutes",
        changes={
            f'streamproc_camera_fps{{{PRODUCER},camera="gate"}}': f"0.0033x{STEPS}",
            **dict.fromkeys((PUBLISHED, ENDED), "0x19 1x19 2x19 3x19 4x19 5x19 6x80"),
            OPEN: f"0x{STEPS}",
        },
        alerts={minute: set() for minute in (3, 8, 12, 18)},
    ),
)
