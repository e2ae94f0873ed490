"""The series of a pipeline in health, in promtool's words, as the rules are asked about them.

`0+150x160` begins at 0 and grows by 150 each quarter of a minute, `_x4` is four scrapes without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

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
    f'streamproc_camera_fps{{{PRODUCER},camera="gate"}}': f"10x{STEPS}",
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
    f'streamproc_consumer_lag_seconds{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_records{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_seconds{{{AGGREGATE},reader="worker",topic="streamproc.features"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_records{{{AGGREGATE},reader="worker",topic="streamproc.features"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_of_kept_ratio{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}': f"0x{STEPS}",
    f'streamproc_consumer_lag_of_kept_ratio{{{AGGREGATE},reader="worker",topic="streamproc.features"}}': f"0x{STEPS}",
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

REPLAYED: Final = f'streamproc_replay_frames_total{{{PRODUCER},source="log",target="same"}}'

PUBLISHED: Final = f'streamproc_frames_published_total{{{PRODUCER},camera="gate"}}'
ENDED: Final = f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="complete"}}'
PARTIAL: Final = f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="partial"}}'
EXPIRED: Final = f'streamproc_frames_total{{{AGGREGATE},camera="gate",outcome="expired"}}'
OPEN: Final = f"streamproc_open_frames{{{AGGREGATE}}}"
LAG_S: Final = f'streamproc_consumer_lag_seconds{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}'
OF_KEPT: Final = f'streamproc_consumer_lag_of_kept_ratio{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}'
LAG: Final = f'streamproc_consumer_lag_records{{{EXTRACT},reader="worker",topic="streamproc.tiles"}}'
FEATURES: Final = f'streamproc_consumer_lag_records{{{AGGREGATE},reader="worker",topic="streamproc.features"}}'
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


def vanished(one: str, after: int) -> dict[str, str]:
    """A process that ends, and its target with it."""
    series = {**of(one), up(one): HEALTHY[up(one)]}
    return {name: f"{values.rpartition('x')[0]}x{after} stale" for name, values in series.items()}


def archive(*, lag_s: str = f"0x{STEPS}", lag: str = f"0x{STEPS}", of_kept: str = f"0x{STEPS}") -> dict[str, str]:
    """An archive of the topic that extract workers read."""
    one = 'job="archive",instance="r"'
    reads = f'{one},reader="archive",topic="streamproc.tiles"'
    return {
        **dict.fromkeys((up(one), info(one)), f"1x{STEPS}"),
        start(one): f"0x{STEPS}",
        f"streamproc_consumer_lag_seconds{{{reads}}}": lag_s,
        f"streamproc_consumer_lag_records{{{reads}}}": lag,
        f"streamproc_consumer_lag_of_kept_ratio{{{reads}}}": of_kept,
    }


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
        hours: How long what is well stays so; 0: as long as STEPS say.
    """

    name: str
    changes: Mapping[str, str | None] = field(default_factory=dict)
    alerts: Mapping[int, set[str]]
    hours: int = 0
