"""The alerts: each for something a person has to do, with what happened, to what, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dashboards.prometheus import Alert, Timing, duration
from dashboards.recording import OBJECTIVE, burn, grown
from streamproc.topics import Topics

CRITICAL: Final = "critical"
WARNING: Final = "warning"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def alerts(timing: Timing) -> Mapping[str, Sequence[Alert]]:
    """Alerts, by group."""
    return {
        "frames": _frames(timing),
        "cameras": _cameras(timing),
        "workers": _workers(timing),
        "latency": _latency(timing),
        "surroundings": _surroundings(timing),
        "sinks": _sinks(timing),
    }


def _happened(metric: str, within: str, by: str, only: str = "") -> str:
    """More than none of what must not happen, within a window."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (sum_over_time({grown(metric)}{only}[{within}])) > 0"


def _frames_lost(timing: Timing) -> tuple[Alert, ...]:
    """By camera; and over all, where cameras cannot be told apart, or frames are replayed."""
    settle, both = duration(timing.settle_s), duration(timing.balance_s + timing.settle_s)
    lag = 'streamproc_consumer_lag_seconds{{topic=~".*{}"}}'
    known = (
        "unless on ()\n"
        f"(max(max_over_time({lag.format('(tiles|features)')}[{settle}])) > {timing.behind_s:g})\n"
        "unless on ()\n"
        "(global:streamproc_outcomes_unseen:count > 0)\n"
        "and on ()\n"
        f"(count({lag.format('tiles')}) > 0)\n"
        "and on ()\n"
        f"(count({lag.format('features')}) > 0)"
    )
    # cameras beyond what one process names: each process has others under `other`
    nameless = f'(sum(sum_over_time({grown("frames")}{{camera="other"}}[{both}])) > 0)'
    replayed = f'(sum(sum_over_time({grown("replay_frames")}{{target="same"}}[{both}])) > 0)'
    # a few counts of a process that ended or hid are never seen: twice what an interval has, for each of those
    unseen = "2 * scalar(global:streamproc_counts_interrupted:count)"
    most = f"max_over_time({grown('frames_published')}[{both}])"
    description = (
        f"The broker acknowledged them more than {settle} ago, no worker lags behind, and no event tells what"
        " became of them. Run `streamproc verify` to learn which, before the topics' retention is over."
    )
    return (
        Alert(
            name="StreamprocFramesLost",
            expr=(
                "(\n"
                "  camera:streamproc_frames_unaccounted:sum\n"
                f"  - scalar(sum(min_over_time(streamproc_open_frames[{settle}])) or vector(0))\n"
                f"  - {unseen} * {most}\n"
                f") > 0\nunless on ()\n{nameless}\n{known}"
            ),
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="at least {{ $value }} frames of camera {{ $labels.camera }} were published and never ended",
            description=description,
        ),
        Alert(
            name="StreamprocFramesLost",
            expr=(
                f"(global:streamproc_frames_unaccounted:sum - {unseen} * scalar(sum({most}) or vector(0))) > 0\n"
                f"and on ()\n({nameless} or {replayed})\n{known}"
            ),
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            labels={"camera": "any"},
            summary="at least {{ $value }} frames were published or replayed and never ended",
            description=description,
        ),
    )


def _frames(timing: Timing) -> tuple[Alert, ...]:
    quarter, lately = duration(timing.balance_s), timing.window(300)
    return (
        *_frames_lost(timing),
        Alert(
            name="StreamprocFramesFailed",
            expr=_happened("frames_failed", lately, "camera"),
            severity=CRITICAL,
            summary="{{ $value }} frames of camera {{ $labels.camera }} did not reach the broker",
            description=(
                "A tile of each was not acknowledged, in the last 5 minutes. The producer's log says why: the broker"
                " is gone, its disk is full, or it refuses records; `streamproc doctor` looks."
            ),
        ),
        Alert(
            name="StreamprocFramesDropped",
            expr=_happened("frames_dropped", lately, "camera, reason", '{reason!="fps"}'),
            severity=WARNING,
            summary="{{ $value }} frames of camera {{ $labels.camera }} were dropped before they were sent",
            description=(
                "By the policy {{ $labels.reason }}, in the last 5 minutes: broker or encoder take less than the camera"
                " gives. Lower its fps, send only what has changed, or give it a faster broker."
            ),
        ),
        Alert(
            name="StreamprocFramesIncomplete",
            expr=_happened("frames", quarter, "camera, outcome", '{outcome!="complete"}'),
            severity=WARNING,
            summary="{{ $value }} frames of camera {{ $labels.camera }} ended {{ $labels.outcome }}",
            description=(
                "In the last 15 minutes. Tiles were lost on the way (expired, partial) or refused (rejected). The"
                " `reason` of their events says which: `streamproc events --camera {{ $labels.camera }}`."
            ),
        ),
        Alert(
            name="StreamprocDeadLetters",
            expr=_happened("deadletters", quarter, "stage, reason"),
            severity=WARNING,
            summary="{{ $value }} records went to dead letters ({{ $labels.stage }}, {{ $labels.reason }})",
            description=(
                "In the last 15 minutes: they cannot be handled. See them with `streamproc deadletters list`, then"
                " `show`; when the cause is mended, `redrive`."
            ),
        ),
    )


