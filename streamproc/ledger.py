"""The producer's ledger: each frame it read and what became of it, as JSON lines, append only.

    {"kind":"ledger","schema":1}                                      first line of the file
    {"kind":"frame","camera","run","sequence","captured_ns",...}      before the frame's tiles are sent
    {"kind":"status","camera","run","sequence","status","reason"}     once its fate is known

| status | when |
|---|---|
| acked | each tile has its delivery report |
| failed | it is certain that some tile can never reach the log (refused, or never sent) |
| unknown | not acknowledged, though it may be in the log; a frame without a status line reads so too |
| dropped | a policy let it go before it was numbered; the reason is the policy |

A frame that never got as far as a frame line has only a status line, `dropped` or `failed`, with `captured_ns` and no
sequence number. A line is in the kernel's hands when a call returns: kill -9 of the producer loses nothing, power loss
of the machine may lose the last seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Literal, Self, TypeAlias

import msgspec
import numpy as np

from streamproc.errors import LedgerError, UsageError
from streamproc.model import Codec, FrameKey, Pixels, TileHeader
from streamproc.settings import NAME_PATTERN

Sent: TypeAlias = Literal["acked", "failed", "unknown"]
"""What may become of a frame whose tiles were sent, or about to be."""
Unsent: TypeAlias = Literal["dropped", "failed"]
"""What becomes of a frame that was read and not sent."""
Status: TypeAlias = Literal["acked", "failed", "unknown", "dropped"]

SCHEMA = 1
MAX_REASON = 500  # characters
_MAX_LINE_BYTES = 8192

_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
_Sequence: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _First(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ledger"):
    schema: int


class FrameLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="frame"):
    """A frame whose tiles are about to be sent.

    Attributes:
        tiles: How many.
        sha256: Hex of sha256 of its pixels as published, 8-bit grey or BGR in C order.
        digest: Hex of the frame digest that its tile headers carry.
    """

    camera: _Name
    run: _Name
    sequence: _Sequence
    captured_ns: int
    width: _Count
    height: _Count
    tiles: _Count
    codec: Codec
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]

    @property
    def key(self) -> FrameKey:
        """Which frame."""
        return FrameKey(self.camera, self.run, self.sequence)


class _StatusLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="status"):
    camera: _Name
    run: _Name
    sequence: _Sequence | None
    captured_ns: int | msgspec.UnsetType = msgspec.UNSET
    status: Status
    reason: str | None


_Line: TypeAlias = _First | FrameLine | _StatusLine
_decoder = msgspec.json.Decoder(_Line)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFrame:
    """A frame and its fate; `reason` says why it is not `acked`, None where the producer was killed first."""

    line: FrameLine
    status: Sent
    reason: str | None

    @property
    def key(self) -> FrameKey:
        """Which frame."""
        return self.line.key


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentFrame:
    """A frame that was read and never numbered or sent; `reason` is the policy where it was dropped."""

    camera: str
    run: str
    captured_ns: int
    status: Unsent
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What a ledger file says.

    Attributes:
        frames: Those whose tiles were sent (or about to be), in the order of the file.
        dropped: Let go by a policy.
        unsent: Failed before they had a number.
    """

    frames: Mapping[FrameKey, LedgerFrame]
    dropped: tuple[UnsentFrame, ...]
    unsent: tuple[UnsentFrame, ...]

    @property
    def runs(self) -> frozenset[tuple[str, str]]:
        """Camera and run of all that is in it."""
        return frozenset(
            {(key.camera, key.run) for key in self.frames}
            | {(frame.camera, frame.run) for frame in (*self.dropped, *self.unsent)}
        )

    def counts(self) -> dict[Status, int]:
        """Frames by status; together all that were read."""
        found = Counter[Status](frame.status for frame in self.frames.values())
        return {
            "acked": found["acked"],
            "failed": found["failed"] + len(self.unsent),
            "unknown": found["unknown"],
            "dropped": len(self.dropped),
        }


def line_of(header: TileHeader, pixels: Pixels) -> FrameLine:
    """The line of a frame, from any of its tile headers and its pixels, (rows, cols[, 3]) uint8."""
    return FrameLine(
        camera=header.camera,
        run=header.run,
        sequence=header.sequence,
        captured_ns=header.captured_ns,
        width=header.frame_width,
        height=header.frame_height,
        tiles=header.tile_count,
        codec=header.codec,
        sha256=hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest(),
        digest=header.frame_digest.hex(),
    )


def read_ledger(path: Path) -> Ledger:
    """Read a ledger; a last line cut short (its producer was killed while writing) is left out.

    Raises:
        LedgerError: It cannot be read, or a line is broken; the message names file and line.
    """
    frames: dict[FrameKey, LedgerFrame] = {}
    dropped: list[UnsentFrame] = []
    unsent: list[UnsentFrame] = []
    try:
        with path.open("rb") as file:
            for number, line in _lines(path, file):
                try:
                    _enter(line, frames, dropped, unsent)
                except ValueError as error:
                    raise _broken(path, number, error) from None
    except OSError as error:
        raise LedgerError(f"ledger {path} cannot be read: {error.strerror or error}") from None
    return Ledger(frames=frames, dropped=tuple(dropped), unsent=tuple(unsent))


