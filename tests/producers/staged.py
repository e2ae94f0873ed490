"""Cameras and a broker that do what a test tells them to."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from producers.cameras_file import CameraSpec, parse_cameras, signature
from producers.ingest import Ingest, IngestReport
from producers.ingest_crew import Crew
from producers.ingest_run import Outlet
from producers.sources import Source, open_source
from producers.sources.live import LiveSource
from producers.sources.synthetic import synthetic_frame
from streamproc.cloudevents import CAMERA_EVENT_TYPE, structured_event
from streamproc.errors import CameraLost, DeliveryError
from streamproc.ledger import LedgerWriter
from streamproc.metrics import Metrics
from streamproc.model import Frame, TileHeader
from streamproc.settings import Settings, load_settings
from streamproc.wire import Headers, read_tile_header
from tests.event_schema import check_event

SECRET = "hunter2-secret"
SETTINGS = load_settings(prefix="t-", producer_queue_bytes=2**22, delivery_timeout_s=5)


@dataclass
class Stage:
    """One camera that a test plays.

    Attributes:
        mode: `alive`, `refused`, `ended`, `stalled`, `hangs` (its time limits do not work), `frozen`, `broken` (a fault
            of a library, with a secret in its text).
        opened: How often it was opened.
        steady, bursts: As of `LiveSource`. In bursts all frames are there at once, by their own time `fps` a second.
        given: Frames so far.
    """

    mode: str = "alive"
    fps: float = 50.0
    size: tuple[int, int] = (128, 64)
    steady: bool = True
    bursts: bool = False
    opened: int = 0
    given: int = 0
    interrupted: int = 0


class StagedSource(LiveSource):
    """Plays a `Stage`."""

    def __init__(self, name: str, stage: Stage, *, open_timeout_s: float, read_timeout_s: float) -> None:
        super().__init__(name, max_pixels=10**6, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s)
        self._stage = stage
        self.steady, self.bursts = stage.steady, stage.bursts

    def __iter__(self) -> Iterator[Frame]:
        self._stage.opened += 1
        opened_ns = time.time_ns()
        while not self._stopped:
            mode = self._stage.mode
            if mode in ("refused", "ended"):
                raise CameraLost("refused" if mode == "refused" else "ended", f"{self.name} plays {mode}")
            if mode == "broken":
                raise RuntimeError(f"cannot read rtsp://user:{SECRET}@host/stream")
            if mode == "stalled":
                self._pause(self.read_timeout_s)
                raise CameraLost("stalled", f"{self.name} plays {mode}")
            if mode == "hangs":
                self._pause(600)
                continue
            number = 7 if mode == "frozen" else self._stage.given
            width, height = self._stage.size
            stream_ns = opened_ns + round(self._stage.given / self._stage.fps * 1e9)
            self._stage.given += 1
            pixels = synthetic_frame(number, width=width, height=height)
            if self.bursts:
                yield Frame(pixels=pixels, captured_ns=stream_ns, clock="pts")
            else:
                yield Frame(pixels=pixels, captured_ns=time.time_ns())
                self._pause(1 / self._stage.fps)

    def interrupt(self) -> None:
        self._stage.interrupted += 1
        super().interrupt()

    def describe(self) -> str:
        return f"staged {self.name}"

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        with self._changed:
            while not self._stopped and (left_s := until_s - time.monotonic()) > 0:
                self._changed.wait(left_s)


@dataclass(frozen=True)
class Kept:
    """One record."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers
    offset: int = -1

    @property
    def header(self) -> TileHeader:
        return read_tile_header(self.headers)


Report = Callable[[Exception | None, int | None], None]


