"""Real pictures and changed copies of them, and a log of frames that were cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data

from producers.cutting import encode_frame
from streamproc.cloudevents import encode_frame_event
from streamproc.model import DetectedObject, Evidence, Frame, FrameEvent, FrameKey, Grid, Outcome, Pixels
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.wire import tile_headers

PHOTOGRAPHS = ("astronaut", "camera", "coffee", "chelsea", "rocket", "brick", "grass", "gravel", "coins", "retina")
CAPTURED_NS = 1_700_000_000_000_000_000


@cache
def photograph(name: str) -> Pixels:
    """One of scikit-image's, grey or BGR."""
    found = np.asarray(getattr(skimage.data, name)(), np.uint8)
    return found if found.ndim == 2 else np.ascontiguousarray(found[:, :, ::-1])


def crops(count: int, *, seed: int) -> list[Pixels]:
    """Parts of photographs, 64 to 160 pixels a side."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        whole = photograph(PHOTOGRAPHS[number % len(PHOTOGRAPHS)])
        width, height = random.integers(64, 161, 2).tolist()
        y, x = (
            int(random.integers(0, side - part + 1))
            for side, part in zip(whole.shape[:2], (height, width), strict=True)
        )
        found.append(np.ascontiguousarray(whole[y : y + height, x : x + width]))
    return found


def jpeg(pixels: Pixels, quality: int = 40) -> Pixels:
    """As a camera that saves bytes would send it."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def brighter(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=1.2, beta=15), np.uint8)


def darker(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=0.6), np.uint8)


def shifted(pixels: Pixels) -> Pixels:
    """The same scene, with a part of 1 in 40 of its width and height out of sight."""
    rows, cols = pixels.shape[:2]
    return np.ascontiguousarray(pixels[max(1, rows // 40) :, max(1, cols // 40) :])


def smaller(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8)


def grey(pixels: Pixels) -> Pixels:
    return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), np.uint8)


CHANGES = {"jpeg": jpeg, "brighter": brighter, "darker": darker, "shifted": shifted, "smaller": smaller, "grey": grey}


@dataclass
class Log:
    """Records of the tiles and the events topic, in memory.

    Attributes:
        low: First offset that is kept, by partition of the tiles topic.
        reads: Ranges that were asked for.
        records_read: How many records were given.
    """

    topic: str = "tiles"
    partitions: int = 3
    tiles: dict[int, list[Record]] = field(default_factory=dict)
    events: list[Record] = field(default_factory=list)
    low: dict[int, int] = field(default_factory=dict)
    reads: list[dict[int, tuple[int, int]]] = field(default_factory=list)
    records_read: int = 0
    readers: int = 0

    def add(
        self,
        pixels: Pixels,
        sequence: int,
        *,
        camera: str = "gate",
        objects: Sequence[DetectedObject] = (),
        grid: Grid = Grid(2, 2),  # noqa: B008 - frozen
        outcome: Outcome = "complete",
        leave_out: int | None = None,
        pipeline: str = "p1",
    ) -> str:
        """Cut a frame into tiles, tell of it, and give the id of its event.

        Args:
            leave_out: Index of a tile that never came.
        """
        key = FrameKey(camera, "run-1", sequence)
        captured_ns = CAPTURED_NS + sequence * 10**9
        frame = Frame(pixels=pixels, captured_ns=captured_ns)
        offsets: dict[str, tuple[int, int]] = {}
        for header, payload in encode_frame(frame, key, grid=grid, halo=4, codec="png", jpeg_quality=90):
            if header.index == leave_out:
                continue
            partition = header.index % self.partitions
            offset = self._append(partition, tile_headers(header), payload)
            offsets[str(partition)] = (offsets.get(str(partition), (offset, offset))[0], offset)
        event = FrameEvent(
            camera=camera,
            run="run-1",
            sequence=sequence,
            captured_ns=captured_ns,
            emitted_ns=captured_ns,
            width=pixels.shape[1],
            height=pixels.shape[0],
            outcome=outcome,
            coverage=1.0,
            missing_tiles=[],
            edges=None,
            features={},
            objects=list(objects),
            evidence=Evidence(topic=self.topic, offsets=offsets, pipeline=pipeline, operators={}),
            latency_ms={},
        )
        headers, value = encode_frame_event(event)
        self.events.append(_record("events", 0, len(self.events), headers, value))
        return dict(headers)["ce_id"].decode()

    def add_noise(self, count: int) -> None:
        """Records of nobody between the tiles."""
        for _ in range(count):
            for partition in range(self.partitions):
                self._append(partition, [("tile", b"\x00")], b"nothing")

    def _append(self, partition: int, headers: list[tuple[str, bytes]], value: bytes) -> int:
        records = self.tiles.setdefault(partition, [])
        records.append(_record(self.topic, partition, len(records), headers, value))
        return len(records) - 1

    def reader(self, _settings: Settings, topic: str) -> LogReader:
        """In place of `TopicReader`."""
        assert topic == self.topic
        self.readers += 1
        return LogReader(self)


class LogReader:
    """What `TopicReader` does, of a log in memory."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def bounds(self, partition: int) -> tuple[int, int]:
        return self._log.low.get(partition, 0), len(self._log.tiles.get(partition, []))

    def read(self, ranges: dict[int, tuple[int, int]]) -> Iterator[Record]:
        self._log.reads.append(ranges)
        for partition, (first, end) in ranges.items():
            assert self.bounds(partition)[0] <= first <= end <= self.bounds(partition)[1]
            for record in self._log.tiles[partition][first:end]:
                self._log.records_read += 1
                yield record


def _record(topic: str, partition: int, offset: int, headers: Any, value: bytes) -> Record:
    return Record(
        topic=topic, partition=partition, offset=offset, timestamp_ms=0, key=b"", value=value, headers=headers
    )


def found(label: str, box: tuple[float, float, float, float], score: float = 0.9) -> DetectedObject:
    return DetectedObject(label=label, score=score, box=box, source="step")
