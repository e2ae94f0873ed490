"""What a user writes, and what is opened."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from producers.sources import LiveSource, open_source
from producers.sources.folder import FolderSource
from producers.sources.hls import HlsSource
from producers.sources.mjpeg import MjpegSource
from producers.sources.rtsp import RtspSource
from producers.sources.source import natural_key
from producers.sources.stdin import StdinSource
from producers.sources.v4l2 import V4l2Source
from producers.sources.watched import WatchedSource
from streamproc.errors import SourceError, UsageError
from tests.producers.material import SETTINGS, picture, save

if TYPE_CHECKING:
    from pathlib import Path


def names(spec: str) -> list[str]:
    source = open_source(spec, SETTINGS)
    assert isinstance(source, FolderSource)
    return [file.name for file in source.files]


def refused(spec: str) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(spec, SETTINGS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 30, 3):
        save(tmp_path / f"frame{number}.png", picture(16, 16, seed=number))
    assert names(str(tmp_path)) == ["frame1.png", "frame2.png", "frame3.png", "frame10.png", "frame30.png"]
    frames = list(open_source(str(tmp_path), SETTINGS))
    for frame, number in zip(frames, (1, 2, 3, 10, 30), strict=True):
        assert np.array_equal(frame.pixels, picture(16, 16, seed=number))


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        (["b", "a"], ["a", "b"]),
        (["x10y2", "x10y10", "x9y1"], ["x9y1", "x10y2", "x10y10"]),
        (["img", "img2", "img1"], ["img", "img1", "img2"]),
        (["01", "1", "001"], ["001", "01", "1"]),
        (["B1", "a2", "A10"], ["a2", "A10", "B1"]),
        (["²", "2", "a"], ["2", "a", "²"]),
    ],
)
def test_natural_order(given: list[str], ordered: list[str]) -> None:
    assert sorted(given, key=natural_key) == ordered


def test_a_glob_chooses_pictures_in_natural_order(tmp_path: Path) -> None:
    for name in ("a10.png", "a9.png", "b1.png"):
        save(tmp_path / name, picture(16, 16))
    assert names(f"{tmp_path}/a*.png") == ["a9.png", "a10.png"]
    assert names(f"{tmp_path}/[ab]?.png") == ["a9.png", "b1.png"]


def test_a_relative_glob_is_relative_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png", picture(16, 16))
    monkeypatch.chdir(tmp_path)
    assert names("*.png") == ["a.png"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    save(tmp_path / "a[1].png", picture(16, 16))
    assert open_source(f"{tmp_path}/a[1].png", SETTINGS).name == "a[1].png"


def test_other_files_in_a_folder_are_left_out_with_a_notice(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture(16, 16))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    notices: list[str] = []
    assert open_source(str(tmp_path), SETTINGS, notice=notices.append).length == 1
    assert notices == [f"folder {tmp_path}: 1 files that are no pictures are left out"]


def test_a_bad_picture_in_a_folder_is_named_after_the_good_ones_before_it(tmp_path: Path) -> None:
    save(tmp_path / "1.png", picture(16, 16))
    (tmp_path / "2.png").write_bytes(b"not a picture")
    frames = iter(open_source(str(tmp_path), SETTINGS))
    next(frames)
    with pytest.raises(SourceError, match=r"2\.png is not a PNG"):
        next(frames)


def test_a_missing_file_is_named() -> None:
    assert refused("/no/such.png") == (
        "/no/such.png does not exist: give a picture, a film, a folder, 'builtin' or 'synthetic'"
    )


def test_an_empty_folder_and_one_without_pictures_are_refused(tmp_path: Path) -> None:
    assert "has no pictures (nothing there" in refused(str(tmp_path))
    (tmp_path / "notes.txt").touch()
    assert "has no pictures (1 other files there" in refused(str(tmp_path))


def test_a_glob_without_matches_is_refused(tmp_path: Path) -> None:
    assert refused(f"{tmp_path}/*.png") == f"no file matches {tmp_path}/*.png"
    (tmp_path / "a.txt").touch()
    assert "has no pictures" in refused(f"{tmp_path}/*")


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("rtsp://camera/1", RtspSource),
        ("rtspu://camera/1", RtspSource),
        ("rtsps://camera/1", RtspSource),
        ("http://x/y.mp4", HlsSource),
        ("https://x/live.m3u8?token=abc", HlsSource),
        ("hls+https://x/live?token=abc", HlsSource),
        ("https://x/a", MjpegSource),
        ("http://x/video.mjpg", MjpegSource),
        ("0", V4l2Source),
        ("/dev/video3", V4l2Source),
        ("-", StdinSource),
        ("stdin:raw:64x48:gray8", StdinSource),
        ("watch:/no/such/folder", WatchedSource),
    ],
)
def test_live_sources_are_told_by_what_is_written_and_connect_only_when_read(spec: str, kind: type) -> None:
    with open_source(spec, SETTINGS) as source:
        assert type(source) is kind
        assert isinstance(source, LiveSource)
        assert source.length is None
        assert "abc" not in source.describe() + source.name


@pytest.mark.parametrize(
    ("spec", "steady", "bursts"),
    [
        ("rtsp://x/1", True, False),
        ("http://x/a", True, False),
        ("0", True, False),
        ("http://x/a.m3u8", True, True),
        ("http://x/a.mp4", True, True),
        ("-", False, False),
        ("watch:/x", False, False),
    ],
)
def test_whether_silence_is_normal_and_frames_come_in_bursts_stands_on_the_source(
    spec: str, steady: bool, bursts: bool
) -> None:
    source = open_source(spec, SETTINGS)
    assert isinstance(source, LiveSource)
    assert (source.steady, source.bursts) == (steady, bursts)


def test_how_long_a_frame_is_waited_for_stands_on_the_source(tmp_path: Path) -> None:
    def limits(spec: str, open_timeout_s: float = 4, read_timeout_s: float | None = None) -> tuple[float, float]:
        source = open_source(spec, SETTINGS, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s)
        assert isinstance(source, LiveSource)
        return source.open_timeout_s, source.read_timeout_s

    assert limits("rtsp://x/1") == limits("http://x/a") == limits("http://x/a.mp4") == limits("0") == (4, 4)
    assert limits("http://x/a.m3u8") == limits("hls+http://x/a") == (4, 15)
    assert limits("http://x/a.m3u8", read_timeout_s=3, open_timeout_s=2) == (2, 3)
    assert limits("-") == limits(f"watch:{tmp_path}") == (math.inf, math.inf)


@pytest.mark.parametrize("spec", ["file:///etc/passwd", "ftp://x/a", "rtmp://x/a", "concat://a", "rtsp://"])
def test_other_urls_are_refused(spec: str) -> None:
    with pytest.raises(UsageError, match="no URL of a camera"):
        open_source(spec, SETTINGS)


def test_a_file_may_have_a_number_for_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "7.png", picture(16, 16)).rename(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert len(list(open_source("7", SETTINGS))) == 1


@pytest.mark.parametrize("name", ["notes.txt", "list.m3u8", "concat.ffconcat", "no-ending"])
def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("#EXTM3U\nhttp://127.0.0.1:9/a.ts\n")
    line = refused(str(path))
    assert name in line
    assert ".png" in line
    assert ".mp4" in line


def test_something_that_is_no_file_is_refused() -> None:
    assert "neither a file nor a folder" in refused("/dev/null")


@pytest.mark.parametrize("spec", ["", "a\0b", "x" * 5000])
def test_odd_names_are_refused_in_one_line(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(spec)


def test_a_tiles_pattern_needs_a_folder(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture(16, 16))
    with pytest.raises(UsageError, match="needs a folder"):
        open_source(str(path), SETTINGS, tiles_pattern="{row}_{col}.png")
