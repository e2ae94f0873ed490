"""A replay as a whole, without a broker: what is sent of which frames, and when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from producers import replay as replaying
from producers.replay import Target, replay
from producers.replay_choice import Choice
from producers.replay_report import ReplayReport
from producers.replay_span import everything
from streamproc import wire
from streamproc.aggregator.assembly import Assembler, Limits
from streamproc.model import Features, TileHeader
from streamproc.reader import Record
from streamproc.settings import load_settings
from tests.features import features, tile_header
from tests.producers.replayed import MemorySource, frames, record, renumbered


@dataclass
class Sender:
    """Takes what a replay sends, in the place of a publisher."""

    sent: list[tuple[TileHeader, bytes]] = field(default_factory=list)
    queued_bytes: int = 0
    acked: int = 0

    def __call__(self, *_settings: Any, **_options: Any) -> Self:
        return self

    def start(self) -> Self:
        return self

    def send(self, *, value: bytes, headers: wire.Headers, on_delivery: Callable[..., None], **_where: Any) -> None:
        self.sent.append((wire.read_tile_header(headers), value))
        self.acked += 1
        on_delivery(None, self.acked)

    def flush(self, _timeout_s: float) -> int:
        return 0

    def close(self, *, timeout_s: float) -> None:
        pass

    @property
    def headers(self) -> list[TileHeader]:
        return [header for header, _ in self.sent]


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Sender:
    """What a replay sends."""
    found = Sender()
    monkeypatch.setattr(replaying, "Publisher", found)
    return found


def run(source: MemorySource, *, choice: Choice | None = None, apart: bool = False, **options: Any) -> ReplayReport:
    """Replay all of a source at full speed."""
    target = Target(topic="to", partitions=4, base="again", apart=apart)
    asked: dict[str, Any] = {"speed": None, **options}
    return replay(source, everything(source), choice or Choice(), target, load_settings(), **asked)


def test_each_tile_names_the_first_frame_of_its_run_that_is_sent(sender: Sender) -> None:
    two = renumbered([*frames(5, first=40), *frames(3, first=46, camera="yard", run="r2")])
    run(MemorySource(two))
    assert {(one.camera, one.first) for one in sender.headers} == {("cam", 40), ("yard", 46)}
    sender.sent.clear()
    captured_ns = wire.read_tile_header(frames(1, first=42)[0].headers).captured_ns
    run(MemorySource(frames(5, first=40)), choice=Choice(from_ns=captured_ns))
    assert {one.first for one in sender.headers} == {42}
    sender.sent.clear()
    run(MemorySource(frames(3, first=40)), apart=True)
    assert [one.first for one in sender.headers] == [one.sequence for one in sender.headers]


def test_a_tile_that_comes_before_those_of_the_frame_before_it_names_that_frame(sender: Sender) -> None:
    late = [tile for tile in frames(3, every_ms=0) if (tile.partition, tile.offset) != (0, 0)]
    run(MemorySource(late))
    assert sender.headers[0].sequence == 1
    assert {one.first for one in sender.headers} == {0}


@st.composite
def logs(draw: st.DrawFn) -> list[Record]:
    """A run of some frames, some tiles lost, at the same or at different times."""
    count, every_ms = draw(st.integers(1, 5)), draw(st.sampled_from([0, 40, 5000]))
    tiles = frames(count, first=draw(st.integers(0, 9)), every_ms=every_ms)
    lost = draw(st.just(set[int]()) | st.sets(st.integers(0, 4 * count - 1)))
    return [tile for number, tile in enumerate(tiles) if number not in lost]


@given(log=logs(), seed=st.integers(0, 9))
@given_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_frames_that_are_replayed_are_each_told_of_once_in_order_and_none_is_waited_for_in_vain(
    sender: Sender, log: list[Record], seed: int
) -> None:
    sender.sent.clear()
    run(MemorySource(log, seed=seed))
    assembler = Assembler(Limits(deadline_s=10, min_coverage=0.5, max_frames=100, max_bytes=10**6))
    told = []
    for offset, header in enumerate(sender.headers):
        assembler.add(_features(header), size_bytes=1, offset=offset, now_s=0)
        told += [closed for closed in assembler.finish(0) if closed.evidence]
    sequences = sorted({header.sequence for header in sender.headers})
    if len(log) == 4 * len(sequences):
        assert [closed.header.sequence for closed in told] == sequences
    told += [closed for closed in assembler.finish(10) if closed.evidence]
    assert [closed.header.sequence for closed in told] == sequences


def _features(header: TileHeader) -> Features:
    return replace_struct(features(), tile=header)


def test_tiles_without_pixels_are_sent_with_those_of_the_record_they_name_also_from_before_the_span(
    sender: Sender,
) -> None:
    pixels = {index: bytes([index]) * tile_header(index=index).rect.area for index in range(4)}
    tiles = [_changed_only(one, pixels) for one in frames(4)]
    captured_ns = wire.read_tile_header(frames(1, first=2)[0].headers).captured_ns
    report = run(MemorySource(tiles), choice=Choice(from_ns=captured_ns))
    assert (report.frames_complete, report.left_out) == (2, 0)
    for header, value in sender.sent:
        assert (header.schema, header.same_as, header.base) == (1, None, True)
        assert value == pixels[header.index]
        wire.check_payload(header, value)


def test_tiles_whose_pixels_are_not_kept_any_more_are_left_out_and_told(sender: Sender) -> None:
    pixels = {index: bytes([index]) * tile_header(index=index).rect.area for index in range(4)}
    tiles = [_changed_only(one, pixels) for one in frames(3)]
    report = run(MemorySource(tiles[1:]))  # without the first tile's record
    assert (len(sender.sent), report.left_out, report.frames_complete) == (9, 2, 0)
    assert "2 tiles left out: the records with their pixels are no longer kept" in report.lines()
    assert report.as_json()["left_out"] == 2


def _changed_only(one: Record, pixels: Mapping[int, bytes]) -> Record:
    """A tile of a camera that does not move: its first frame has pixels, all others refer to it."""
    old = wire.read_tile_header(one.headers)
    value = pixels[old.index]
    base = {"base": True} if old.sequence == 0 else {"schema": wire.REFERENCE_SCHEMA, "same_as": 0}
    header = replace_struct(old, payload_digest=wire.digest_payload(value), **base)
    held = value if old.sequence == 0 else b""
    return replace(one, headers=wire.tile_headers(header), value=held, nulls=frozenset({"value"} if not held else ()))


LATER_MS = 1_003_000


class Endless(MemorySource):
    """Records that are wanted, and three seconds later one that is not, again and again."""

    def __init__(self, records: Sequence[Record], *, on_read: Callable[[int], None]) -> None:
        super().__init__(records)
        self._held[0] += [
            record(tile_header(camera="nobody"), offset=len(self._held[0]), timestamp_ms=LATER_MS, partition=0)
        ]
        self._on_read, self._most = on_read, 10**9
        self.read_records = 0

    def bounds(self, partition: int) -> tuple[int, int]:
        return (0, self._most) if partition == 0 else super().bounds(partition)

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        return self._most if partition == 0 and since_ms > LATER_MS else super().offset_at(partition, since_ms=since_ms)

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        yield from super().read(ranges)
        header = tile_header(camera="nobody")
        for offset in range(super().bounds(0)[1], ranges.get(0, (0, 0))[1]):
            self.read_records += 1
            self._on_read(self.read_records)
            time.sleep(0.001)
            yield record(header, offset=offset, timestamp_ms=LATER_MS, partition=0)


def ended(source: Endless, **options: Any) -> ReplayReport:
    """The report of a replay that must end by itself within five seconds."""
    found: list[ReplayReport] = []
    thread = threading.Thread(
        target=lambda: found.append(run(source, choice=Choice(cameras=["cam"]), **options)), daemon=True
    )
    thread.start()
    thread.join(5)
    assert found, "the replay goes on"
    return found[0]


@pytest.mark.parametrize("sent", [0, 8])
def test_a_stop_is_seen_where_nothing_is_wanted_any_more(sender: Sender, sent: int) -> None:
    stop = threading.Event()
    source = Endless(frames(2)[:sent], on_read=lambda count: stop.set() if count == 50 else None)
    report = ended(source, stop=stop)
    assert (report.stopped, report.frames_complete, len(sender.sent)) == (True, sent // 4, sent)
    last_ns = (1_000_000 + 40 - 5) * 10**6
    assert report.next_ns == (last_ns + 1000 if sent else None)


def test_a_stop_does_not_wait_for_long_for_the_rest_of_a_frame(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "_FINISH_S", 0.2)
    stop = threading.Event()
    source = Endless(frames(2)[:7], on_read=lambda count: stop.set() if count == 5 else None)
    report = ended(source, stop=stop)
    assert [(key.sequence, frame.missing) for key, frame in report.incomplete] == [(1, 1)]
    assert len(sender.sent) == 7


def test_a_limit_that_is_reached_does_not_read_all_the_rest(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "_FINISH_S", 0.1)
    report = ended(Endless(frames(2), on_read=lambda _count: None), limit=2)
    assert (report.stopped, report.frames_complete, report.next_ns) == (False, 2, None)


def test_a_limit_says_where_to_go_on(sender: Sender) -> None:
    report = run(MemorySource(frames(5, every_ms=3000)), limit=2)
    assert (report.frames_complete, report.next_ns) == (2, (1_000_000 + 6000 - 5) * 10**6)
    assert len(sender.sent) == 8
