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

from producers.sources import open_source
from producers.sources.watched import Arrivals, Stamp, WatchedSource, parse_watch
from streamproc.errors import CameraLost, UsageError
from tests.producers.material import SETTINGS, picture, save

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
        self._thread = threading.Thread(target=self._read)
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


@pytest.mark.parametrize("after", ["delete", "move"])
def test_pictures_are_put_away_afterwards_and_those_already_there_taken(tmp_path: Path, after: str) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.png", picture(seed=number))
    source = open_source(f"watch:{tmp_path}?after={after}", SETTINGS)
    frames = iter(source)
    taken = list(islice(frames, 3))
    assert (tmp_path / "2.png").exists()  # until the next is asked for
    assert not (tmp_path / "1.png").exists()
    assert isinstance(source, WatchedSource)
    threading.Timer(0.3, source.interrupt).start()
    assert list(frames) == []
    assert [file.name for file in tmp_path.iterdir()] == (["done"] if after == "move" else [])
    if after == "move":
        assert sorted(file.name for file in (tmp_path / "done").iterdir()) == ["0.png", "1.png", "2.png"]
    for number, frame in enumerate(taken):
        assert np.array_equal(frame.pixels, picture(seed=number))


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


@given(listings)
def test_a_file_is_given_once_for_each_content_and_only_when_it_stands_still(
    steps: list[dict[str, tuple[int, int]]],
) -> None:
    arrivals = Arrivals({})
    given_stamps: dict[str, Stamp] = {}
    last: dict[str, Stamp] = {}
    for step in steps:
        listing = {name: Stamp(mtime_ns=mtime, size=size, inode=1) for name, (mtime, size) in step.items()}
        given_stamps = {name: stamp for name, stamp in given_stamps.items() if name in listing}
        ready = arrivals.ready(listing)
        expected = {
            name
            for name, stamp in listing.items()
            if stamp.size and last.get(name) == stamp and given_stamps.get(name) != stamp
        }
        assert set(ready) == expected
        assert ready == sorted(ready, key=lambda name, now=listing: (now[name].mtime_ns, name))  # type: ignore[misc]
        given_stamps |= {name: listing[name] for name in ready}
        last = listing
