"""Every error streamproc raises on purpose.

    StreamprocError                 one clear line: what happened, to what, and what to do
    |-- UsageError                  the user asked for something that cannot be (exit status 2)
    |   |-- SettingError            a setting, variable or file has a value that is refused
    |   `-- PipelineError           a pipeline file names something unknown or out of range
    |-- SourceError                 a picture, video or folder cannot be read
    |   |-- SourceEnded             a source stopped before its promised end; what was read stands
    |   `-- CameraLost              a live source gives no more frames; opening it anew may help
    |-- BrokerError                 the cluster, or one of its topics, is not as it must be
    |-- DeliveryError               a record was not acknowledged by the broker
    |   `-- LeaseError              an event was not delivered in time to be certainly the only one
    |-- DecoderError                no decoder process can be started
    |   `-- RecordRefused           it is certain that the record can never reach the log
    |-- ArchiveError                an archive of records cannot be read or written
    |   `-- StoreError              the disk or store where it lies does not do what it is asked
    |-- LedgerError                 a producer's ledger cannot be read or written
    |-- SinkError                   a target of events takes no more: it refuses, or is not as it must be
    |   `-- SinkUnavailable         it does not answer now; what is to be written is tried again
    |-- CannotJudge                 what is to be verified could not be looked at (exit status 2)
    `-- BadMessage                  a record cannot be handled; it goes to dead letters with its reason
        `-- BadPixels               the pixels are not what the operator was promised

`StreamprocError` is the one to catch; the command line prints it as one line and exits with `exit_code`.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Reason = Literal[
    "schema", "envelope", "length", "limits", "checksum", "base", "codec", "decode", "halo", "pixels", "internal"
]
"""Why a message was refused. A closed set, so that it may be a metric label."""


class StreamprocError(Exception):
    """Base of all errors a user is meant to read."""

    exit_code: ClassVar[int] = 1


class UsageError(StreamprocError):
    """The user asked for something that cannot be."""

    exit_code: ClassVar[int] = 2


class SettingError(UsageError):
    """A setting has a value that is refused; the message names the setting."""


class PipelineError(UsageError):
    """A pipeline file is refused; the message names the step and lists what is allowed."""


class SourceError(StreamprocError):
    """A picture, video or folder cannot be read."""


class SourceEnded(SourceError):
    """A source stopped before its promised end; the frames already read stand."""


LostReason = Literal["refused", "unauthorized", "unreachable", "timeout", "stalled", "ended", "changed", "malformed"]
"""Why a camera was lost. A closed set, so that it may be a metric label."""


class CameraLost(SourceError):
    """A live source gives no more frames; the frames already read stand, and opening it anew may help.

    Attributes:
        reason: `refused` nothing listens there, or it said no; `unauthorized` wrong or missing credentials;
            `unreachable` no such host, network or device; `timeout` it did not answer in time; `stalled` it answered
            and then gave no frame in time; `ended` it closed the stream; `changed` frames have another size or form
            from here on, so a new run must begin; `malformed` what it sends is no stream that is read here.
    """

    def __init__(self, reason: LostReason, message: str) -> None:
        super().__init__(message)
        self.reason: LostReason = reason


class BrokerError(StreamprocError):
    """The cluster cannot be reached, or a topic is not as it must be."""


class DeliveryError(StreamprocError):
    """A record was not acknowledged by the broker within its time."""


class RecordRefused(DeliveryError):
    """A record that can never reach the log: never sent, or refused by the broker."""


class ArchiveError(StreamprocError):
    """An archive of records cannot be read or written; the message names the file."""


class StoreError(ArchiveError):
    """The disk or object store of an archive refused, failed or does not answer; nothing is said about the files."""


class LedgerError(StreamprocError):
    """A producer's ledger cannot be read or written; the message names file and line."""


class LeaseError(DeliveryError):
    """An event was not delivered while its partition was certainly this worker's; it may stand in the log or not."""


class DecoderError(StreamprocError):
    """No decoder process can be started: this machine or installation is broken, not a picture."""


class SinkError(StreamprocError):
    """A target of events takes no more; trying again would not help.

    Attributes:
        taken: Of a target that takes one by one: what became of the first events of the batch, True if written, False
            if refused; the others were not taken.
    """

    taken: tuple[bool, ...] = ()


class SinkUnavailable(SinkError):
    """A target of events does not answer now, or asks to wait; worth another try.

    Attributes:
        after_s: Seconds that the target asks to wait; None if it says nothing.
    """

    def __init__(self, message: str, *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class CannotJudge(StreamprocError):
    """What is to be verified could not be looked at: nothing is known about it."""

    exit_code: ClassVar[int] = 2


class BadMessage(StreamprocError):
    """A record that cannot be handled.

    Attributes:
        reason: One of the closed set `Reason`; a metric label and a dead-letter header.
        detail: One line for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail


class BadPixels(BadMessage):
    """Pixels of another shape or type than the operator was promised."""

    def __init__(self, detail: str) -> None:
        super().__init__("pixels", detail)