@dataclass
class StagedBroker:
    """Takes records; acknowledges at once, unless it is away: then they wait, or fail.

    Attributes:
        away: Nothing is acknowledged.
        fails: Everything is refused when it would be acknowledged.
    """

    away: bool = False
    fails: bool = False
    records: list[Kept] = field(default_factory=list)
    queued_bytes: int = 0
    most_queued_bytes: int = 0
    _waiting: deque[tuple[Kept, Report | None]] = field(default_factory=deque)
    _ends: dict[tuple[str, int], int] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def send(
        self,
        *,
        topic: str,
        partition: int,
        key: bytes,
        value: bytes,
        headers: Headers,
        on_delivery: Report | None = None,
        timeout_s: float = 60,
    ) -> None:
        record = Kept(topic, partition, key, value, headers)
        with self._lock:
            self.queued_bytes += len(value)
            self.most_queued_bytes = max(self.most_queued_bytes, self.queued_bytes)
            self._waiting.append((record, on_delivery))
        if not self.away:
            self.report()

    def report(self) -> None:
        """Settle all that waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            if not self.fails:
                waiting = deque((self._append(record), report) for record, report in waiting)
            self.queued_bytes -= sum(len(record.value) for record, _ in waiting)
        for record, report in waiting:
            if report is not None:
                report(DeliveryError("refused") if self.fails else None, None if self.fails else record.offset)

    def _append(self, record: Kept) -> Kept:
        """Give a record its place in the log."""
        place = (record.topic, record.partition)
        self._ends[place] = self._ends.get(place, 0) + 1
        self.records.append(replace(record, offset=self._ends[place] - 1))
        return self.records[-1]

    def flush(self, timeout_s: float) -> int:
        if self.away:
            time.sleep(min(timeout_s, 0.05))
            return len(self._waiting)
        self.report()
        return 0

    def close(self, *, timeout_s: float) -> int:
        return 0

    def frames(self, camera: str) -> dict[str, list[int]]:
        """Numbers of a camera's frames in the order of their first tile, by run."""
        found: dict[str, list[int]] = {}
        for record in tuple(self.records):
            if record.topic.endswith("tiles") and (header := record.header).camera == camera and header.index == 0:
                found.setdefault(header.run, []).append(header.sequence)
        return found

    def events(self, camera: str | None = None) -> list[dict[str, Any]]:
        """Camera events, each checked against its schema."""
        records = [record for record in tuple(self.records) if record.topic.endswith("events")]
        events = [structured_event(record.headers, record.value) for record in records]
        for event, record in zip(events, records, strict=True):
            assert event["type"] == CAMERA_EVENT_TYPE
            assert record.key == event["data"]["camera"].encode()
            check_event(event)
        return [event["data"] for event in events if camera in (None, event["data"]["camera"])]

    def story(self, camera: str) -> list[str]:
        """What happened to a camera, in words."""
        return [
            f"offline {event['data']['reason']}" if event["what"] == "offline" else event["what"]
            for event in self.events(camera)
        ]


def spec(name: str, **keys: Any) -> CameraSpec:
    """One camera, as a list would say it."""
    entry = {"name": name, "source": f"staged:{name}", "grid": "1x2", "codec": "raw", **keys}
    return parse_cameras({"camera": [entry]}, where="test", variable=lambda _: None)[name]


class Theatre:
    """An ingest of staged cameras, run in a thread. Use as a context manager; leaving it is Ctrl-C.

    Args:
        file: The list; `write` puts names and keys there.
    """

    def __init__(
        self,
        file: Path,
        stages: dict[str, Stage],
        *,
        sender: Any = None,
        settings: Settings = SETTINGS,
        partitions: int = 4,
        ledger: LedgerWriter | None = None,
        **keys: Any,
    ) -> None:
        self.file, self.stages = file, stages
        self.broker = StagedBroker()
        self.metrics = Metrics()
        self.notices: list[str] = []
        self.keys = keys
        self.report: IngestReport | None = None
        self.problem: BaseException | None = None
        self.write({name: {} for name in stages})
        self.outlet = Outlet(
            settings=settings,
            sender=sender or self.broker,
            metrics=self.metrics,
            partitions=partitions,
            crew=Crew(2),
            ledger=ledger,
            notice=self.notices.append,
        )
        seen = signature(file)
        self.ingest = Ingest(
            file, self.read(file), seen=seen, read=self.read, outlet=self.outlet, open_camera=self.open
        )
        self._thread = threading.Thread(target=self._run)

    def write(self, cameras: dict[str, dict[str, Any]]) -> None:
        """A new version of the list, put in place at once."""
        entries = [
            {"name": name, "source": f"staged:{name}", "grid": "1x2", "codec": "raw", **self.keys, **more}
            for name, more in cameras.items()
        ]
        self.write_text(msgspec.toml.encode({"camera": entries}).decode())

    def write_text(self, text: str) -> None:
        draft = self.file.with_suffix(".new")
        draft.write_text(text)
        draft.rename(self.file)

    @staticmethod
    def read(file: Path) -> dict[str, CameraSpec]:
        from producers.cameras_file import read_cameras

        return read_cameras(file, variable=lambda _: None)

    def open(self, wanted: CameraSpec, /) -> Source:
        if not wanted.source.startswith("staged:"):
            return open_source(wanted.source, SETTINGS)
        stage = self.stages[wanted.source.removeprefix("staged:")]
        return StagedSource(
            wanted.name, stage, open_timeout_s=wanted.open_timeout_s, read_timeout_s=wanted.read_timeout_s or 4.0
        )

    def figure(self, name: str, **labels: str) -> float | None:
        """One figure of the metrics."""
        return self.metrics.registry.get_sample_value(f"streamproc_{name}", labels)

    def __enter__(self) -> Theatre:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.outlet.stop.set()
        self._thread.join(40)
        assert not self._thread.is_alive()
        if self.problem is not None:
            raise self.problem

    @property
    def ended(self) -> IngestReport:
        assert self.report is not None
        return self.report

    def _run(self) -> None:
        try:
            self.report = self.ingest.run()
        except BaseException as error:  # noqa: BLE001 - raised on the test's thread
            self.problem = error