def _cameras(timing: Timing) -> tuple[Alert, ...]:
    published = f"sum by (camera) (sum_over_time({grown('frames_published')}[{timing.window(2 * _MINUTE_S)}])) > 0"
    return (
        Alert(
            name="StreamprocCameraDown",
            expr="max by (camera) (streamproc_camera_up) == 0",
            severity=CRITICAL,
            wait=timing.wait(30),
            summary="camera {{ $labels.camera }} is blind",
            description=(
                "It gives no frames. Its offline event and the log of `streamproc ingest` say why: unauthorized is its"
                " password; unreachable or timeout its network; stalled or frozen the camera itself."
            ),
        ),
        Alert(
            name="StreamprocCameraUnstable",
            expr=f"sum by (camera) (sum_over_time({grown('camera_lost')}[{duration(timing.balance_s)}])) >= 3",
            severity=WARNING,
            summary="camera {{ $labels.camera }} was lost {{ $value }} times in 15 minutes",
            description="It comes and goes, and is blind in between: look at its network and its power supply.",
        ),
        Alert(
            name="StreamprocNothingPublished",
            expr=f"(max by (camera) (streamproc_camera_up) == 1)\nunless on (camera) ({published})",
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="camera {{ $labels.camera }} gives frames and none of them reaches the broker",
            description=(
                "Nothing of it was acknowledged for 2 minutes. Look at the broker (`streamproc doctor`) and at the log"
                " of `streamproc ingest`; frames that wait there are dropped or fail next."
            ),
        ),
        Alert(
            name="StreamprocCameraEventsLost",
            expr=_happened("camera_events_lost", duration(timing.balance_s), ""),
            severity=WARNING,
            summary="{{ $value }} camera events never reached the broker",
            description=(
                "Online, offline and gap events are missing from the events topic: the broker took none of them for"
                " longer than 10,000 are kept. The log of `streamproc ingest` has them."
            ),
        ),
    )


def _workers(timing: Timing) -> tuple[Alert, ...]:
    growing = f"deriv(topic:streamproc_consumer_lag_seconds:max[{timing.window(300)}]) > 0.1"
    quarter = duration(timing.balance_s)
    seen = f"last_over_time(streamproc_build_info[{timing.window(_HOUR_S)}])"
    return (
        *(
            Alert(
                name="StreamprocNoWorkers",
                expr=f'absent(streamproc_consumer_lag_records{{topic=~".*{topic}"}})',
                severity=CRITICAL,
                wait=timing.wait(_MINUTE_S),
                labels={"role": role},
                summary=f"no worker of the role {role} answers: {what}",
                description=(
                    f"Nobody who can be reached reads the {topic} topic; records wait there until its retention is"
                    f" over (1 h). Start `streamproc worker --role {role}`, or look why it ended: its last line says."
                ),
            )
            for topic, role, what in (
                ("tiles", "extract", "no tile is worked on"),
                ("features", "aggregate", "no frame gets its event"),
            )
        ),
        Alert(
            name="StreamprocLagGrowing",
            expr=(
                f"(topic:streamproc_consumer_lag_seconds:max > {timing.behind_s:g})\n"
                f"and on (topic)\n({growing})\n"
                f"or\n(topic:streamproc_consumer_lag_seconds:max > {4 * timing.behind_s:g})"
            ),
            severity=WARNING,
            wait=timing.wait(2 * _MINUTE_S),
            summary="readers of {{ $labels.topic }} are {{ $value | humanizeDuration }} behind",
            description=(
                "Records come faster than they are read. Add workers, up to one for each partition; less to do (fps,"
                " pipeline, changed tiles only) helps as well. `Where does time go?` shows the stage."
            ),
        ),
        Alert(
            name="StreamprocLagNearRetention",
            expr="\nor\n".join(
                f'topic:streamproc_consumer_lag_seconds:max{{topic=~".*{topic}"}} > {timing.seconds(retention_s / 2):g}'
                for topic, retention_s in _retentions().items()
            ),
            severity=CRITICAL,
            summary="records of {{ $labels.topic }} will be deleted before anybody reads them",
            description=(
                "Its readers are {{ $value | humanizeDuration }} behind, more than half of what it keeps. Add workers"
                " now, or raise the topic's retention.ms and retention.bytes until they have caught up."
            ),
        ),
        Alert(
            name="StreamprocRestarts",
            expr=f"(changes(process_start_time_seconds[{quarter}]) and on (job, instance) {seen}) >= 3",
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
        Alert(
            name="StreamprocTargetDown",
            expr=f'(up == 0 and on (job, instance) {seen}) or up{{job=~"streamproc.*"}} == 0',
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


def _latency(timing: Timing) -> tuple[Alert, ...]:
    """References: The Site Reliability Workbook, chapter 5: multiwindow, multi-burn-rate alerts, of 30 days."""

    def burns(factor: float, long_s: int, short_s: int) -> str:
        most = f"{factor * (1 - OBJECTIVE):.4g}"
        events = f"sum(increase(streamproc_event_latency_seconds_count[{timing.window(long_s)}]))"
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
                " for hours of the day, and for cameras that came on."
            ),
        ),
    )


