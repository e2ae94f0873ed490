"""A folder watched for new pictures."""

from __future__ import annotations

import os
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sources import Source, open_source
from producers.sources.arrivals import MOST_TRIES, Arrivals, Stamp
from producers.sources.put_away import Progress, _finish, put_away
from producers.sources.watched import WatchedSource, _Resumed, parse_watch
from streamproc.errors import CameraLost, UsageError
from tests.producers.material import SETTINGS, picture, save
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamproc.model import Frame


class Reader:
    """Reads a source in a thread."""

    def __init__(self, spec: str) -> None:
        self.notices: list[str] = []
        found = open_source(spec, SETTINGS, notice=self.notices.append)
        assert isinstance(found, WatchedSource)
        self.source = found
        self.frames: list[Frame] = []
        self.problem: CameraLost | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for frame in self.source:
                self.frames.append(frame)
        except CameraLost as error:
            self.problem = error

    def wait(self, true: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 10
        while not true() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert true()

    def end(self) -> None:
        started_s = time.monotonic()
        self.source.interrupt()
        self._thread.join(5)
        assert time.monotonic() - started_s < 1


def test_new_pictures_come_once_and_in_the_order_they_were_written(tmp_path: Path) -> None:
    save(tmp_path / "old.png", picture(seed=9))
    reader = Reader(f"watch:{tmp_path}")
    time.sleep(0.4)
    now_s = time.time()
    for name, age_s, seed in (("b.png", 3, 1), ("a10.png", 2, 3), ("a9.png", 2, 2)):
        os.utime(save(tmp_path / name, picture(seed=seed)), (now_s - age_s, now_s - age_s))
    reader.wait(lambda: len(reader.frames) == 3)
    time.sleep(0.6)
    reader.end()
    assert len(reader.frames) == 3
    for frame, seed in zip(reader.frames, (1, 2, 3), strict=True):
        assert np.array_equal(frame.pixels, picture(seed=seed))


def test_a_picture_being_written_is_waited_for(tmp_path: Path) -> None:
    done, data = cv2.imencode(".png", picture(400, 300))
    assert done
    reader = Reader(f"watch:{tmp_path}")
    with (tmp_path / "slow.png").open("wb") as file:
        for at in range(0, len(data), len(data) // 8):
            file.write(data[at : at + len(data) // 8].tobytes())
            file.flush()
            time.sleep(0.15)
            assert reader.frames == []
    reader.wait(lambda: len(reader.frames) == 1)
    (tmp_path / "hidden").mkdir()
    save(tmp_path / "hidden" / "x.png", picture(seed=5)).replace(tmp_path / "moved-in.png")
    reader.wait(lambda: len(reader.frames) == 2)
    reader.end()
    assert np.array_equal(reader.frames[0].pixels, picture(400, 300))
    assert reader.notices == []


def take(source: Source, count: int) -> list[Frame]:
    """The next frames; the reading ends."""
    frames = iter(source)
    found = list(islice(frames, count))
    frames.close()  # type: ignore[attr-defined]  # it is a generator
    return found


def told(frame: Frame, *, in_log: bool) -> None:
    """What became of a frame is told on another thread."""
    assert frame.receipt is not None
    thread = threading.Thread(target=frame.receipt, args=(in_log,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("after", ["delete", "move"])
def test_pictures_already_there_are_taken_and_put_away_once_they_are_in_kafka(tmp_path: Path, after: str) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", picture(seed=number))
    reader = Reader(f"watch:{tmp_path}?after={after}")
    reader.wait(lambda: len(reader.frames) == 3)
    for number, frame in enumerate(reader.frames):
        assert np.array_equal(frame.pixels, picture(seed=number))
    assert len(list(tmp_path.glob("*.png"))) == 3
    told(reader.frames[1], in_log=True)
    wait_until(lambda: not (tmp_path / "1.png").exists(), "it is put away", timeout_s=10)
    reader.end()
    assert len(list(tmp_path.glob("*.png"))) == 2
    told(reader.frames[0], in_log=True)  # after the source was closed
    told(reader.frames[2], in_log=True)
    wait_until(lambda: not list(tmp_path.glob("*.png")), "all are put away", timeout_s=10)
    assert len(reader.frames) == 3
    done = sorted(file.name for file in tmp_path.glob("done/*"))
    assert done == (["0.png", "1.png", "2.png"] if after == "move" else [])


@pytest.mark.parametrize("after", ["delete", "move"])
def test_a_picture_that_was_written_anew_since_it_was_read_is_not_put_away(tmp_path: Path, after: str) -> None:
    save(tmp_path / "a.png", picture(seed=1))
    source = open_source(f"watch:{tmp_path}?after={after}", SETTINGS)
    (old,) = take(source, 1)
    save(tmp_path / "a.png", picture(60, 40, seed=2))
    told(old, in_log=True)
    (new,) = take(source, 1)
    assert np.array_equal(new.pixels, picture(60, 40, seed=2))
    told(new, in_log=True)
    wait_until(lambda: not (tmp_path / "a.png").exists(), "the new one is put away", timeout_s=10)


def test_a_picture_that_did_not_get_into_kafka_is_left_and_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("producers.sources.watched.POLL_S", 0.02)
    monkeypatch.setattr("producers.sources.arrivals._AGAIN_S", 0.0)
    monkeypatch.setattr("producers.sources.arrivals.MOST_TRIES", 3)
    file = save(tmp_path / "a.png", picture())
    reader = Reader(f"watch:{tmp_path}?after=delete")
    for tries in (1, 2, 3):
        reader.wait(lambda wanted=tries: len(reader.frames) == wanted)  # type: ignore[misc]
        told(reader.frames[-1], in_log=False)
    reader.wait(lambda: any("a.png did not get into Kafka" in line for line in caplog.messages))
    reader.end()
    assert len(reader.frames) == 3
    assert file.exists()


def test_a_lost_folder_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.sources.watched.POLL_S", 0.02)
    folder, away = tmp_path / "drop", tmp_path / "away"
    folder.mkdir()
    save(folder / "old.png", picture(seed=9))
    spec = f"watch:{folder}"
    reader = Reader(spec)
    time.sleep(0.3)
    save(folder / "1.png", picture(seed=1))
    reader.wait(lambda: len(reader.frames) == 1)
    folder.rename(away)
    reader.wait(lambda: reader.problem is not None)
    save(away / "2.png", picture(seed=2))
    with pytest.raises(CameraLost, match="cannot be read"):
        take(open_source(spec, SETTINGS), 1)
    save(away / "3.png", picture(seed=3))
    away.rename(folder)
    source = open_source(spec, SETTINGS)
    for seed in (2, 3):  # each from another connection: what was not given yet is not forgotten
        (frame,) = take(source, 1)
        assert np.array_equal(frame.pixels, picture(seed=seed))
        assert frame.receipt is None
    again = Reader(spec)
    save(folder / "4.png", picture(seed=4))
    again.wait(lambda: len(again.frames) == 1)
    again.end()
    assert np.array_equal(again.frames[0].pixels, picture(seed=4))


def test_what_cannot_be_put_away_is_told_and_not_read_twice(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture())
    (tmp_path / "done").write_text("in the way")
    spec = f"watch:{tmp_path}?after=move"
    reader = Reader(spec)
    reader.wait(lambda: len(reader.frames) == 1)
    told(reader.frames[0], in_log=True)
    reader.wait(lambda: reader.problem is not None)
    assert reader.problem is not None
    assert reader.problem.reason == "refused"
    assert "a.png cannot be put away" in str(reader.problem)
    (tmp_path / "done").unlink()
    again = Reader(spec)
    again.wait(lambda: (tmp_path / "done" / "a.png").exists() or again.problem is not None)
    again.end()
    third = Reader(spec)  # where the thread was told of the hindrance once more before it was gone
    third.wait((tmp_path / "done" / "a.png").exists)
    third.end()
    assert again.frames == third.frames == []


def test_nothing_is_ever_overwritten_in_done(tmp_path: Path) -> None:
    for number in range(4):
        file = tmp_path / "a.png"
        file.write_bytes(b"%d" % number)
        os.utime(file, ns=(7, 7 if number else 5))
        put_away(file, Stamp.of(file.stat()), after="move")
        assert not file.exists()
    kept = {file.name: file.read_bytes() for file in (tmp_path / "done").iterdir()}
    assert kept == {"a.png": b"0", "a-7.png": b"1", "a-7-0.png": b"2", "a-7-1.png": b"3"}


def test_a_hanging_folder_bounds_what_is_given_and_the_end_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(file: Path, _stamp: Stamp, *, after: str) -> None:
        assert go_on.wait(20)
        assert after == "delete"
        file.unlink()

    monkeypatch.setattr("producers.sources.put_away.put_away", slow)
    monkeypatch.setattr("producers.sources.put_away._MOST_TOLD", 2)
    stamps = {name: Stamp.of(save(tmp_path / name, picture()).stat()) for name in ("a.png", "b.png", "c.png", "d.png")}
    progress = Progress(tmp_path, after="delete", known={}, absent=0)
    assert progress.ready(stamps, now_s=0) == []
    assert progress.ready(stamps, now_s=0) == [*stamps]
    for receipt in [progress.given(name, stamps[name]) for name in ("a.png", "b.png", "c.png")]:
        assert receipt is not None
        receipt(True)  # noqa: FBT003 - as it is called
    wait_until(lambda: progress.ready(stamps, now_s=0) == [], "a hangs, b and c wait", timeout_s=10)
    threading.Timer(0.1, go_on.set).start()
    _finish()
    assert [file.name for file in tmp_path.iterdir()] == ["d.png"]
    assert progress.ready(stamps, now_s=0) == ["d.png"]


def test_where_folders_were_is_known_for_a_quarter_of_an_hour_and_to_one_reader(tmp_path: Path) -> None:
    resumed, progress = _Resumed(), Progress(tmp_path, after="keep", known={}, absent=0)
    resumed.keep("a", progress, now_s=0)
    assert resumed.take("b", now_s=1) is None
    assert resumed.take("a", now_s=1) is progress
    assert resumed.take("a", now_s=1) is None
    resumed.keep("a", progress, now_s=0)
    assert resumed.take("a", now_s=900) is None
    for number in range(1000):
        resumed.keep(number, progress, now_s=0)
    assert [resumed.take(number, now_s=1) is None for number in (0, 743, 744, 999)] == [True, True, False, False]


def test_a_broken_picture_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader(f"watch:{tmp_path}")
    time.sleep(0.3)
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    save(tmp_path / "2.png", picture())
    reader.wait(lambda: len(reader.frames) == 1)
    reader.end()
    (told,) = caplog.messages
    assert "1.png" in told


def test_a_folder_that_goes_away_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    reader = Reader(f"watch:{folder}")
    time.sleep(0.3)
    folder.rmdir()
    reader.wait(lambda: reader.problem is not None)
    assert reader.problem is not None
    assert reader.problem.reason == "unreachable"
    reader.end()


@pytest.mark.parametrize("spec", ["watch:", "watch:?after=delete", "watch:/x?after=burn", "watch:/x?keep"])
def test_other_specifications_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="watch:FOLDER"):
        parse_watch(spec)


names = st.sampled_from(["a", "b", "c", "d"])
listings = st.lists(st.dictionaries(names, st.tuples(st.integers(0, 2), st.integers(0, 2))), max_size=12)


def stamped(step: dict[str, tuple[int, int]]) -> dict[str, Stamp]:
    return {name: Stamp(mtime_ns=mtime, size=size, inode=1) for name, (mtime, size) in step.items()}


@given(listings, st.sampled_from([0, 100]))
def test_a_file_is_given_once_for_each_content_and_only_when_it_stands_still(
    steps: list[dict[str, tuple[int, int]]], absent: int
) -> None:
    arrivals = Arrivals({}, absent=absent)
    given_stamps: dict[str, Stamp] = {}
    last: dict[str, Stamp] = {}
    for listing in map(stamped, steps):
        if not absent:
            given_stamps = {name: stamp for name, stamp in given_stamps.items() if name in listing}
        ready = arrivals.ready(listing, now_s=0)
        expected = {
            name
            for name, stamp in listing.items()
            if stamp.size and last.get(name) == stamp and given_stamps.get(name) != stamp
        }
        assert set(ready) == expected
        assert ready == sorted(ready, key=lambda name, now=listing: (now[name].mtime_ns, name))  # type: ignore[misc]
        assert arrivals.ready(listing, now_s=0)[: len(ready)] == ready or not ready  # until they are given
        for name in arrivals.ready(listing, now_s=0):
            arrivals.given(name, listing[name])
            given_stamps[name] = listing[name]
        last = listing


def test_a_picture_that_fails_comes_later_and_later_and_not_for_ever() -> None:
    arrivals, stamp = Arrivals({}), Stamp(mtime_ns=1, size=1, inode=1)
    listing, now_s, waits = {"a": stamp}, 0.0, []
    arrivals.ready(listing, now_s=0)
    for _ in range(MOST_TRIES):
        started_s = now_s
        while arrivals.ready(listing, now_s=now_s) != ["a"]:
            now_s += 1
        waits.append(now_s - started_s)
        arrivals.given("a", stamp)
        assert arrivals.ready(listing, now_s=now_s) == []
        again = arrivals.failed("a", stamp, now_s=now_s)
    assert waits == [0, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert not again
    assert arrivals.ready(listing, now_s=1e9) == []
    other = Stamp(mtime_ns=2, size=1, inode=1)  # another content is another picture
    arrivals.ready({"a": other}, now_s=1e9)
    assert arrivals.ready({"a": other}, now_s=1e9) == ["a"]
    assert arrivals.failed("a", stamp, now_s=1e9)


def test_files_of_a_folder_that_was_away_are_still_known_up_to_a_bound() -> None:
    listing = stamped({"a": (1, 1), "b": (1, 1)})
    for absent, expected in ((2, []), (1, ["a", "b"])):
        arrivals = Arrivals(listing, absent=absent)
        arrivals.ready({}, now_s=0)
        arrivals.ready(listing, now_s=0)
        assert arrivals.ready(listing, now_s=0) == expected
