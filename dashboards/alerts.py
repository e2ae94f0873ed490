"""The alerts: each for something a person has to do, with what happened, to what, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboards.alerts_of_work import latency, workers
from dashboards.prometheus import CRITICAL, WARNING, Alert, Timing, duration
from dashboards.recording import CAMERAS, LOST, grown

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def alerts(timing: Timing) -> Mapping[str, Sequence[Alert]]:
    """Alerts, by group."""
    return {
        "frames": _frames(timing),
        "cameras": _cameras(timing),
        "workers": workers(timing),
        "latency": latency(timing),
        "surroundings": _surroundings(timing),
        "sinks": _sinks(timing),
    }


def _happened(metric: str, within: str, by: str, only: str = "") -> str:
    """More than none of what must not happen, within a window."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (sum_over_time({grown(metric)}{only}[{within}])) > 0"


def _frames_lost(timing: Timing) -> tuple[Alert, ...]:
    """By camera; and over all, where cameras cannot be told apart, or frames are replayed."""
    description = (
        f"The broker acknowledged them more than {duration(timing.settle_s)} ago, no worker lags behind, and no event"
        " tells what became of them. Run `streamproc verify` to learn which, before the topics' retention is over."
    )
    return (
        Alert(
            name="StreamprocFramesLost",
            expr=f'{LOST}{{camera!="any"}} > 0',
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="at least {{ $value }} frames of camera {{ $labels.camera }} were published and never ended",
            description=description,
        ),
        Alert(
            name="StreamprocFramesLost",
            expr=f'{LOST}{{camera="any"}} > 0',
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            labels={"camera": "any"},
            summary="at least {{ $value }} frames were published or replayed and never ended",
            description=description,
        ),
    )


def _frames_incomplete(quarter: str) -> tuple[Alert, ...]:
    """Those that are lost; and those of which there is a part, or that were not to be had."""
    where = "says why: `streamproc events --camera {{ $labels.camera }}`."
    return (
        Alert(
            name="StreamprocFramesIncomplete",
            expr=_happened("frames", quarter, "camera, outcome", '{outcome="expired"}'),
            severity=CRITICAL,
            summary="{{ $value }} frames of camera {{ $labels.camera }} are lost: they ended expired",
            description=(
                "In the last 15 minutes. Too few of their tiles came in time, or too many frames waited for tiles:"
                f" nobody sees what was on them. The `reason` of their events {where}"
            ),
        ),
        Alert(
            name="StreamprocFramesIncomplete",
            expr=_happened("frames", quarter, "camera, outcome", '{outcome!~"complete|expired"}'),
            severity=WARNING,
            summary="{{ $value }} frames of camera {{ $labels.camera }} ended {{ $labels.outcome }}",
            description=(
                "In the last 15 minutes. partial: some tiles never came, or could not be read; rejected: none"
                f" could be read, or they contradict each other. The `reason` of their events {where}"
            ),
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
        *_frames_incomplete(quarter),
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
    # of slower cameras two minutes without a frame say nothing
    given = f"max by (camera) (max_over_time(streamproc_camera_fps[{timing.window(300)}])) > {2 / 60:.3g}"
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
            expr=(
                f"(max by (camera) (streamproc_camera_up) == 1)\nand on (camera) ({given})\n"
                f"unless on (camera) ({published})"
            ),
            severity=CRITICAL,
            wait=timing.wait(_MINUTE_S),
            summary="camera {{ $labels.camera }} gives frames and none of them reaches the broker",
            description=(
                "Nothing of it was acknowledged for 2 minutes. Look at the broker (`streamproc doctor`) and at the log"
                " of `streamproc ingest`; frames that wait there are dropped or fail next."
            ),
        ),
        Alert(
            name="StreamprocIngestGone",
            expr=(
                f"count by (job, instance) (\n  {CAMERAS}\n  unless on (job, instance) streamproc_build_info\n"
                "  unless on (camera) streamproc_camera_up\n)"
            ),
            severity=CRITICAL,
            wait=timing.wait(2 * _MINUTE_S),
            summary="{{ $labels.job }} at {{ $labels.instance }} does not answer, and had {{ $value }} cameras",
            description=(
                "No other process has taken over its cameras: nobody sees what they see. Start `streamproc ingest`, or"
                " look why it ended: its last line says. Ended on purpose: silence this, it is forgotten after a day."
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


def _surroundings(timing: Timing) -> tuple[Alert, ...]:
    ends = "min by (job, instance, kind) (streamproc_certificate_end_timestamp_seconds)"
    left = f"{ends} - time()"
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
            expr=f"{left} < {21 * _DAY_S} > 0",
            severity=WARNING,
            summary=f"the certificate {names} ends in {{{{ $value | humanizeDuration }}}}",
            description=renew,
        ),
        Alert(
            name="StreamprocCertificateEnds",
            expr=f"{left} < {3 * _DAY_S} > 0",
            severity=CRITICAL,
            summary=f"the certificate {names} ends in {{{{ $value | humanizeDuration }}}}",
            description=renew,
        ),
        Alert(
            name="StreamprocCertificateEnds",
            expr=f"time() - {ends} >= 0",
            severity=CRITICAL,
            labels={"state": "ended"},
            summary=f"the certificate {names} ended {{{{ $value | humanizeDuration }}}} ago",
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