def _surroundings(timing: Timing) -> tuple[Alert, ...]:
    left = "min by (job, instance, kind) (streamproc_certificate_end_timestamp_seconds) - time()"
    names = "{{ $labels.kind }} of {{ $labels.job }} at {{ $labels.instance }}"
    renew = (
        "The brokers are not reached after that. Put the new one in the place of the file that"
        " STREAMPROC_SECURITY_CA_FILE or _CERT_FILE names, and restart the process."
    )
    free = "streamproc_disk_free_bytes / streamproc_disk_size_bytes"
    soon = f"predict_linear(streamproc_disk_free_bytes[{timing.window(_HOUR_S)}], {timing.seconds(4 * _HOUR_S):g}) < 0"
    make_room = (
        "Delete what is not needed, or keep less of it: --keep-s and --keep-bytes of the archive, retention of the"
        " topics, older files of a sink or ledger."
    )
    return (
        Alert(
            name="StreamprocCertificateEndsSoon",
            expr=f"{left} < {21 * _DAY_S}",
            severity=WARNING,
            summary=f"the certificate {names} ends in {{{{ $value | humanizeDuration }}}}",
            description=renew,
        ),
        Alert(
            name="StreamprocCertificateEnds",
            expr=f"{left} < {3 * _DAY_S}",
            severity=CRITICAL,
            summary=f"the certificate {names} ends in {{{{ $value | humanizeDuration }}}}, or has ended",
            description=renew,
        ),
        Alert(
            name="StreamprocDiskFilling",
            expr=f"({free} < 0.5)\nand\n({soon})",
            severity=WARNING,
            wait=timing.wait(10 * _MINUTE_S),
            summary=f"the disk of {names} is full in less than 4 hours",
            description=f"{{{{ $value | humanizePercentage }}}} of it are free, and go fast. {make_room}",
        ),
        Alert(
            name="StreamprocDiskFull",
            expr=f"{free} < 0.05",
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary=f"the disk of {names} is full",
            description=f"{{{{ $value | humanizePercentage }}}} of it are free; at none writing ends. {make_room}",
        ),
    )


def _sinks(timing: Timing) -> tuple[Alert, ...]:
    return (
        Alert(
            name="StreamprocSinkRefused",
            expr=_happened(
                "sink_events", duration(timing.balance_s), "kind, outcome", '{outcome=~"refused|unreadable"}'
            ),
            severity=WARNING,
            summary="{{ $value }} events are {{ $labels.outcome }} for a sink ({{ $labels.kind }})",
            description=(
                "In the last 15 minutes. refused: the target will not have them for good, they stand in the file of"
                " --refused; unreadable: they are no events of ours. The sink's log says why."
            ),
        ),
        Alert(
            name="StreamprocSinkRetrying",
            expr=_happened("sink_retries", timing.window(2 * _MINUTE_S), "kind"),
            severity=WARNING,
            wait=timing.wait(300),
            summary="the target of a sink ({{ $labels.kind }}) does not take events",
            description=(
                "It is tried again since 5 minutes. Nothing is lost while the log keeps events (7 days). Look at the"
                " target, and at the sink's log for what it answers."
            ),
        ),
        Alert(
            name="StreamprocArchiveMissing",
            expr=_happened("archive_missing_records", duration(timing.balance_s), "topic"),
            severity=CRITICAL,
            summary="{{ $value }} records of {{ $labels.topic }} are not in the archive",
            description=(
                "The log had deleted them when the archive came to read them: it was away, or is slower, for longer"
                " than the topic keeps records. Raise the topic's retention, or give the archive a faster store."
            ),
        ),
    )


def _retentions() -> dict[str, int]:
    """Seconds that topics keep records, of those whose readers tell how far behind they are."""
    specs = {spec.name: spec.config["retention.ms"] for spec in Topics("").specs(partitions=1)}
    return {topic: int(specs[topic]) // 1000 for topic in ("tiles", "features")}
