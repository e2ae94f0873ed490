"""The alerts of those who work: workers that are gone, restless or behind, and latency that is promised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboards.prometheus import CRITICAL, WARNING, Alert, Timing, duration
from dashboards.recording import OBJECTIVE, PROCESSES, TIMED, burn
from streamproc.topics import Topics

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_JOBS: Final = "streamproc.*|archive|aggregate|camera|extract|ingest|sink|viewer|worker"
"""Jobs of ours, by the names that the files in `compose` give them: of those, one that never answered is told, too."""


def workers(timing: Timing) -> tuple[Alert, ...]:
    """Of processes: there, at rest, reachable, and fast enough."""
    return (
        _no_workers(timing, "tiles", role="extract", what="no tile is worked on"),
        _no_workers(timing, "features", role="aggregate", what="no frame gets its event"),
        *_lag(timing),
        *_restless(timing),
        *_not_answering(timing),
    )


def _no_workers(timing: Timing, topic: str, *, role: str, what: str) -> Alert:
    """Of each topic that had workers within a day; or of all, if none had."""
    only = f'{{reader="worker",topic=~".*{topic}"}}'
    read = f"streamproc_consumer_lag_records{only}"
    lately = f"topic_reader:streamproc_consumer_lag_records:sum{only}[{timing.window(_DAY_S)}]"
    return Alert(
        name="StreamprocNoWorkers",
        expr=(
            f"(max by (topic) (last_over_time({lately}))\nunless on (topic) {read})\nor\n"
            f'(label_replace(absent_over_time({lately}), "topic", "{topic}", "", "")\nunless on () {read})'
        ),
        severity=CRITICAL,
        wait=timing.wait(_MINUTE_S),
        labels={"role": role},
        summary=f"no worker of the role {role} reads {{{{ $labels.topic }}}}: {what}",
        description=(
            "Nobody who can be reached does; its records wait only until its retention.ms or retention.bytes is used"
            f" up. Start `streamproc worker --role {role}`, or look why it ended: its last line says."
        ),
    )


def _lag(timing: Timing) -> tuple[Alert, ...]:
    """Of workers; and of archives and sinks, which more workers do not help."""
    of_workers, others = '{reader="worker"}', '{reader!="worker"}'
    return (
        Alert(
            name="StreamprocLagGrowing",
            expr=_falling_behind(timing, of_workers),
            severity=WARNING,
            wait=timing.wait(2 * _MINUTE_S),
            labels={"reader": "worker"},
            summary="workers are {{ $value | humanizeDuration }} behind in {{ $labels.topic }}",
            description=(
                "Records come faster than they are read. Add workers, up to one for each partition; less to do (fps,"
                " pipeline, changed tiles only) helps as well. `Where does time go?` shows the stage."
            ),
        ),
        Alert(
            name="StreamprocLagGrowing",
            expr=_falling_behind(timing, others),
            severity=WARNING,
            wait=timing.wait(2 * _MINUTE_S),
            summary="the {{ $labels.reader }} is {{ $value | humanizeDuration }} behind in {{ $labels.topic }}",
            description=(
                "What it writes to is slower than what comes: give the archive a faster store, or fewer topics; look"
                " whether the sink's target answers. Frames get their events in time; workers have no part in this."
            ),
        ),
        Alert(
            name="StreamprocLagNearRetention",
            expr=_near_retention(timing, of_workers, ("tiles", "features")),
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            labels={"reader": "worker"},
            summary="records of {{ $labels.topic }} will be deleted before a worker reads them",
            description=(
                "Workers are {{ $value | humanizeDuration }} behind, more than half of what the topic keeps by time or"
                " by bytes; its oldest records are deleted unread next. Add workers, or raise retention.ms and"
                " retention.bytes (of tiles: STREAMPROC_TILES_KEPT_BYTES) until they have caught up."
            ),
        ),
        Alert(
            name="StreamprocLagNearRetention",
            expr=_near_retention(timing, others, ("tiles", "features", "events")),
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="records of {{ $labels.topic }} will be deleted before the {{ $labels.reader }} has them",
            description=(
                "It is {{ $value | humanizeDuration }} behind, more than half of what the topic keeps by time or by"
                " bytes; its oldest records are deleted unread next. Look at the store or target that it writes to, or"
                " raise retention.ms and retention.bytes (of tiles: STREAMPROC_TILES_KEPT_BYTES)."
            ),
        ),
    )


_OF_KEPT: Final = "topic_reader:streamproc_consumer_lag_of_kept_ratio:max"


def _falling_behind(timing: Timing, only: str) -> str:
    lag = f"topic_reader:streamproc_consumer_lag_seconds:max{only}"
    growing = f"deriv({lag}[{timing.window(300)}]) > 0.1"
    return f"({lag} > {timing.behind_s:g})\nand on (topic, reader)\n({growing})\nor\n({lag} > {4 * timing.behind_s:g})"


def _near_retention(timing: Timing, only: str, topics: Sequence[str]) -> str:
    specs = {spec.name: int(spec.config["retention.ms"]) / 1000 for spec in Topics("").specs(partitions=1)}
    lag = f"topic_reader:streamproc_consumer_lag_seconds:max{only[:-1]}"
    by_time = (f'{lag},topic=~".*{topic}"}} > {timing.seconds(specs[topic] / 2):.10g}' for topic in topics)
    # a backlog of seconds is most of what a topic keeps that is new
    late = f'({lag},topic=~".*({"|".join(topics)})"}} > {timing.seconds(_MINUTE_S):g})'
    return "\nor\n".join((*by_time, f"({late} and on (topic, reader) {_OF_KEPT} > 0.5)"))


def _running_lately(timing: Timing) -> str:
    return f"last_over_time(streamproc_build_info[{timing.window(_HOUR_S)}])"


def _restless(timing: Timing) -> tuple[Alert, ...]:
    """Processes that begin anew, and partitions that go from hand to hand."""
    quarter, lately = duration(timing.balance_s), _running_lately(timing)
    return (
        Alert(
            name="StreamprocRestarts",
            expr=f"(changes(process_start_time_seconds[{quarter}]) and on (job, instance) {lately}) >= 3",
            severity=WARNING,
            summary="{{ $labels.job }} at {{ $labels.instance }} began anew {{ $value }} times in 15 minutes",
            description=(
                "It ends and is started again. The last line of its log says why it ended; nothing is lost by that,"
                " and nothing is worked on meanwhile."
            ),
        ),
        Alert(
            name="StreamprocRebalances",
            expr=(f"sum by (job, instance) (increase(streamproc_rebalances_total[{quarter}])) >= {timing.storm}"),
            severity=WARNING,
            summary="the partitions of {{ $labels.instance }} were assigned anew {{ $value | humanize }} times",
            description=(
                "In 15 minutes, and nothing of them is worked on meanwhile. Workers come and go, or are too busy to"
                " answer in time: set STREAMPROC_INSTANCE_ID for each, or raise STREAMPROC_SESSION_TIMEOUT_S."
            ),
        ),
    )


def _not_answering(timing: Timing) -> tuple[Alert, ...]:
    """Processes that cannot be reached, or take no more."""
    return (
        Alert(
            name="StreamprocTargetDown",
            expr=f'(up == 0 and on (job, instance) {PROCESSES})\nor\nup{{job=~"{_JOBS}"}} == 0',
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="{{ $labels.job }} at {{ $labels.instance }} does not answer",
            description=(
                "Prometheus cannot read its metrics: it has ended, hangs, or its port or address has changed. Look at"
                " the process and the last line of its log."
            ),
        ),
        Alert(
            name="StreamprocBufferFull",
            expr='streamproc_buffer_bytes{buffer!="references"} / (streamproc_buffer_limit_bytes > 0) > 0.9',
            severity=WARNING,
            wait=timing.wait(300),
            summary="the buffer {{ $labels.buffer }} of {{ $labels.instance }} is full",
            description=(
                "{{ $value | humanizePercentage }} of its bound for 5 minutes: what comes next is slower. producer: the"
                " broker; streams: the operators (add workers); archive: the store; sink: the target."
            ),
        ),
    )


_WRONG_CLOCK: Final = "A camera whose own clock is wrong makes its frames look late: see `clock` in its events."


def latency(timing: Timing) -> tuple[Alert, ...]:
    """Of the time from capture to event.

    References: The Site Reliability Workbook, chapter 5: multiwindow, multi-burn-rate alerts, of 30 days.
    """

    def burns(factor: float, long_s: int, short_s: int) -> str:
        most = f"{factor * (1 - OBJECTIVE):.4g}"
        events = f"sum_over_time({TIMED}[{timing.window(long_s)}])"
        return f"({burn(long_s)} > {most} and {burn(short_s)} > {most} and {events} > {timing.few})"

    promise = f"{100 * (1 - OBJECTIVE):g} % of frames may take longer than {timing.within_s:g} s from capture to event"
    return (
        Alert(
            name="StreamprocLatencyBurnFast",
            expr=f"{burns(14.4, _HOUR_S, 300)}\nor\n{burns(6, 6 * _HOUR_S, 1800)}",
            severity=CRITICAL,
            wait=timing.wait(2 * _MINUTE_S),
            summary="{{ $value | humanizePercentage }} of frames get their event late",
            description=(
                f"{promise}; at this pace what 30 days allow is gone within days (2 % of it in an hour, or 5 % in six)."
                " `Where does time go?` shows the stage: wait is too few workers, publish is producer or broker."
                f" {_WRONG_CLOCK}"
            ),
        ),
        Alert(
            name="StreamprocLatencyBurnSlow",
            expr=f"{burns(3, _DAY_S, 7200)}\nor\n{burns(1, 3 * _DAY_S, 21_600)}",
            severity=WARNING,
            wait=timing.wait(15 * _MINUTE_S),
            summary="{{ $value | humanizePercentage }} of frames get their event late, for hours",
            description=(
                f"{promise}; what 30 days allow will not last for them. `Where does time go?` shows the stage; look"
                f" for hours of the day, and for cameras that came on. {_WRONG_CLOCK}"
            ),
        ),
    )
