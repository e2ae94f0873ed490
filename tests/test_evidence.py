"""From events to pixels without a broker: tiles in sources of the tests' own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import wire
from streamproc.errors import BrokerError, StreamprocError
from streamproc.evidence import Sources, look
from streamproc.evidence.clip import PAUSE_NS, Trails, make_clip, shots, size_for, usual_fps
from streamproc.evidence.edges import edges_again
from streamproc.evidence.finding import events_between, find_event, first_of_each, frame_event_of, twin_of
from streamproc.evidence.picture import draw_sight, offsets_text, with_words, words_of
from streamproc.evidence.sources import Opener
from streamproc.evidence.store import EventStore, Frame, Told
from streamproc.evidence.video import Video
from streamproc.model import FrameKey, Grid, Pixels
from streamproc.operators import drawing
from streamproc.operators.pipeline_file import parse
from streamproc.operators.pixels import encode
from streamproc.operators.tiling import split
from streamproc.reader import Record
from streamproc.records import RecordSource
from streamproc.topics import camera_partition, tile_partition
from tests.aggregator.test_whole import view
from tests.compare.events import START_NS, STEP_NS, Event, an_object, frame_event, happening
from tests.features import tile_header
from tests.operators.pictures import photograph as in_colour

PARTITIONS = 8
WIDTH, HEIGHT, GRID = 320, 240, Grid(2, 2)
TILES, EVENTS = "streamproc.tiles", "streamproc.events"
MANY = 10**9
EDGES = parse('[[step]]\noperator = "canny"\nname = "edges"\n', "edges")


def photograph(width: int, height: int, channels: int = 1) -> Pixels:
    pixels = in_colour(width, height)
    return pixels if channels == 3 else np.ascontiguousarray(pixels[:, :, 1])


class MemorySource:
    """A topic in memory; what lies below `lows` was removed."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._records: dict[int, list[Record]] = {number: [] for number in range(PARTITIONS)}
        self.lows: dict[int, int] = {}

    @property
    def topic(self) -> str:
        return self._topic

    def add(self, partition: int, headers: wire.Headers, value: bytes, *, timestamp_ms: int = START_NS // 10**6) -> int:
        held = self._records[partition]
        held.append(
            Record(
                topic=self._topic,
                partition=partition,
                offset=len(held),
                timestamp_ms=timestamp_ms,
                key=b"",
                value=value,
                headers=headers,
            )
        )
        return len(held) - 1

    def partitions(self) -> list[int]:
        return list(self._records)

    def bounds(self, partition: int) -> tuple[int, int]:
        return self.lows.get(partition, 0), len(self._records[partition])

    def offset_at(self, partition: int, *, since_ms: int) -> int:
        low, high = self.bounds(partition)
        return next((n for n in range(low, high) if self._records[partition][n].timestamp_ms >= since_ms), high)

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        for partition, (first, end) in ranges.items():
            low, high = self.bounds(partition)
            yield from self._records[partition][max(low, first) : min(end, high)]


def sources(*places: tuple[str, MemorySource]) -> Sources:
    """Places by name; each has the one topic."""

    def opener(source: MemorySource) -> Opener:
        def opened(topic: str) -> AbstractContextManager[RecordSource]:
            if topic != source.topic:
                raise BrokerError(f"topic {topic} does not exist")
            return nullcontext(source)

        return opened

    return Sources([(name, opener(source)) for name, source in places])


def put(source: MemorySource, pixels: Pixels, *, sequence: int = 0, gone: Sequence[int] = (), halo: int = 2) -> Event:
    """Send a frame's tiles; gives its event, as the pipeline of edges tells it."""
    offsets: dict[str, list[int]] = {}
    height, width = pixels.shape[:2]
    at_ns = START_NS + sequence * STEP_NS
    for index, window in enumerate(split(pixels, GRID, halo)):
        if index in gone:
            continue
        payload = encode(window.pixels, "png")
        header = tile_header(
            index=index,
            grid=GRID,
            width=width,
            height=height,
            camera="gate",
            run="run-1",
            sequence=sequence,
            captured_ns=at_ns,
            halo=halo,
            codec="png",
            pixel_format="bgr8" if pixels.ndim == 3 else "gray8",
            payload_digest=wire.digest_payload(payload),
        )
        partition = tile_partition("gate", index, PARTITIONS)
        offset = source.add(partition, wire.tile_headers(header), payload, timestamp_ms=at_ns // 10**6)
        offsets.setdefault(str(partition), [offset, offset])[1] = offset
    found = view(EDGES, pixels, GRID, gone=gone, sequence=sequence)
    return frame_event(
        sequence,
        width=width,
        height=height,
        outcome="partial" if gone else "complete",
        missing_tiles=[list(divmod(index, GRID.cols)) for index in gone],
        edges=msgspec.to_builtins(found.summary),
        objects=[an_object(box=(20 + 2 * sequence, 30, 70 + 2 * sequence, 120), track="0-0")],
        evidence={"topic": TILES, "offsets": offsets, "pipeline": EDGES.digest, "operators": {"canny": 1}},
    )


@pytest.fixture
def tiles() -> MemorySource:
    return MemorySource(TILES)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_frame_is_put_together_again_pixel_by_pixel(tiles: MemorySource, channels: int) -> None:
    pixels = photograph(WIDTH, HEIGHT, channels)
    others = [put(tiles, np.zeros_like(pixels), sequence=n) for n in (1, 2)]
    event = put(tiles, pixels)
    with sources(("the log", tiles)) as places:
        sights = look(places, [one["data"] for one in (*others, event)], max_frame_pixels=MANY)
    sight = sights[-1]
    assert sight.seen is not None
    assert np.array_equal(sight.seen.pixels, pixels)
    assert (sight.lost, sight.told, sight.places, len(sight.seen.cores)) == ((), (), ("the log",), 4)
    assert all(one.seen is not None and not one.seen.pixels.any() for one in sights[:2])


def test_what_retention_has_removed_is_told_with_tile_offset_and_time_and_the_rest_is_shown(
    tiles: MemorySource,
) -> None:
    pixels = photograph(WIDTH, HEIGHT)
    event = put(tiles, pixels)
    put(tiles, pixels, sequence=250)  # ten seconds later
    partition = tile_partition("gate", 1, PARTITIONS)
    tiles.lows[partition] = 1
    with sources(("the log", tiles)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    assert sight.seen is not None
    assert [(one.row, one.col) for one in sight.lost] == [(0, 1)]
    core = sight.lost[0].core
    assert core is not None
    assert not sight.seen.pixels[core.y : core.bottom, core.x : core.right].any()
    assert np.array_equal(sight.seen.pixels[HEIGHT // 2 :], pixels[HEIGHT // 2 :])
    assert sight.lost[0].why == (
        f"the log has removed offsets 0 to 0 of {TILES}[{partition}] (retention): it begins at offset 1,"
        " 2023-11-14 22:13:30 UTC"
    )
    picture = draw_sight(sight, Told(event, []))
    assert (picture == drawing.MISSING).all(axis=2)[core.y : core.bottom, core.x : core.right].any()


def test_what_one_place_lacks_comes_from_the_next(tiles: MemorySource) -> None:
    pixels, kept = photograph(WIDTH, HEIGHT), MemorySource(TILES)
    event = put(tiles, pixels)
    put(kept, pixels)
    tiles.lows[tile_partition("gate", 2, PARTITIONS)] = 1
    with sources(("the log", tiles), ("the archive", kept)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    assert sight.seen is not None
    assert np.array_equal(sight.seen.pixels, pixels)
    assert (sight.places, sight.lost) == (("the log", "the archive"), ())


def test_when_nothing_is_left_each_place_says_why(tiles: MemorySource) -> None:
    event = put(tiles, photograph(WIDTH, HEIGHT))
    tiles.lows = dict.fromkeys(range(PARTITIONS), 1)
    with sources(("the log", tiles), ("the archive", MemorySource("other"))) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    assert sight.seen is None
    assert len(sight.told) == 5  # a line for each partition, and one for the archive
    assert "holds nothing now" in sight.told[0]
    assert sight.told[-1] == f"the archive: topic {TILES} does not exist"
    picture = draw_sight(sight, Told(event, []))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert "pixels: gone" in words_of(event, Told(event, []), sight)


def test_frames_that_never_had_a_tile_or_claim_a_huge_size_are_shown_without_pixels_and_foreign_events_refused(
    tiles: MemorySource,
) -> None:
    evidence = {"topic": TILES, "offsets": {}, "pipeline": "p1", "operators": {}}
    event = frame_event(0, outcome="rejected", width=65535, height=65535, evidence=evidence)
    with sources(("the log", tiles)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
        assert (sight.seen, sight.told) == (None, ("no tile of it ever came",))
        assert max(draw_sight(sight, Told(event, [])).shape) == 8192
        for foreign in ({}, {**event["data"], "evidence": None}):
            with pytest.raises(StreamprocError, match="does not say where its tiles stand"):
                look(places, [foreign], max_frame_pixels=MANY)


def test_tiles_that_never_came_are_told_apart_from_removed_ones_and_damaged_ones_are_not_shown(
    tiles: MemorySource,
) -> None:
    event = put(tiles, photograph(WIDTH, HEIGHT), gone=(3,))
    partition = tile_partition("gate", 0, PARTITIONS)
    held = tiles._records[partition]
    held[0] = Record(
        topic=TILES,
        partition=partition,
        offset=0,
        timestamp_ms=0,
        key=b"",
        value=held[0].value[:-9] + b"x" * 9,
        headers=held[0].headers,
    )
    with sources(("the log", tiles)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    assert {(one.row, one.col): one.why for one in sight.lost} == {
        (0, 0): "it is not where the event says",
        (1, 1): "it never came",
    }


@pytest.mark.parametrize("gone", [(), (3,)], ids=["complete", "partial"])
def test_edges_worked_out_again_are_proved_by_the_digest_of_the_event(
    tiles: MemorySource, gone: tuple[int, ...]
) -> None:
    pixels = photograph(WIDTH, HEIGHT)
    event = put(tiles, pixels, gone=gone)
    with sources(("the log", tiles)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    edges, line = edges_again(sight, event["data"], EDGES)
    assert edges is not None
    assert line.endswith("their digest is the event's")
    if not gone:
        assert np.array_equal(edges, cv2.Canny(pixels, 50, 150))
    assert (draw_sight(sight, Told(event, []), edges=edges) == drawing.EDGE).all(axis=2).any()
    other = parse('[[step]]\noperator = "canny"\nname = "edges"\nlow = 10\n', "other")
    assert edges_again(sight, event["data"], other) == (
        None,
        f"not drawn: they come from pipeline {EDGES.digest}; name its file with --pipeline",
    )
    wrong = {**event["data"], "edges": {**event["data"]["edges"], "digest": "00"}}
    assert edges_again(sight, wrong, EDGES)[0] is None


def log_of(events: Sequence[Event], *, partition: int | None = None) -> MemorySource:
    source = MemorySource(EVENTS)
    for event in events:
        source.add(
            camera_partition(event["data"]["camera"], PARTITIONS) if partition is None else partition,
            [(f"ce_{name}", str(event[name]).encode()) for name in ("id", "source", "type", "subject", "time")],
            msgspec.json.encode(event["data"]),
            timestamp_ms=event["data"]["captured_ns"] // 10**6 + 40,
        )
    return source


def test_an_event_is_found_by_its_id_and_what_happened_leads_to_its_frame() -> None:
    events = [happening(7, "new", "7-0"), *(frame_event(n) for n in range(20))]
    log = log_of(events)
    with sources(("the log", log)) as places:
        for camera in (None, "gate"):
            for event in (events[0], events[5]):
                assert find_event(places, EVENTS, event["id"], camera=camera)["data"] == event["data"]
        found = frame_event_of(places, EVENTS, events[0])
        assert found["data"]["sequence"] == 7
        with pytest.raises(
            BrokerError, match=r"event nothing \(camera gate\) is not among the events of .* in the log"
        ):
            find_event(places, EVENTS, "nothing", camera="gate")
        with pytest.raises(StreamprocError, match="tells of no frame"):
            frame_event_of(places, EVENTS, {"id": "x", "type": "io.streamproc.camera.v1", "data": {"camera": "gate"}})


def test_events_of_a_range_are_those_captured_in_it_and_a_replay_beside_them_is_told_apart() -> None:
    original = [frame_event(n) for n in range(20)]
    replayed = [frame_event(n, run="replay-1") for n in range(20)]
    with sources(("the log", log_of([*original, *replayed]))) as places:
        low, high = START_NS + 5 * STEP_NS, START_NS + 9 * STEP_NS
        found = list(events_between(places, EVENTS, camera="gate", from_ns=low, to_ns=high))
        assert [one["data"]["sequence"] for one in found] == [5, 6, 7, 8] * 2
        assert {one["data"]["run"] for one in first_of_each(found)} == {"run-1"}
        assert list(events_between(places, EVENTS, camera="yard", from_ns=low, to_ns=high)) == []
        twin = twin_of(places, EVENTS, replayed[6]["data"])
        assert twin is not None
        assert (twin["data"]["run"], twin["data"]["sequence"]) == ("run-1", 6)
        assert twin_of(places, EVENTS, {**replayed[6]["data"], "captured_ns": 5}) is None


def test_where_a_log_begins_is_told_if_what_is_asked_for_may_have_stood_before_it() -> None:
    log, archive = log_of([frame_event(n) for n in range(20)]), log_of([frame_event(n) for n in range(20)])
    log.lows = {camera_partition("gate", PARTITIONS): 5}
    archive.lows = {camera_partition("gate", PARTITIONS): 15}
    begins = {"the log": (START_NS + 5 * STEP_NS) // 10**6 + 40, "the archive": (START_NS + 15 * STEP_NS) // 10**6 + 40}

    def told(*places: tuple[str, MemorySource], low: int, high: int) -> tuple[int, dict[str, int]]:
        begun: dict[str, int] = {}
        with sources(*places) as opened:
            found = events_between(
                opened,
                EVENTS,
                camera="gate",
                from_ns=START_NS + low * STEP_NS,
                to_ns=START_NS + high * STEP_NS,
                begun=lambda place, moment_ms: begun.update({place: moment_ms}),
            )
            return len(list(found)), begun

    both = (("the archive", archive), ("the log", log))
    assert told(*both, low=2, high=9) == (4, {"the log": begins["the log"]})
    assert told(*both, low=0, high=3) == (0, begins)
    assert told(("the log", log), low=7, high=9) == (2, {})


def test_a_store_tells_what_it_holds_and_refuses_what_is_no_event(tmp_path: Path) -> None:
    odd = {"type": "io.streamproc.camera.v1", "data": {"camera": "gate", "what": "online"}}
    events = [frame_event(0), frame_event(0), happening(0, "new", "a"), happening(9, "new", "b"), odd]
    with EventStore.of_events("five", events) as store:
        assert (len(store), store.repeated, store.other, store.orphans) == (1, 1, 1, 1)
        assert store.pipelines == {"p1": 1}
        told = store.read(FrameKey("gate", "run-1", 0))
        assert told == Told(events[0], [events[2]])
        assert store.find(events[2]["id"]) == (events[2], told)
        with pytest.raises(StreamprocError, match="event nothing is not in five"):
            store.find("nothing")
    file = tmp_path / "events.jsonl"
    file.write_text('{"type": "io.streamproc.frame.v1"\n')
    with pytest.raises(StreamprocError, match=r"events.jsonl line 1 is no event: "):
        EventStore.of_file(file)
    with pytest.raises(StreamprocError, match="cannot be read: No such file"):
        EventStore.of_file(tmp_path / "nothing")


# --- clips ------------------------------------------------------------------------------------------------------


def frames_at(times_ns: Sequence[int]) -> list[Frame]:
    return [Frame(FrameKey("gate", "run-1", number), at_ns) for number, at_ns in enumerate(sorted(times_ns))]


@given(st.lists(st.integers(0, 20 * 10**9), min_size=1, max_size=60), st.integers(1, 60))
def test_a_video_runs_as_the_frames_were_captured(times_ns: list[int], fps: int) -> None:
    frames = frames_at(times_ns)
    found = list(shots(frames, Fraction(fps)))
    assert all(shot.times > 0 for shot in found)
    span_s = (frames[-1].captured_ns - frames[0].captured_ns) / 1e9
    assert abs(sum(shot.times for shot in found) - 1 - span_s * fps) <= 0.5
    starts = list(itertools.accumulate((shot.times for shot in found), initial=0))
    for shot, start in zip(found, starts, strict=False):
        assert start / fps <= (shot.frame.captured_ns - frames[0].captured_ns) / 1e9 + 1 / fps
    kept = [shot.frame.key.sequence for shot in found]
    assert kept == sorted(set(kept))
    assert kept[-1] == frames[-1].key.sequence


def test_the_usual_rate_is_that_of_most_intervals() -> None:
    assert usual_fps([]) == usual_fps([5]) == usual_fps([5, 5]) == 1
    assert usual_fps([n * 40_000_000 for n in range(9)] + [10**12]) == 25
    assert usual_fps([0, 1, 2]) == 60
    uneven = list(itertools.accumulate([60_000_000, 150_000_000, 100_000_000] * 5, initial=0))
    assert usual_fps(uneven) == 20
    assert len(list(shots(frames_at(uneven), Fraction(20)))) == len(uneven)


@pytest.mark.parametrize(
    ("frame", "picture"),
    [((640, 480), (640, 480)), ((7680, 4320), (1920, 1080)), ((101, 75), (320, 224)), ((4320, 7680), (1080, 1920))],
)
def test_pictures_of_a_video_have_even_sides_within_bounds(frame: tuple[int, int], picture: tuple[int, int]) -> None:
    width, height = size_for(*frame)
    assert (width % 2, height % 2) == (0, 0)
    assert abs(width - picture[0]) <= 20
    assert abs(height - picture[1]) <= 20


def test_trails_are_bounded_in_places_and_age() -> None:
    trails = Trails()
    for number in range(100):
        lines = trails.add(
            Told(frame_event(number, objects=[an_object(box=(number, 0, number + 10, 10), track="a")]), [])
        )
    assert len(lines) == 1
    assert len(lines[0][1]) == 32
    assert lines[0][1][-1] == (104.0, 5.0)
    late = frame_event(100, objects=[], captured_ns=START_NS + 99 * STEP_NS + 4 * 10**9)
    assert trails.add(Told(late, [])) == []


def clip_of(events: Sequence[Event], tiles: MemorySource, out: Path, *, fps: int = 25, **more: Any) -> Any:
    with sources(("the log", tiles)) as places, EventStore.of_events("events", events) as store:
        return make_clip(
            lambda width, height: Video(out, width=width, height=height, fps=Fraction(fps)),
            places,
            store,
            more.pop("results", store),
            fps=Fraction(fps),
            max_frame_pixels=MANY,
            **more,
        )


def test_a_clip_is_an_h264_video_with_a_picture_for_each_frame_and_gaps_are_held(
    tiles: MemorySource, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    pixels = photograph(WIDTH, HEIGHT)
    numbers = [*range(6), *range(90, 96)]  # 3.4 seconds without a frame
    events = [put(tiles, pixels, sequence=n, gone=(1,) if n == 3 else ()) for n in numbers]
    out = tmp_path / "clip.mp4"
    clip = clip_of([*events, happening(2, "new", "0-0", box=[1, 1, 40, 40])], tiles, out)
    assert (clip.frames, clip.shown, clip.incomplete, clip.gone, clip.pictures) == (12, 12, 1, 0, 96)
    with av.open(str(out)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, stream.frames) == ("h264", "yuv420p", 96)
        assert (stream.average_rate, stream.width, stream.height) == (25, clip.width, clip.height)
        shown = [frame.to_ndarray(format="gray") for frame in video.decode(stream)]
    held = 5 + PAUSE_NS // STEP_NS
    assert shown[held + 2].mean() < 0.7 * shown[held - 2].mean()  # dimmed: it is not of now
    assert shown[90].mean() > 0.9 * shown[0].mean()
    assert list(tmp_path.iterdir()) == [out]


def test_frames_without_pixels_stay_in_the_clip_and_another_runs_events_may_be_drawn(
    tiles: MemorySource, tmp_path: Path
) -> None:
    events = [put(tiles, photograph(WIDTH, HEIGHT), sequence=n) for n in range(4)]
    tiles.lows = dict.fromkeys(range(PARTITIONS), 2)
    others = [frame_event(n, run="replay-1", width=WIDTH, height=HEIGHT, objects=[]) for n in range(1, 4)]
    with EventStore.of_events("others", others) as results:
        clip = clip_of(events, tiles, tmp_path / "clip.mp4", results=results)
    assert (clip.shown, clip.gone, clip.incomplete) == (4, 2, 0)
    assert "(retention)" in clip.told[0]


def test_a_clip_that_is_stopped_is_whole_and_one_that_fails_leaves_no_file(tiles: MemorySource, tmp_path: Path) -> None:
    events = [put(tiles, photograph(WIDTH, HEIGHT), sequence=n) for n in range(4)]
    clip = clip_of(events, tiles, tmp_path / "a.mp4", stop=lambda: True)
    assert (clip.stopped, clip.shown, clip.pictures) == (True, 1, 1)
    assert int(cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 1

    def broken() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clip_of(events, tiles, tmp_path / "b.mp4", seen=broken)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(StreamprocError, match=r"nowhere/c.mp4 cannot be written"):
        clip_of(events, tiles, tmp_path / "nowhere" / "c.mp4")
    with pytest.raises(StreamprocError, match=r"a.mp4/d.mp4 cannot be written: Not a directory$"):
        clip_of(events, tiles, tmp_path / "a.mp4" / "d.mp4")
    with pytest.raises(StreamprocError, match="no frames to make a video of"):
        clip_of([], tiles, tmp_path / "d.mp4")


def test_a_clip_ends_in_the_middle_of_a_long_pause_too(tiles: MemorySource, tmp_path: Path) -> None:
    numbers = [0, 10**6]  # eleven hours apart
    events = [put(tiles, photograph(WIDTH, HEIGHT), sequence=n) for n in numbers]
    asked = itertools.count(1)
    clip = clip_of(events, tiles, tmp_path / "a.mp4", stop=lambda: next(asked) > 100)
    assert (clip.stopped, clip.shown, clip.frames) == (True, 1, 2)
    assert 50 < clip.pictures < 110
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == clip.pictures
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_interrupt_while_the_video_is_put_in_order_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")

    def interrupted(_path: Path, _target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), Video(tmp_path / "a.mp4", width=64, height=64, fps=Fraction(5)) as video:
        video.add(np.zeros((64, 64, 3), np.uint8), 3)
    assert list(tmp_path.iterdir()) == []


def test_words_below_a_narrow_picture_have_room(tiles: MemorySource) -> None:
    event = put(tiles, photograph(WIDTH, HEIGHT))
    with sources(("the log", tiles)) as places:
        (sight,) = look(places, [event["data"]], max_frame_pixels=MANY)
    words = words_of(event, Told(event, []), sight)
    assert words[0] == f"event {event['id']} (frame.v1)"
    assert EDGES.digest in words[2]
    assert words[3] == "pixels: the log"
    picture = with_words(draw_sight(sight, Told(event, [])), words)
    assert picture.shape[1] == 640
    assert picture.shape[0] == HEIGHT + drawing.caption_px(640, 4)
    assert offsets_text({"10": [3, 3], "2": [4, 9]}) == "[2] 4-9, [10] 3"
