"""Films: all frames of whole files, and a clear word about files that end early."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.sources import open_source
from producers.sources.containers import cut_short
from producers.sources.video import VideoSource
from streamproc.errors import SourceEnded, SourceError
from streamproc.model import Frame
from streamproc.settings import load_settings
from tests.producers.material import SETTINGS, cut, film, index_first

KINDS = [
    ("a.mp4", "mp4v"),
    ("a.avi", "MJPG"),
    ("a.mkv", "MJPG"),
    ("a.mov", "mp4v"),
    ("a.avi", "XVID"),
    ("a.webm", "VP80"),
]


def count(path: Path) -> int:
    with open_source(str(path), SETTINGS) as source:
        return sum(1 for _ in source)


def count_until_end(path: Path) -> tuple[int, str]:
    """Frames given before SourceEnded, and what it said."""
    frames: list[Frame] = []
    with pytest.raises(SourceEnded) as caught:
        frames.extend(open_source(str(path), SETTINGS))
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return len(frames), line


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_a_whole_film_gives_all_its_frames(tmp_path: Path, name: str, codec: str) -> None:
    path = film(tmp_path / name, codec=codec)
    source = open_source(str(path), SETTINGS)
    assert isinstance(source, VideoSource)
    assert (source.width, source.height, source.length, source.fps) == (160, 96, 50, 25.0)
    assert sum(1 for _ in source) == 50


def test_frames_are_those_opencv_reads_and_can_be_read_again(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", frames=5)
    capture = cv2.VideoCapture(str(path))
    expected = [capture.read()[1] for _ in range(5)]
    source = open_source(str(path), SETTINGS)
    for _ in range(2):
        assert all(np.array_equal(frame.pixels, pixels) for frame, pixels in zip(source, expected, strict=True))


@pytest.mark.parametrize(("name", "codec"), [kind for kind in KINDS if not kind[0].endswith(("mp4", "mov"))])
def test_a_film_cut_short_gives_its_frames_and_says_so(tmp_path: Path, name: str, codec: str) -> None:
    read, line = count_until_end(cut(film(tmp_path / name, codec=codec), 0.6))
    assert 15 < read < 45
    assert f"ended after {read} of 50 frames" in line
    assert "cut short" in line


def test_an_mp4_cut_short_after_its_index_gives_its_frames_and_says_so(tmp_path: Path) -> None:
    whole = index_first(film(tmp_path / "a.mp4"))
    assert count(whole) == 50
    read, line = count_until_end(cut(whole, 0.6))
    assert 15 < read < 45
    assert "cut short, it promises" in line


def test_the_last_bytes_missing_are_enough(tmp_path: Path) -> None:
    path = index_first(film(tmp_path / "a.mp4"))
    path.write_bytes(path.read_bytes()[:-40])
    read, _ = count_until_end(path)
    assert read >= 48


def test_an_mp4_cut_short_before_its_index_cannot_be_opened(tmp_path: Path) -> None:
    path = cut(film(tmp_path / "a.mp4"), 0.6)
    with pytest.raises(SourceError, match=r"cut short, its index \(moov\) is missing"):
        open_source(str(path), SETTINGS)


def test_a_film_damaged_in_the_middle_and_to_its_end_says_so(tmp_path: Path) -> None:
    path = film(tmp_path / "a.avi", codec="MJPG")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    read, line = count_until_end(path)
    assert 15 < read < 40
    assert "cannot be decoded" in line


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.avi has no frame that can be decoded"):
        count(film(tmp_path / "a.avi", codec="MJPG", frames=0))
    path = film(tmp_path / "b.mp4", frames=5)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"b\.mp4 has no frame that can be decoded"):
        count(path)


@pytest.mark.parametrize("content", [b"not a film", b"\0\0\0\x18ftypisom" + bytes(40), b"RIFF\0\0\0\0AVI " + bytes(40)])
def test_rubbish_with_a_film_name_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.mp4"):
        count(path)


def test_a_film_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", frames=2)
    with pytest.raises(SourceError, match="160x96 px = 15360 pixels, the limit is 15359"):
        open_source(str(path), load_settings(max_frame_pixels=15_359))


def test_a_film_without_a_known_ending_is_recognised(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", frames=3).rename(tmp_path / "recording")
    assert count(path) == 3


def test_a_name_that_ffmpeg_takes_for_a_protocol_is_a_file_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "a.mp4", frames=3).rename(tmp_path / "concat:x|y%d.mp4")
    monkeypatch.chdir(tmp_path)
    assert count(Path("concat:x|y%d.mp4")) == 3


def test_closing_early_and_twice_is_harmless(tmp_path: Path) -> None:
    source = open_source(str(film(tmp_path / "a.mp4", frames=3)), SETTINGS)
    next(iter(source))
    source.close()
    source.close()


def test_a_container_that_does_not_say_its_length_is_not_called_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7)
    assert cut_short(path) is None
    path = tmp_path / "a.ts"
    path.write_bytes(b"\x47" + bytes(187))
    assert cut_short(path) is None
