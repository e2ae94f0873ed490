"""Sending only changed tiles, from a source to the log: what is saved, what is counted, what the ledger says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from producers.changed_only import ChangedOnly
from producers.ingest_crew import Crew
from producers.ingest_lane import Lane
from producers.ingest_run import Outlet
from producers.publish import publish
from producers.sources import Source
from streamproc.errors import StreamprocError
from streamproc.evidence import join_tiles, tile_pixels
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.metrics import Metrics
from streamproc.model import Frame, Grid, Pixels, TileHeader
from streamproc.records import Record
from streamproc.references import References
from streamproc.settings import Settings, load_settings
from streamproc.wire import tile_headers
from tests.producers.material import SETTINGS
from tests.producers.senders import MemorySender
from tests.producers.staged import SETTINGS as STAGED
from tests.producers.staged import StagedBroker, spec
from tests.waiting import wait_until

SIZE = (240, 320)
GRID = Grid(4, 5)


GROUND: Pixels = np.random.default_rng(2).integers(30, 180, (*SIZE, 3), np.uint8)


def scene(number: int, *, noise: float = 0.0) -> Pixels:
    """A block that moves over a still ground."""
    pixels = GROUND.copy()
    x = 4 + 5 * number % (SIZE[1] - 40)
    pixels[100:130, x : x + 24] = (255, 0, 90)
    if noise:
        shaken = pixels + np.random.default_rng(number).normal(0, noise, pixels.shape)
        return np.clip(shaken, 0, 255).astype(np.uint8)
    return pixels


class Clip(Source):
    """The scene, 25 frames a second."""

    name = "clip"
    fps = 25.0

    def __init__(self, count: int, *, noise: float = 0.0) -> None:
        self.length, self._noise = count, noise
        self.receipts: dict[int, list[bool]] = {number: [] for number in range(count)}

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            yield Frame(
                pixels=scene(number, noise=self._noise),
                captured_ns=10**18 + number * 40_000_000,
                receipt=self.receipts[number].append,
            )

    def describe(self) -> str:
        return "a clip of a test"


def frames_of(records: Iterable[tuple[int, int, TileHeader, bytes]]) -> list[Pixels]:
    """Frames put together from the records of one run: partition, offset, header and value."""
    kept = list(records)
    log = {(partition, offset): (header, value) for partition, offset, header, value in kept}

    def fetch(partition: int, offset: int) -> Record:
        header, value = log[partition, offset]
        return Record(
            topic="t",
            partition=partition,
            offset=offset,
            timestamp_ms=0,
            key=b"",
            value=value,
            headers=tile_headers(header),
        )

    references = References(fetch)
    tiles: dict[int, list[tuple[TileHeader, Pixels]]] = {}
    for partition, offset, header, value in kept:
        payload = references.payload(header, partition=partition, offset=offset, value=value)
        tiles.setdefault(header.sequence, []).append((header, tile_pixels(header, payload)))
    return [join_tiles(tiles[number], width=SIZE[1], height=SIZE[0]) for number in sorted(tiles)]


def size_of(header: TileHeader) -> int:
    return sum(len(name) + len(value) for name, value in tile_headers(header))


@pytest.mark.parametrize("drop", ["block", "drop-oldest"])
def test_a_clip_of_a_camera_that_stands_still_costs_less_and_shows_the_same(drop: str, tmp_path: Path) -> None:
    sizes = {}
    for changed in (None, ChangedOnly(level=0.0, full_every_s=2.0)):
        clip, sender, metrics = Clip(100), MemorySender(prompt=True), Metrics()
        with LedgerWriter(tmp_path / f"ledger-{changed is None}") as ledger:
            report = publish(
                clip,
                SETTINGS,
                camera="cam",
                partitions=4,
                codec="png",
                grid=GRID,
                fps="max",
                drop=drop,  # type: ignore[arg-type]  # one of them
                pipeline_halo=4,
                changed=changed,
                sender=sender,
                metrics=metrics,
                ledger=ledger,
            )
        assert (report.frames_published, report.problem) == (100, None)
        assert all(told == [True] for told in clip.receipts.values())
        shown = frames_of((one.partition, one.offset, one.header, one.value) for one in sender.records)
        assert all(np.array_equal(pixels, scene(number)) for number, pixels in enumerate(shown))
        sizes[changed] = sum(len(one.value) + size_of(one.header) for one in sender.records)
        unchanged = sum(one.header.same_as is not None for one in sender.records)
        assert report.tiles_unchanged == unchanged
        assert metrics.registry.get_sample_value("streamproc_tiles_unchanged_total", {"camera": "cam"}) == (unchanged)
        found = read_ledger(tmp_path / f"ledger-{changed is None}")
        assert {frame.status for frame in found.frames.values()} == {"acked"}
    plain, saving = sizes.values()
    assert saving < 0.4 * plain


def test_the_ledger_has_the_pixels_that_were_sent(tmp_path: Path) -> None:
    sender = MemorySender(prompt=True)
    with LedgerWriter(tmp_path / "ledger") as ledger:
        report = publish(
            Clip(30, noise=2.0),
            SETTINGS,
            camera="cam",
            partitions=4,
            codec="raw",
            grid=GRID,
            fps="max",
            changed=ChangedOnly(),
            sender=sender,
            ledger=ledger,
        )
    assert report.tiles_unchanged > 400
    shown = frames_of((one.partition, one.offset, one.header, one.value) for one in sender.records)
    lines = [frame.line for frame in read_ledger(tmp_path / "ledger").frames.values()]
    assert [hashlib.sha256(pixels.data).hexdigest() for pixels in shown] == [line.sha256 for line in lines]


def test_receipts_of_frames_that_do_not_arrive() -> None:
    clip = Clip(6)
    sender = MemorySender(prompt=True, fails=lambda header: (header.sequence, header.index) == (2, 1))
    publish(clip, SETTINGS, camera="cam", partitions=4, codec="raw", grid=GRID, fps="max", sender=sender)
    assert [clip.receipts[number] for number in range(3)] == [[True], [True], [False]]
    assert all(len(told) <= 1 for told in clip.receipts.values())


def lane_of(broker: StagedBroker, *, settings: Settings = STAGED, **keys: Any) -> tuple[Lane, Outlet]:
    outlet = Outlet(
        settings=settings,
        sender=broker,
        metrics=Metrics(),
        partitions=4,
        crew=Crew(1),
        notice=lambda _line: None,
    )
    lane = Lane(spec("cam", grid=str(GRID), changed_only=True, change_level=0.0, **keys), outlet)
    lane.begin(live=True, stream_fps=None)
    lane.share(1)
    outlet.crew.start()
    return lane, outlet


def end(lane: Lane, outlet: Outlet) -> None:
    lane.close()
    lane.finish(timeout_s=5)
    outlet.crew.close(timeout_s=5)
    outlet.sender.flush(1)
    lane.give_up()


def test_a_camera_of_the_list_sends_what_has_changed() -> None:
    broker = StagedBroker()
    lane, outlet = lane_of(broker, drop="block")
    clip = Clip(40)
    for frame in clip:
        lane.offer(frame)
    end(lane, outlet)
    counts = lane.counts()
    assert (counts.frames_published, counts.tiles_shed) == (40, 0)
    assert counts.tiles_unchanged > 40 * GRID.count * 0.6
    shown = frames_of((one.partition, one.offset, one.header, one.value) for one in broker.records)
    assert all(np.array_equal(pixels, scene(number)) for number, pixels in enumerate(shown))
    assert all(told == [True] for told in clip.receipts.values())


def published(lane: Lane, number: int) -> bool:
    return lane.counts().frames_published == number


def test_under_load_tiles_are_shed_before_frames_are_and_each_is_counted() -> None:
    broker, settings = StagedBroker(), load_settings(prefix="t-", producer_queue_bytes=2**20, delivery_timeout_s=5)
    lane, outlet = lane_of(broker, settings=settings, drop="drop-oldest")
    clip = list(Clip(25))
    lane.offer(clip[0])
    wait_until(lambda: lane.counts().frames_published == 1, "the first frame", timeout_s=5)
    broker.queued_bytes += int(0.4 * settings.producer_queue_bytes)  # the broker takes too little; and a frame waits
    for number, frame in enumerate(clip[1:], start=2):
        lane.offer(frame)
        wait_until(partial(published, lane, number), f"frame {number}", timeout_s=5)
    end(lane, outlet)
    counts = lane.counts()
    assert (counts.frames_published, counts.frames_dropped) == (25, 0)
    assert 12 < counts.tiles_shed < counts.tiles_unchanged
    told = outlet.metrics.registry.get_sample_value("streamproc_tiles_shed_total", {"camera": "cam", "reason": "load"})
    assert told == counts.tiles_shed
    shown = frames_of((one.partition, one.offset, one.header, one.value) for one in broker.records)
    assert len(shown) == 25  # each frame is whole, though parts of it are older


def test_a_frame_that_is_dropped_or_cannot_be_cut_gets_its_receipt() -> None:
    broker = StagedBroker(away=True)
    lane, outlet = lane_of(broker, drop="drop-newest")
    clip = Clip(60)
    for frame in clip:
        lane.offer(frame)
    told: list[bool] = []
    with pytest.raises(StreamprocError):
        lane.offer(Frame(pixels=np.zeros((8, 8), np.uint8), captured_ns=1, receipt=told.append))
    broker.away = False
    end(lane, outlet)
    counts = lane.counts()
    assert counts.balanced
    assert counts.frames_dropped > 0
    ended = list(clip.receipts.values())
    assert all(len(receipts) == 1 for receipts in ended)
    assert sum(receipts == [True] for receipts in ended) == counts.frames_published
    assert told == [False]
