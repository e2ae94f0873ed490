"""Publishing without a broker: order, counts that balance, and every way a run can end."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from producers.publish import PublishReport, publish
from producers.runs import new_run, require_name
from producers.sources import Source, read_marks
from producers.sources.synthetic import SyntheticSource
from streamproc import wire
from streamproc.errors import DeliveryError, SourceEnded, SourceError, UsageError
from streamproc.model import Frame, Grid, TileHeader
from streamproc.operators import pixels as pixel_ops
from streamproc.settings import NAME_PATTERN, load_settings
from streamproc.topics import tile_key, tile_partition
from tests.producers.material import SETTINGS, picture
from tests.producers.senders import MemorySender


class Frames(Source):
    """Small frames that all differ; may end with an error, and tells how far it was read."""

    name = "frames"

    def __init__(self, count: int | None = None, *, error: Exception | None = None, fps: float | None = None) -> None:
        self.length = count
        self.fps = fps
        self.error = error
        self.read = 0

    def __iter__(self) -> Iterator[Frame]:
        for number in itertools.count() if self.length is None else range(self.length):
            self.read += 1
            yield Frame(pixels=picture(64, 48, seed=number), captured_ns=time.time_ns())
        if self.error is not None:
            raise self.error

    def describe(self) -> str:
        return "frames of a test"


def run(source: Source, sender: MemorySender, **options: Any) -> PublishReport:
    given: dict[str, Any] = {
        "camera": "cam",
        "run": "r1",
        "partitions": 8,
        "codec": "raw",
        "grid": Grid(2, 2),
        "fps": "max",
    }
    report = publish(source, options.pop("settings", SETTINGS), sender=sender, **{**given, **options})
    assert report.frames_read == report.frames_published + report.frames_failed + report.frames_dropped
    assert not sender.closed
    return report


def test_frames_are_numbered_from_zero_in_order_and_each_tile_has_its_key_and_partition() -> None:
    sender = MemorySender()
    report = run(Frames(20), sender)
    report.raise_for_problem()
    assert (report.frames_read, report.frames_published, report.frames_failed) == (20, 20, 0)
    assert (report.tiles_acked, report.tiles_failed) == (80, 0)
    assert report.bytes == 20 * 64 * 48 * 3
    headers = [record.header for record in sender.records]
    assert [header.sequence for header in headers] == [number for number in range(20) for _ in range(4)]
    assert [header.index for header in headers] == [0, 1, 2, 3] * 20
    for record in sender.records:
        assert record.topic == "streamproc.tiles"
        assert record.key == tile_key(record.header)
        assert record.partition == tile_partition("cam", record.header.index, 8)
        wire.check_tile(record.header, record.value, max_frame_pixels=10**6)


def test_published_pixels_are_the_frames() -> None:
    sender = MemorySender()
    run(
        SyntheticSource(640, 384, max_pixels=10**6),
        sender,
        limit=6,
        codec="jpeg",
        pipeline_halo=16,
        grid=Grid(2, 3),
    )
    assert len(sender.records) == 36
    for record in sender.records:
        header, rect = record.header, record.header.rect
        pixels = pixel_ops.decode(record.value, "jpeg", header.pixel_format, rect.width, rect.height)
        assert read_marks(pixels, left=rect.x, top=rect.y).proves(header.sequence)


def test_a_limit_ends_an_endless_source() -> None:
    report = run(Frames(), MemorySender(), limit=7)
    assert (report.frames_published, report.problem, report.stopped) == (7, None, False)


def test_an_empty_source_publishes_nothing() -> None:
    report = run(Frames(0), MemorySender())
    assert (report.frames_read, report.grid, report.problem) == (0, None, None)


@pytest.mark.parametrize("error", [SourceEnded("film a ended after 5 of 9 frames"), SourceError("picture b is broken")])
def test_what_was_read_before_a_source_fails_is_published(error: Exception) -> None:
    report = run(Frames(5, error=error), MemorySender())
    assert report.frames_published == 5
    assert report.problem is error
    with pytest.raises(type(error)):
        report.raise_for_problem()


def test_a_frame_counts_only_when_all_its_tiles_are_acknowledged() -> None:
    sender = MemorySender(fails=lambda header: (header.sequence, header.index) == (2, 1))
    report = run(Frames(5), sender)
    assert (report.frames_read, report.frames_published, report.frames_failed) == (5, 4, 1)
    assert (report.tiles_acked, report.tiles_failed) == (19, 1)
    with pytest.raises(DeliveryError, match="refused by the broker"):
        report.raise_for_problem()


def test_a_failed_delivery_ends_the_run_and_keeps_what_went_before() -> None:
    source = Frames()
    sender = MemorySender(prompt=True, fails=lambda header: header.sequence >= 3)
    report = run(source, sender)
    assert report.frames_published == 3
    assert report.frames_failed >= 1
    assert source.read < 30
    assert isinstance(report.problem, DeliveryError)


def test_a_tile_that_cannot_be_queued_ends_the_run() -> None:
    sender = MemorySender(prompt=True, raises=lambda header: (header.sequence, header.index) == (3, 2))
    report = run(Frames(10), sender)
    assert report.frames_published == 3
    assert report.tiles_failed == 2
    assert "cannot be queued" in str(report.problem)
    assert max(record.header.sequence for record in sender.records) == 3


def test_a_stop_ends_reading_and_what_was_read_is_published() -> None:
    stop, source = threading.Event(), Frames()

    def after_ten(sent: int) -> None:
        if sent == 10:
            stop.set()

    report = run(source, MemorySender(), stop=stop, on_progress=after_ten)
    assert report.stopped
    assert report.problem is None
    assert report.frames_failed == 0
    assert 10 <= report.frames_published == report.frames_read < 30


def test_a_stop_wakes_a_run_that_waits_for_its_next_frame() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    started = time.monotonic()
    report = run(Frames(), MemorySender(), stop=stop, fps=0.01)
    assert time.monotonic() - started < 2
    assert report.frames_published == 1


def test_a_stop_while_the_queue_is_full_gives_up_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.publish._STOP_S", 0.5)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    settings = load_settings(producer_queue_bytes=2**20)
    started = time.monotonic()
    report = run(SyntheticSource(640, 480, max_pixels=10**6), MemorySender(stuck=True), stop=stop, settings=settings)
    assert time.monotonic() - started < 5
    assert report.frames_published == 0
    assert isinstance(report.problem, DeliveryError)


def test_reports_that_never_come_are_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.publish._STOP_S", 0.2)
    report = run(Frames(3), MemorySender(stuck=True), settings=load_settings(delivery_timeout_s=1))
    assert (report.frames_published, report.frames_failed, report.tiles_failed) == (0, 3, 12)
    assert "not acknowledged when the run ended" in str(report.problem)


class Slow(MemorySender):
    """Reports one at a time, a little later."""

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while not self.closed:
            MemorySender.flush(self, 0)
            time.sleep(0.001)

    def flush(self, timeout_s: float) -> int:
        time.sleep(0.01)
        return len(self._waiting)


def test_the_queue_stays_within_its_bytes() -> None:
    sender = Slow()
    sender.start()
    settings = load_settings(producer_queue_bytes=2**20)
    report = publish(
        SyntheticSource(640, 480, max_pixels=10**6),
        settings,
        camera="cam",
        partitions=4,
        codec="raw",
        grid=Grid(2, 2),
        fps="max",
        limit=20,
        sender=sender,
    )
    sender.closed = True
    assert report.frames_published == 20
    assert sender.most_queued_bytes <= 2**20


def test_reading_runs_ahead_by_a_bounded_number_of_frames() -> None:
    source = Frames()
    seen: list[int] = []
    run(source, MemorySender(), limit=40, on_progress=lambda sent: seen.append(source.read - sent))
    assert max(seen) <= 8


def test_pacing_follows_the_source_or_the_given_rate() -> None:
    for fps, source_fps, seconds in (("source", 50.0, 0.18), (25.0, None, 0.36), ("max", 5.0, 0.0)):
        started = time.monotonic()
        run(Frames(10, fps=source_fps), MemorySender(), fps=fps)
        assert seconds <= time.monotonic() - started < seconds + 0.6


@pytest.mark.parametrize(("fps", "expected"), [("max", [0, 5, 10, 15]), (1000.0, [0])])
def test_previews_are_marked_on_all_tiles_of_a_frame(fps: float | str, expected: list[int]) -> None:
    sender = MemorySender()
    run(Frames(20, fps=25.0), sender, fps=fps)
    marked = [record.header.sequence for record in sender.records if record.header.preview]
    assert marked == [number for number in expected for _ in range(4)]


def test_ledgers_are_told_of_each_frame_with_its_headers() -> None:
    told: list[tuple[int, int]] = []

    def ledger(headers: Sequence[TileHeader], frame: Frame) -> None:
        assert all(header.frame_digest == wire.digest_frame(frame.pixels) for header in headers)
        told.append((headers[0].sequence, len(headers)))

    run(Frames(5), MemorySender(), on_frame=ledger)
    assert told == [(number, 4) for number in range(5)]


@pytest.mark.parametrize("fps", ["max", 0.01])
def test_an_error_of_the_callers_own_ends_everything_at_once(fps: float | str) -> None:
    def fail(_sent: int) -> None:
        raise ZeroDivisionError

    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        run(Frames(), MemorySender(), on_progress=fail, fps=fps)
    assert time.monotonic() - started < 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("read", "encode"))]


def test_an_unexpected_error_of_a_source_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run(Frames(3, error=ZeroDivisionError()), MemorySender())


def test_a_grid_that_does_not_fit_is_the_problem() -> None:
    report = run(Frames(3), MemorySender(), grid=Grid(50, 50))
    assert isinstance(report.problem, UsageError)
    assert report.frames_published == 0


def test_a_frame_that_cannot_be_encoded_ends_the_run_after_those_before_it() -> None:
    class Wide(Frames):
        def __iter__(self) -> Iterator[Frame]:
            yield from Frames(2)
            yield Frame(pixels=np.zeros((16, 65_520), np.uint8), captured_ns=0)
            yield from Frames(2)

    report = run(Wide(), MemorySender(), codec="jpeg", grid=Grid(1, 1))
    assert report.frames_published == 2
    assert isinstance(report.problem, SourceError)
    assert "frame 2 cannot be encoded" in str(report.problem)


def test_the_chosen_grid_is_told_and_reported() -> None:
    told: list[str] = []
    report = run(Frames(3), MemorySender(), grid=None, notice=told.append)
    assert told == [report.reason]
    assert report.grid == Grid(1, 1)


def test_a_report_can_be_read_by_people_and_machines() -> None:
    report = run(Frames(3, error=SourceEnded("ended early")), MemorySender())
    assert re.fullmatch(
        r"3 of 3 frames published: 12 tiles, 0\.0 MB in .* s \(.* frames/s\), camera cam, run r1",
        report.summary(),
    )
    read = json.loads(json.dumps(report.as_json()))
    assert {**read, "seconds": 0} == {
        "camera": "cam",
        "run": "r1",
        "source": "frames of a test",
        "grid": "2x2",
        "reason": "grid 2x2: as asked",
        "frames_read": 3,
        "frames_published": 3,
        "frames_failed": 0,
        "frames_unknown": 0,
        "frames_dropped": 0,
        "tiles_acked": 12,
        "tiles_failed": 0,
        "tiles_unchanged": 0,
        "tiles_shed": 0,
        "bytes": 3 * 64 * 48 * 3,
        "seconds": 0,
        "stopped": False,
        "problem": "ended early",
    }


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", ".hidden", "x" * 101, "a\n", "ä", "cam\0"])
@pytest.mark.parametrize("which", ["camera", "run"])
def test_names_that_are_not_safe_everywhere_are_refused(which: str, name: str) -> None:
    with pytest.raises(UsageError, match=which):
        run(Frames(1), MemorySender(), **{which: name})


def test_runs_have_names_of_their_own() -> None:
    names = {new_run() for _ in range(50)}
    assert len(names) > 45
    for name in names:
        assert re.fullmatch(r"file-\d{8}T\d{6}Z-[0-9a-f]{4}", name)
        assert re.match(NAME_PATTERN, require_name("run", name))
