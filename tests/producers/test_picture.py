"""Single pictures: what is read, and that each refusal is one line with the file and a way out."""

from __future__ import annotations

import resource
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from producers.sources import open_source
from producers.sources.picture import read_picture
from producers.sources.source import Notices
from streamproc.errors import SourceError
from streamproc.settings import load_settings
from tests.producers.material import SETTINGS, huge_png, picture, save

if TYPE_CHECKING:
    from streamproc.model import Pixels

FORMATS = (".png", ".bmp", ".tif", ".webp", ".jpg", ".ppm")


def read(path: Path, notices: list[str] | None = None) -> Pixels:
    told = [] if notices is None else notices
    with open_source(str(path), SETTINGS, notice=told.append) as source:
        frames = list(source)
    assert source.length == 1 == len(frames)
    return frames[0].pixels


def refused(path: Path) -> str:
    with pytest.raises(SourceError) as caught, open_source(str(path), SETTINGS) as source:
        list(source)
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_picture_is_read_as_opencv_reads_it(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"photo{suffix}", picture())
    expected = cv2.imread(str(path))
    assert expected is not None
    assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".pgm"])
def test_grey_stays_grey(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"grey{suffix}", picture(channels=1))
    assert read(path).shape == (64, 96)


def test_capture_time_is_the_time_of_reading(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    before = time.time_ns()
    (frame,) = open_source(str(path), SETTINGS)
    assert before <= frame.captured_ns <= time.time_ns()


def test_alpha_is_dropped_with_one_notice(tmp_path: Path) -> None:
    pixels = np.dstack([picture(), picture(seed=1, channels=1)])
    notices: list[str] = []
    assert np.array_equal(read(save(tmp_path / "a.png", pixels), notices), pixels[:, :, :3])
    assert len(notices) == 1
    assert "alpha" in notices[0]


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    gray = picture(32, 16, channels=1)
    rows = b"".join(b"\0" + bytes(np.dstack([row, 255 - row]).ravel()) for row in gray)
    path = huge_png(tmp_path / "a.png", 1)
    path.write_bytes(_png(struct.pack(">IIBBBBB", 32, 16, 8, 4, 0, 0, 0), rows))
    assert np.array_equal(read(path), gray)


def _png(header: bytes, rows: bytes) -> bytes:
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_the_upper_eight_with_one_notice(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = picture(channels=channels).astype(np.uint16) * 256 + 77
    notices: list[str] = []
    assert np.array_equal(read(save(tmp_path / f"a{suffix}", deep), notices), deep >> 8)
    assert len(notices) == 1
    assert "16 bits" in notices[0]


@pytest.mark.parametrize("suffix", [".tif", ".png", ".webp"])
def test_the_first_of_several_pictures_in_a_file_is_used_with_one_notice(tmp_path: Path, suffix: str) -> None:
    path, pixels = tmp_path / f"a{suffix}", picture()
    animation = cv2.Animation()
    animation.frames, animation.durations = [pixels, picture(seed=1)], [100, 100]
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    if suffix == ".tif":
        assert cv2.imwritemulti(str(path), [pixels, picture(seed=1)])
    else:
        assert cv2.imwriteanimation(str(path), animation, lossless)
    notices: list[str] = []
    assert np.array_equal(read(path, notices), pixels)
    assert notices == [f"a{suffix} holds several pictures: the first is used (told once)"]


def test_a_folder_tells_each_notice_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(tmp_path / name, picture().astype(np.uint16) * 256)
    notices: list[str] = []
    with open_source(str(tmp_path), SETTINGS, notice=notices.append) as source:
        assert len(list(source)) == 3
    assert len(notices) == 1


def test_exif_orientation_is_applied_as_viewers_do(tmp_path: Path) -> None:
    pixels = picture(96, 64)
    data = save(tmp_path / "a.jpg", pixels).read_bytes()
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)  # orientation 6: turn right
    exif = b"Exif\0\0" + tiff
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    assert np.array_equal(read(turned), np.rot90(read(tmp_path / "a.jpg"), -1))


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    assert read(save(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8))).shape == (1, 1, 3)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    assert "float32" in refused(save(tmp_path / "a.tiff", picture(channels=1).astype(np.float32)))


def test_a_picture_named_wrongly_is_read_by_its_content(tmp_path: Path) -> None:
    save(tmp_path / "a.png", picture()).rename(tmp_path / "a.jpg")
    assert np.array_equal(read(tmp_path / "a.jpg"), picture())
    save(tmp_path / "b.png", picture()).rename(tmp_path / "no-ending")
    assert np.array_equal(read(tmp_path / "no-ending"), picture())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.05, 0.6, 0.97])
def test_a_picture_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = save(tmp_path / f"photo{suffix}", picture(320, 240))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "replace or remove it" in refused(path)


def test_a_jpeg_with_only_its_end_marker_missing_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", picture())
    path.write_bytes(path.read_bytes()[:-2])
    assert "end marker" in refused(path)


def test_an_end_marker_inside_a_thumbnail_does_not_count(tmp_path: Path) -> None:
    data = save(tmp_path / "a.jpg", picture()).read_bytes()
    thumbnail = b"Exif\0\0" + data  # a whole JPEG inside a segment
    path = tmp_path / "b.jpg"
    path.write_bytes((data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:])[:-2])
    assert "end marker" in refused(path)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", picture())
    path.write_bytes(path.read_bytes() + b"appended by a phone \xff\xd8")
    assert read(path).shape == (64, 96, 3)


def test_a_damaged_png_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "checksum" in refused(path)


@pytest.mark.parametrize("content", [b"hello, world", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"P6 x", b"II*\0"])
def test_rubbish_with_a_picture_name_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    assert "is empty" in refused(path)


def test_a_huge_picture_is_refused_by_its_header_at_once(tmp_path: Path) -> None:
    path = huge_png(tmp_path / "huge.png", 20_000)
    used, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    line = refused(path)
    assert time.monotonic() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 20_000  # kB
    for part in ("20000x20000", "134217728", "STREAMPROC_MAX_FRAME_PIXELS"):
        assert part in line


def test_a_picture_at_the_limit_is_read_and_one_above_is_not(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture(40, 30))
    assert len(list(open_source(str(path), load_settings(max_frame_pixels=1200)))) == 1
    with pytest.raises(SourceError, match="limit is 1199"):
        open_source(str(path), load_settings(max_frame_pixels=1199))


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(SourceError, match=r"picture /no/such\.png cannot be read: No such file"):
        read_picture(Path("/no/such.png"), max_pixels=1000, notices=Notices())


@pytest.mark.parametrize("suffix", [*FORMATS, ".pgm"])
def test_no_damage_raises_anything_but_source_error(tmp_path: Path, suffix: str) -> None:
    data = save(tmp_path / f"a{suffix}", picture(48, 32, channels=1 if suffix == ".pgm" else 3)).read_bytes()
    random = np.random.default_rng(7)
    path = tmp_path / f"b{suffix}"
    notices = Notices(lambda _line: None)
    for _ in range(150):
        broken = bytearray(data)
        for at in random.integers(0, min(len(data), 200), 3):
            broken[at] = random.integers(0, 256)
        path.write_bytes(broken[: random.integers(1, len(data) + 1)] if random.random() < 0.5 else broken)
        try:
            pixels = read_picture(path, max_pixels=10_000_000, notices=notices)
        except SourceError:
            continue
        assert pixels.dtype == np.uint8