def _enter(
    line: FrameLine | _StatusLine,
    frames: dict[FrameKey, LedgerFrame],
    dropped: list[UnsentFrame],
    unsent: list[UnsentFrame],
) -> None:
    if isinstance(line, FrameLine):
        if line.key in frames:
            raise ValueError("the frame has a line already")
        frames[line.key] = LedgerFrame(line=line, status="unknown", reason=None)
    elif line.sequence is None:
        if line.status not in ("dropped", "failed") or line.captured_ns is msgspec.UNSET:
            raise ValueError("a frame without sequence number must be dropped or failed and have captured_ns")
        frame = UnsentFrame(
            camera=line.camera, run=line.run, captured_ns=line.captured_ns, status=line.status, reason=line.reason
        )
        (dropped if line.status == "dropped" else unsent).append(frame)
    else:
        key = FrameKey(line.camera, line.run, line.sequence)
        if line.status == "dropped" or (known := frames.get(key)) is None:
            raise ValueError("the status is of a frame that has no line")
        if known.status != "unknown" or known.reason is not None:
            raise ValueError("the frame has a status already")
        # A status of `unknown` always has its reason, so that a second one would be seen.
        reason = (line.reason or "not said") if line.status == "unknown" else line.reason
        frames[key] = replace(known, status=line.status, reason=reason)


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, FrameLine | _StatusLine]]:
    """The whole lines after the first, with their numbers.

    Raises:
        LedgerError: The file is no ledger, or a line is broken.
    """
    number = 0
    while (text := file.readline(_MAX_LINE_BYTES)) and text.endswith(b"\n"):
        number += 1
        try:
            line = _decoder.decode(text)
        except msgspec.DecodeError as error:  # broken UTF-8 comes as one, too
            raise _broken(path, number, error) from None
        if isinstance(line, _First) != (number == 1):
            raise _broken(path, number, "the first line, and no other, is of kind ledger")
        if not isinstance(line, _First):
            yield number, line
        elif line.schema != SCHEMA:
            raise LedgerError(f"ledger {path} has schema {line.schema}, this version reads {SCHEMA}: take a newer one")
    if len(text) == _MAX_LINE_BYTES:
        raise _broken(path, number + 1, f"it is longer than {_MAX_LINE_BYTES} bytes")
    if number == 0 and not _FIRST_LINE.startswith(text):
        raise _broken(path, 1, "it is not the first line of a ledger")


_FIRST_LINE = _encoder.encode(_First(schema=SCHEMA)) + b"\n"


def _broken(path: Path, number: int, why: object) -> LedgerError:
    return LedgerError(f"ledger {path} is broken at line {number}: {why}")


class LedgerWriter:
    """Appends to a ledger file, made if missing. Use as a context manager; may be used from several threads.

    Runs may follow each other in one file; two writers at once are refused. A last line cut short by a kill is
    cut off.

    Raises:
        LedgerError: The file cannot be opened, is no ledger or a broken one, or is being written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._usable = False
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise LedgerError(f"ledger {path} cannot be opened: {error.strerror}") from None
        try:
            self._runs = self._check()
        except BaseException:
            os.close(self._file)
            raise
        self._usable = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write no more; harmless when repeated."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._usable = -1, False

    def begin(self, camera: str, run: str) -> None:
        """Say which run follows.

        Raises:
            UsageError: The ledger has frames of this run, so its numbers would come a second time.
        """
        if (camera, run) in self._runs:
            raise UsageError(f"ledger {self.path} has frames of camera {camera}, run {run}: choose another --run")
        self._runs.add((camera, run))

    def frame(self, line: FrameLine) -> None:
        """A frame whose tiles are about to be sent.

        Raises:
            LedgerError: It cannot be written; none of the tiles may be sent.
        """
        self._write(line)

    def status(self, key: FrameKey, status: Sent, reason: str | None = None) -> None:
        """What became of a frame that has a line.

        Raises:
            LedgerError: It cannot be written; the frame will be read as unknown.
        """
        if status == "unknown":
            reason = reason or "not said"
        self._write(
            _StatusLine(camera=key.camera, run=key.run, sequence=key.sequence, status=status, reason=_short(reason))
        )

    def unsent(self, camera: str, run: str, *, captured_ns: int, status: Unsent, reason: str) -> None:
        """A frame that has no line: let go by the policy `reason`, or failed for a reason.

        Raises:
            LedgerError: It cannot be written.
        """
        self._write(
            _StatusLine(
                camera=camera, run=run, sequence=None, captured_ns=captured_ns, status=status, reason=_short(reason)
            )
        )

    def _check(self) -> set[tuple[str, str]]:
        """Lock the file, look it through, cut off a last line cut short; returns the runs in it."""
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise LedgerError(f"ledger {self.path} is not a file: name one")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"ledger {self.path} is being written by another producer: give each a ledger of its own"
            ) from None
        runs: set[tuple[str, str]] = set()
        with open(self._file, "rb", closefd=False) as file:
            for _number, line in _lines(self.path, file):
                runs.add((line.camera, line.run))
        size = _end_of_last_line(self._file)
        os.ftruncate(self._file, size)
        if size == 0:
            _write_all(self._file, _FIRST_LINE)
        return runs

    def _write(self, line: _Line) -> None:
        data = _encoder.encode(line) + b"\n"
        with self._lock:
            if not self._usable:
                raise LedgerError(f"ledger {self.path} is closed, or could not be written before")
            try:
                _write_all(self._file, data)
            except OSError as error:
                self._usable = False  # the line may be there in part, so nothing may follow
                raise LedgerError(
                    f"ledger {self.path} cannot be written ({error.strerror}): free space, or name another file"
                ) from None


def _end_of_last_line(file: int) -> int:
    """Where the last whole line of a checked file ends; only the last `_MAX_LINE_BYTES` can be without an end."""
    size = os.fstat(file).st_size
    start = max(0, size - _MAX_LINE_BYTES)
    return start + os.pread(file, size - start, start).rfind(b"\n") + 1


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _short(reason: str | None) -> str | None:
    """One line of bounded length that JSON can hold (a file's name may have bytes that are no UTF-8)."""
    if reason is None:
        return None
    return " ".join(reason.split())[:MAX_REASON].encode(errors="replace").decode()
