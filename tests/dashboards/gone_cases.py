"""What the alerts are asked of processes that are gone, or that Prometheus meets late."""

from __future__ import annotations

from typing import Final

from tests.dashboards.rule_series import (
    AGGREGATE,
    ENDED,
    EXTRACT,
    LAG,
    LAG_S,
    OF_KEPT,
    OPEN,
    PRODUCER,
    PUBLISHED,
    SINK,
    STEPS,
    Case,
    archive,
    info,
    of,
    start,
    up,
    vanished,
)

_OTHER: Final = 'job="others",instance="o"'
OTHERS: Final = {
    **dict.fromkeys((up(_OTHER), info(_OTHER)), f"1x{STEPS}"),
    start(_OTHER): f"0x{STEPS}",
    f'streamproc_consumer_lag_seconds{{{_OTHER},reader="worker",topic="test.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_records{{{_OTHER},reader="worker",topic="test.tiles"}}': f"0x{STEPS}",
}
"""A worker of another prefix."""

GONE_CASES: Final = (
    Case(
        name="no worker extracts, and an archive reads the same topic",
        changes={**archive(), **vanished(EXTRACT, 8)},
        alerts={2: set(), 4: {"StreamprocNoWorkers"}, 15: {"StreamprocNoWorkers"}},
    ),
    Case(
        name="no worker extracts, and those of another prefix do",
        changes={**OTHERS, **vanished(EXTRACT, 8)},
        alerts={2: set(), 4: {"StreamprocNoWorkers"}, 15: {"StreamprocNoWorkers"}},
    ),
    Case(
        name="workers of another prefix extract, and nobody was ever seen to aggregate for them",
        changes=OTHERS,
        alerts={minute: set() for minute in (2, 5, 15)},
    ),
    Case(
        name="no worker extracted ever",
        changes={LAG: None, LAG_S: None, OF_KEPT: None},
        alerts={2: {"StreamprocNoWorkers"}, 15: {"StreamprocNoWorkers"}},
    ),
    Case(
        name="the first worker that extracts comes late",
        changes={LAG: "_x12 0x188", LAG_S: "_x12 0x188", OF_KEPT: "_x12 0x188"},
        alerts={2: {"StreamprocNoWorkers"}, 3: set(), 10: set()},
    ),
    Case(
        name="another worker of the same topic takes over",
        changes={
            **{name: f"{values.rpartition('x')[0]}x20 stale" for name, values in of(EXTRACT).items()},
            up(EXTRACT): "1x20 stale",
            **{
                name.replace('"e"', '"f"'): f"_x22 {values}"
                for name, values in {**of(EXTRACT), up(EXTRACT): f"1x{STEPS}", start(EXTRACT): f"330x{STEPS}"}.items()
            },
        },
        alerts={minute: set() for minute in (4, 7, 10, 20)},
    ),
    Case(
        name="workers are gone for more than a day",
        changes={**vanished(EXTRACT, 20), **vanished(AGGREGATE, 20)},
        alerts={4: set(), 60: {"StreamprocNoWorkers"}, 1439: {"StreamprocNoWorkers"}, 1500: {"StreamprocNoWorkers"}},
        hours=26,
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
