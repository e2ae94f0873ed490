"""Cameras that publish while faults happen: synthetic frames, a ledger each, tiles that can be damaged or held back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from producers.publish import PublishReport, publish
from producers.sources.source import Source
from producers.sources.synthetic import synthetic_frame
from streamproc import wire
from streamproc.ledger import LedgerWriter
from streamproc.model import Codec, Frame, Grid, TileHeader
from streamproc.publisher import Publisher
from streamproc.settings import Settings
from streamproc.topics import camera_partition

WIDTH, HEIGHT = 256, 128
GRID = Grid(2, 2)
RUN = "run-1"
HALO_PX = 2  # of edges


class Paced(Source):
    """Synthetic frames 0 to `count` - 1, each let go when `gate` allows it."""

    name = "chaos"

    def __init__(self, count: int, gate: Callable[[int], None]) -> None:
        self.length = count
        self._gate = gate

    def describe(self) -> str:
        return f"{self.length} synthetic frames of {WIDTH}x{HEIGHT}"

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            self._gate(number)
            yield Frame(pixels=synthetic_frame(number, width=WIDTH, height=HEIGHT), captured_ns=time.time_ns())


@dataclass(slots=True, kw_only=True)
class Road:
    """What happens to tiles between the camera and the broker; everything passes by default.

    Attributes:
        damage: Says whether a tile's payload is damaged under way.
        hold: Says whether a tile waits until `release`.
    """

    damage: Callable[[TileHeader], bool] = lambda _header: False
    hold: Callable[[TileHeader], bool] = lambda _header: False


class RoadSender:
    """A `Sender` that damages or holds back tiles on their way."""

    def __init__(self, publisher: Publisher, road: Road) -> None:
        self._publisher, self._road = publisher, road
        self._held: list[dict[str, Any]] = []

    @property
    def queued_bytes(self) -> int:
        """Bytes sent and not yet reported."""
        return self._publisher.queued_bytes

    def send(self, *, value: bytes | None, headers: Any, **rest: Any) -> None:
        """Damage, hold back, or send."""
        header = wire.read_tile_header(headers)
        if value and self._road.damage(header):
            middle = len(value) // 2
            value = value[:middle] + bytes(byte ^ 0x80 for byte in value[middle : middle + 300]) + value[middle + 300 :]
        record = {"value": value, "headers": headers, **rest}
        if self._road.hold(header):
            self._held.append(record)
        else:
            self._publisher.send(**record)

    def release(self) -> None:
        """Send what was held back, and hold back no more."""
        self._road.hold = lambda _header: False
        for record in self._held:
            self._publisher.send(**record)
        self._held.clear()  # not before: a flush in between must see them

    def flush(self, timeout_s: float) -> int:
        """Wait for reports; returns how many are missing, held ones included."""
        held = len(self._held)  # before the flush: what is released meanwhile is missing still
        return self._publisher.flush(timeout_s) + held

    def close(self, *, timeout_s: float) -> int:
        """Nothing: the publisher is not ours."""
        return self.flush(timeout_s)


@dataclass(slots=True)
class Camera:
    """One camera publishing from a thread of its own; a context manager that waits until all is sent.

    Attributes:
        sent: Frames handed to the producer so far.
    """

    name: str
    settings: Settings
    folder: Path
    frames: int
    fps: float
    codec: Codec = "png"
    road: Road = field(default_factory=Road)
    gate: Callable[[int], None] = lambda _number: None
    sent: int = 0
    report: PublishReport | None = None
    problem: BaseException | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    sender: RoadSender | None = None
    _thread: threading.Thread | None = None

    @property
    def ledger(self) -> Path:
        """Its file."""
        return self.folder / f"ledger-{self.name}.jsonl"

    @property
    def partition(self) -> int:
        """Where its features and events stand."""
        return camera_partition(self.name, self.settings.partitions)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name=f"camera-{self.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop.set()
            if self.sender is not None:
                self.sender.release()
        self.join(timeout_s=30 if kind else self.settings.delivery_timeout_s + 30)

    def join(self, *, timeout_s: float) -> None:
        """Wait until all frames are sent and reported.

        Raises:
            AssertionError: Not in time.
        """
        assert self._thread is not None
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"camera {self.name} was not done after {timeout_s:g} s"

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with (
                LedgerWriter(self.ledger) as ledger,
                Publisher(self.settings, client_id=f"chaos-{self.name}") as publisher,
            ):
                self.sender = RoadSender(publisher, self.road)
                self.report = publish(
                    Paced(self.frames, self.gate),
                    self.settings,
                    camera=self.name,
                    run=RUN,
                    codec=self.codec,
                    grid=GRID,
                    fps=self.fps or "max",
                    pipeline_halo=HALO_PX,
                    partitions=self.settings.partitions,
                    sender=self.sender,
                    ledger=ledger,
                    stop=self.stop,
                    on_progress=self._progress,
                )
        except BaseException as error:  # noqa: BLE001 - told where the camera is joined
            self.problem = error

    def _progress(self, sent: int) -> None:
        self.sent = sent
