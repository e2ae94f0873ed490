"""The two sources that need no file."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.sources import open_source, read_marks
from producers.sources.builtin import BuiltinSource
from producers.sources.marks import FRAME_NUMBERS
from producers.sources.synthetic import synthetic_frame
from streamproc.errors import SourceError, UsageError
from streamproc.model import Pixels
from streamproc.operators import pixels as pixel_ops
from tests.producers.material import SETTINGS


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    data = pixel_ops.encode(pixels, "jpeg", quality)
    return pixel_ops.decode(data, "jpeg", pixel_ops.format_of(pixels), pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("quality", [90, 60, 30])
@pytest.mark.parametrize("number", [0, 1, 12_345, FRAME_NUMBERS - 1])
def test_marks_survive_jpeg(number: int, quality: int) -> None:
    pixels = through_jpeg(synthetic_frame(number, width=1280, height=720), quality)
    marks = read_marks(pixels)
    assert len(marks.read) == 20 * 11
    assert marks.proves(number)
    assert marks.frames == {number}
    assert read_marks(pixel_ops.gray(pixels)).proves(number)


@given(
    left=st.integers(0, 300),
    top=st.integers(0, 200),
    width=st.integers(1, 340),
    height=st.integers(1, 280),
)
@settings(max_examples=50, deadline=None)
def test_marks_of_any_part_say_where_it_belongs(left: int, top: int, width: int, height: int) -> None:
    part = synthetic_frame(5, width=640, height=480)[top : top + height, left : left + width]
    marks = read_marks(part, left=left, top=top)
    inside = max(0, (top + part.shape[0]) // 64 - -(-top // 64)) * max(0, (left + part.shape[1]) // 64 - -(-left // 64))
    assert len(marks.read) == inside
    assert not marks.unreadable
    assert marks.proves(5) == (inside > 0)


def test_a_tile_of_another_frame_is_found() -> None:
    pixels = synthetic_frame(7, width=640, height=480)
    pixels[64:128, 128:256] = synthetic_frame(8, width=640, height=480)[64:128, 128:256]
    marks = read_marks(pixels)
    assert marks.frames == {7, 8}
    assert [(mark.at_row, mark.at_col) for mark in marks.read if mark.frame == 8] == [(1, 2), (1, 3)]
    assert not marks.proves(7)


def test_a_tile_in_a_wrong_place_is_found() -> None:
    pixels = synthetic_frame(7, width=640, height=480)
    pixels[0:64, 0:64] = pixels[64:128, 64:128]
    (moved,) = [mark for mark in read_marks(pixels).read if not mark.in_place]
    assert (moved.row, moved.col, moved.at_row, moved.at_col) == (1, 1, 0, 0)


def test_a_missing_tile_is_found() -> None:
    pixels = synthetic_frame(7, width=640, height=480)
    pixels[0:128, 0:64] = 0
    assert read_marks(pixels).unreadable == ((0, 0), (1, 0))
    pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape)
    assert read_marks(pixels).read == ()


def test_the_example_of_the_documentation_runs() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
    _, example = page.split("```python\n")
    exec(compile(example.split("```")[0], "docs/sources.md", "exec"), {})  # noqa: S102 - our own page


def test_synthetic_frames_count_up_at_25_fps_without_end() -> None:
    source = open_source("synthetic", SETTINGS)
    assert (source.length, source.fps) == (None, 25.0)
    for number, frame in enumerate(itertools.islice(source, 3)):
        assert frame.pixels.shape == (720, 1280, 3)
        assert read_marks(frame.pixels).proves(number)
    assert next(iter(open_source("synthetic:333x100", SETTINGS))).pixels.shape == (100, 333, 3)


@pytest.mark.parametrize("spec", ["synthetic:", "synthetic:9x9", "synthetic:axb", "synthetic:63x64"])
def test_wrong_synthetic_sizes_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="synthetic"):
        open_source(spec, SETTINGS)


def test_a_synthetic_size_above_the_limit_is_refused() -> None:
    with pytest.raises(SourceError, match="limit"):
        open_source("synthetic:20000x20000", SETTINGS)


# --- builtin ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def builtin() -> BuiltinSource:
    return BuiltinSource()


def test_builtin_frames_are_a_function_of_their_number(builtin: BuiltinSource) -> None:
    again = list(itertools.islice(BuiltinSource(), 4))
    assert all(np.array_equal(frame.pixels, builtin.frame(number)) for number, frame in enumerate(again))
    assert np.array_equal(builtin.frame(1500 + 3), builtin.frame(3))
    assert (builtin.length, builtin.fps, again[0].pixels.shape) == (None, 25.0, (720, 1280, 3))


def test_builtin_moves_smoothly_and_always(builtin: BuiltinSource) -> None:
    for number in range(0, 1500, 75):
        one, two = (pixel_ops.gray(builtin.frame(number + step)) for step in (0, 1))
        difference = float(np.mean(cv2.absdiff(one, two)))
        assert 0.005 < difference < 12, number


def test_builtin_shows_a_face_early_on(builtin: BuiltinSource) -> None:
    cascade = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    detector = cv2.CascadeClassifier(str(cascade))
    for number in range(0, 60, 5):
        found = detector.detectMultiScale(pixel_ops.gray(builtin.frame(number)), 1.1, 5)
        faces = [(x, y, side) for x, y, side, _ in found if 160 < x < 200 and y < 80]
        assert len(faces) == 1, number
        assert 60 <= faces[0][2] <= 120


def test_builtin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SourceError, match=r"pip install 'streamproc\[demo\]'"):
        open_source("builtin", SETTINGS)
