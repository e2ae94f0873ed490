from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import SourceError
from streamproc.model import Grid, Pixels
from streamproc.operators.embedding import embed
from streamproc.reader import Record
from streamproc.records import NEAR, rounds
from streamproc.retrieval import Added, Match, add_events, add_pictures, frames, pixels_of, reading, writing
from streamproc.retrieval.adding import GONE, KNOWN, NO_EVENT, NOT_COMPLETE, inside, part_of, picture_files
from streamproc.retrieval.store import Source
from streamproc.settings import load_settings
from tests.retrieval.material import PHOTOGRAPHS, Log, brighter, found, grey, jpeg, photograph, shifted

SETTINGS = load_settings()


def frame(name: str) -> Pixels:
    return np.asarray(cv2.resize(photograph(name), (160, 96), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(frames, "TopicReader", log.reader)
    return log


def add(log: Log, folder: Path, **options: object) -> Added:
    with writing(folder) as writer:
        return add_events(writer, log.events, SETTINGS, **options)  # type: ignore[arg-type]


def search(folder: Path, pixels: Pixels, top: int = 1) -> list[Match]:
    with reading(folder) as index:
        return index.search(embed(pixels), top)


def test_a_frame_is_found_by_a_changed_picture_of_it_with_its_event_and_evidence(log: Log, tmp_path: Path) -> None:
    ids = [log.add(frame(name), sequence) for sequence, name in enumerate(PHOTOGRAPHS)]
    added = add(log, tmp_path)
    assert (added.entries, added.looked_at, dict(added.passed_over)) == (10, 10, {})
    for sequence, name in enumerate(PHOTOGRAPHS):
        for change in (jpeg, brighter, shifted, grey):
            (best,) = search(tmp_path, change(frame(name)))
            entry = best.entry
            assert entry.event == ids[sequence]
            assert (entry.camera, entry.run, entry.sequence, entry.width, entry.height) == (
                "gate",
                "run-1",
                sequence,
                160,
                96,
            )
            assert entry.captured_ns == 1_700_000_000_000_000_000 + sequence * 10**9
            assert entry.source is not None
            assert entry.source.topic == "tiles"
            # Four tiles in three partitions: the first and the last are in one.
            assert entry.source.offsets == {
                "0": (2 * sequence, 2 * sequence + 1),
                "1": (sequence, sequence),
                "2": (sequence, sequence),
            }
            assert entry.box is None


def test_pixels_of_matches_are_those_of_the_frames_bit_for_bit(log: Log, tmp_path: Path) -> None:
    boxes = [(10.2, 20.0, 70.5, 80.0), (-5.0, 50.0, 40.0, 200.0)]
    for sequence, name in enumerate(("astronaut", "camera")):
        log.add(frame(name), sequence, objects=[found("face", boxes[0]), found("bike", boxes[1])])
    add(log, tmp_path)
    add(log, tmp_path, of="objects")
    matches = search(tmp_path, frame("camera"), 10)
    assert len(matches) == 6
    shown = dict(pixels_of(SETTINGS, [match.entry for match in matches]))
    assert sorted(shown) == list(range(6))
    for at, match in enumerate(matches):
        whole = frame("astronaut" if match.entry.sequence == 0 else "camera")
        wanted = {None: whole, boxes[0]: whole[20:80, 10:71], boxes[1]: whole[50:96, 0:40]}[match.entry.box]
        assert np.array_equal(np.asarray(shown[at]), wanted)


def test_objects_are_found_by_what_is_in_their_box(log: Log, tmp_path: Path) -> None:
    scene = np.full((192, 320, 3), 90, np.uint8)
    scene[16:96, 16:96] = cv2.resize(photograph("astronaut")[:256, 100:356], (80, 80), interpolation=cv2.INTER_AREA)
    scene[80:160, 200:300] = cv2.resize(photograph("coffee"), (100, 80), interpolation=cv2.INTER_AREA)
    person, cup = (16.0, 16.0, 96.0, 96.0), (200.0, 80.0, 300.0, 160.0)
    event = log.add(scene, 0, objects=[found("person", person, 0.8), found("cup", cup)])
    add(log, tmp_path, of="objects")
    (best,) = search(tmp_path, jpeg(photograph("coffee")))
    assert (best.entry.event, best.entry.box, best.entry.label) == (event, cup, "cup")
    (best,) = search(tmp_path, photograph("astronaut")[:256, 100:356])
    assert (best.entry.box, best.entry.label, best.entry.score) == (person, "person", 0.8)


def test_objects_of_one_label_alone_are_taken(log: Log, tmp_path: Path) -> None:
    log.add(frame("astronaut"), 0, objects=[found("face", (0, 0, 50, 50)), found("bike", (20, 20, 60, 60))])
    log.add(frame("camera"), 1, objects=[found("bike", (20, 20, 60, 60))])
    log.add(frame("coffee"), 2, objects=[found("face", (500, 0, 600, 50)), found("face", (float("nan"), 0, 9, 9))])
    assert add(log, tmp_path, of="face").entries == 1
    assert [match.entry.label for match in search(tmp_path, frame("camera"), 9)] == ["face"]


def test_adding_again_adds_nothing_and_reads_no_pixels(log: Log, tmp_path: Path) -> None:
    for sequence, name in enumerate(PHOTOGRAPHS[:5]):
        log.add(frame(name), sequence, objects=[found("face", (0, 0, 50, 50))])
    add(log, tmp_path)
    read = log.records_read
    again = add(log, tmp_path)
    assert (again.entries, dict(again.passed_over)) == (0, {KNOWN: 5})
    assert log.records_read == read
    assert add(log, tmp_path, of="objects").entries == 5
    log.add(frame("coins"), 5)
    more = add(log, tmp_path)
    assert (more.entries, more.passed_over[KNOWN]) == (1, 5)
    assert log.records_read - read == 20 + 4


def test_an_event_told_twice_is_one_entry(log: Log, tmp_path: Path) -> None:
    log.add(frame("camera"), 0)
    log.events.append(log.events[0])
    assert add(log, tmp_path).entries == 1


def test_cameras_steps_and_what_is_no_frame_event_are_passed_over(log: Log, tmp_path: Path) -> None:
    for sequence in range(10):
        for camera in ("gate", "yard"):
            log.add(frame(PHOTOGRAPHS[sequence]), sequence, camera=camera)
    headers = [(name, value.replace(b"frame", b"track")) for name, value in log.events[0].headers]
    broken = log.events[0]
    log.events += [
        Record(topic="events", partition=0, offset=90, timestamp_ms=0, key=b"", value=b"{}", headers=headers),
        Record(topic="events", partition=0, offset=91, timestamp_ms=0, key=b"", value=b"?", headers=broken.headers),
        Record(topic="events", partition=0, offset=92, timestamp_ms=0, key=b"", value=b"", headers=[]),
    ]
    added = add(log, tmp_path, camera="gate", every=3)
    assert (added.entries, added.looked_at, dict(added.passed_over)) == (4, 4, {NO_EVENT: 1})
    told = {(match.entry.camera, match.entry.sequence) for match in search(tmp_path, frame("camera"), 20)}
    assert told == {("gate", 0), ("gate", 3), ("gate", 6), ("gate", 9)}


def test_frames_that_are_not_whole_are_counted_and_left_out(log: Log, tmp_path: Path) -> None:
    log.add(frame("camera"), 0, outcome="partial", leave_out=2)
    log.add(frame("coffee"), 1)
    log.add(frame("coins"), 2)
    log.low = {0: 3}  # retention has taken a tile of frame 1
    added = add(log, tmp_path)
    assert (added.entries, dict(added.passed_over)) == (1, {NOT_COMPLETE: 1, GONE: 1})
    (best,) = search(tmp_path, frame("coffee"))
    assert best.entry.sequence == 2


def test_pixels_that_retention_has_taken_are_said_to_be_gone(log: Log, tmp_path: Path) -> None:
    log.add(frame("camera"), 0)
    log.add(frame("coffee"), 1)
    add(log, tmp_path)
    log.low = {1: 1}
    matches = search(tmp_path, frame("camera"), 2)
    shown = dict(pixels_of(SETTINGS, [match.entry for match in matches]))
    assert shown[0] == "the frame's tiles are no longer whole in tiles (retention)"
    assert np.array_equal(np.asarray(shown[1]), frame("coffee"))


def test_a_stop_keeps_what_was_added_until_then(log: Log, tmp_path: Path) -> None:
    for sequence, name in enumerate(PHOTOGRAPHS):
        log.add(frame(name), sequence)
    told: list[int] = []
    added = add(log, tmp_path, heard=lambda now: told.append(now.entries), stop=lambda: len(told) >= 3)
    assert added.entries == 3
    assert add(log, tmp_path).entries == 7


def test_memory_is_bounded_and_far_records_are_not_read(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "BATCH_BYTES", 3 * 160 * 96 * 2)
    for sequence, name in enumerate(PHOTOGRAPHS):
        log.add(frame(name), sequence)
        log.add_noise(NEAR + 10)
    assert add(log, tmp_path).entries == 10
    assert log.records_read == 40
    assert len(log.reads) == 10  # two frames a batch, far from each other
    assert log.readers == 1


@given(
    spans=st.lists(
        st.dictionaries(
            st.sampled_from("012"),
            st.tuples(st.integers(0, 5000), st.integers(0, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])),
            min_size=1,
        ),
        max_size=12,
    ),
    low=st.integers(0, 2500),
)
def test_rounds_hold_all_offsets_that_are_left_each_once(spans: list[dict[str, tuple[int, int]]], low: int) -> None:
    class Bounds:
        def bounds(self, _partition: int) -> tuple[int, int]:
            return low, 4000

    seen: dict[int, list[int]] = {}
    asked = [Source(topic="tiles", offsets=span).spans for span in spans]
    for ranges in rounds(asked, Bounds()):  # type: ignore[arg-type]  # all that is asked
        assert ranges
        for partition, (first, end) in ranges.items():
            assert low <= first < end <= 4000
            seen.setdefault(partition, []).extend(range(first, end))
    wanted = {
        (int(partition), offset)
        for span in spans
        for partition, (first, last) in span.items()
        for offset in range(first, last + 1)
        if low <= offset < 4000
    }
    read = [(partition, offset) for partition, offsets in seen.items() for offset in offsets]
    assert len(set(read)) == len(read)
    assert wanted <= set(read)


@given(
    box=st.tuples(*[st.floats(-50, 150, width=32)] * 4),
    width=st.integers(1, 90),
    height=st.integers(1, 90),
)
def test_what_is_in_a_box_is_every_pixel_that_it_touches(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    pixels = np.arange(width * height).reshape(height, width).astype(np.uint8)
    rows, cols = np.mgrid[:height, :width]
    touched = (cols + 1 > box[0]) & (cols < box[2]) & (rows + 1 > box[1]) & (rows < box[3])
    if inside(box, width, height) is None:
        assert not touched.any() or box[0] >= box[2] or box[1] >= box[3]
        assert part_of(pixels, box) is pixels
    elif box[0] < box[2] and box[1] < box[3]:
        assert np.array_equal(part_of(pixels, box).reshape(-1), pixels[touched])


def test_picture_files_are_found_again_by_changed_copies(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "more" / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for number, name in enumerate(PHOTOGRAPHS):
        place = folder / "more" / "deep" if number % 2 else folder
        cv2.imwrite(str(place / f"{name}.png"), photograph(name))
    cv2.imwrite(str(folder / ".hidden" / "no.png"), photograph("camera"))
    cv2.imwrite(str(folder / "copy.bmp"), photograph("camera"))
    (folder / "broken.jpg").write_bytes(b"none")
    (folder / "notes.txt").write_text("")
    with writing(tmp_path / "index") as writer:
        added = add_pictures(writer, [folder], max_pixels=10**7)
        again = add_pictures(writer, [folder / "coffee.png"], max_pixels=10**7)
    assert (added.entries, added.looked_at, added.passed_over[KNOWN]) == (10, 12, 1)
    assert len(added.skipped) == 1
    assert "broken.jpg" in added.skipped[0]
    assert (again.entries, again.passed_over[KNOWN]) == (0, 1)
    for name in PHOTOGRAPHS:
        (best,) = search(tmp_path / "index", jpeg(shifted(photograph(name))))
        assert Path(best.entry.path).stem in {name, "copy" if name == "camera" else name}
        ((_, shown),) = pixels_of(SETTINGS, [best.entry])
        assert np.array_equal(np.asarray(shown), photograph(name))


def test_a_picture_that_was_changed_or_removed_is_said_to_be_so(tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    cv2.imwrite(str(file), photograph("coins"))
    with writing(tmp_path / "index") as writer:
        add_pictures(writer, [file], max_pixels=10**7)
    (best,) = search(tmp_path / "index", photograph("coins"))
    cv2.imwrite(str(file), photograph("brick"))
    assert dict(pixels_of(SETTINGS, [best.entry])) == {0: f"picture {file} was changed since it was indexed"}
    file.unlink()
    assert "cannot be read: No such file" in str(dict(pixels_of(SETTINGS, [best.entry]))[0])


def test_where_there_is_no_picture_at_all_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"")
    with writing(tmp_path / "index") as writer:
        for path, told in (("empty", "there is no picture in"), ("broken.png", "broken.png"), ("none", "none cannot")):
            with pytest.raises(SourceError, match=told):
                add_pictures(writer, [tmp_path / path], max_pixels=10**7)


def test_files_come_folder_by_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "b/1.png", "a/2.png", "a/10.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    told = [str(file.relative_to(tmp_path)) for file in picture_files([tmp_path])]
    assert told == ["9.png", "10.png", "a/2.png", "a/10.png", "b/1.png"]


def test_every_nth_file_is_taken(tmp_path: Path) -> None:
    for number, name in enumerate(PHOTOGRAPHS):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame(name))
    with writing(tmp_path / "index") as writer:
        assert add_pictures(writer, sorted(tmp_path.glob("*.png")), max_pixels=10**7, every=4).entries == 3


def test_any_grid_is_put_together_again(log: Log, tmp_path: Path) -> None:
    for sequence, grid in enumerate([Grid(1, 1), Grid(3, 5), Grid(6, 2)]):
        log.add(frame(PHOTOGRAPHS[sequence]), sequence, grid=grid)
    assert add(log, tmp_path).entries == 3


def test_a_frame_in_events_of_two_pipelines_is_read_once(log: Log, tmp_path: Path) -> None:
    log.add(frame("coins"), 0)
    first = log.events[0]
    other = first.value.replace(b'"p1"', b'"p2"')
    headers = [(name, b"another-id" if name == "ce_id" else value) for name, value in first.headers]
    log.events.append(
        Record(topic="events", partition=0, offset=1, timestamp_ms=0, key=b"", value=other, headers=headers)
    )
    assert add(log, tmp_path).entries == 2
    assert log.records_read == 4
