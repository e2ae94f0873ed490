from __future__ import annotations

import struct
import zlib
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Codec, PixelFormat, Pixels, Rect
from streamproc.operators import pixels as pictures
from streamproc.operators.pixels import (
    THUMBNAIL_SCALES,
    decode,
    encode,
    format_of,
    require_gray,
    require_pixels,
    thumbnail,
    thumbnail_rect,
)
from streamproc.operators.tiling import cut, join
from tests.operators.pictures import Cut, astronaut, cuts

FORMATS: dict[int, PixelFormat] = {1: "gray8", 3: "bgr8"}


@given(cuts(channels=(1, 3)), st.sampled_from(["png", "raw"]))
def test_lossless_codecs_give_the_pixels_back(case: Cut, codec: Codec) -> None:
    payload = encode(case.pixels, codec)
    assert np.array_equal(decode(payload, codec, FORMATS[case.channels], case.width, case.height), case.pixels)


@given(cuts(channels=(1, 3)), st.integers(1, 100))
def test_jpeg_gives_pixels_of_the_promised_shape(case: Cut, quality: int) -> None:
    found = decode(encode(case.pixels, "jpeg", quality), "jpeg", FORMATS[case.channels], case.width, case.height)
    assert found.shape == case.pixels.shape
    assert found.dtype == np.uint8


def test_jpeg_is_near_the_picture() -> None:
    picture = astronaut()
    found = decode(encode(picture, "jpeg", 95), "jpeg", "bgr8", 512, 512)
    assert np.abs(found.astype(int) - picture).mean() < 3


def test_an_encoder_takes_views() -> None:
    view = astronaut()[10:40, 20:70]
    for codec in get_args(Codec):
        assert decode(encode(view, codec), codec, "bgr8", 50, 30).shape == (30, 50, 3)


def reason(payload: bytes, codec: Any, pixel_format: PixelFormat = "gray8", width: int = 24, height: int = 18) -> str:
    with pytest.raises(BadMessage) as refused:
        decode(payload, codec, pixel_format, width, height)
    return refused.value.reason


SMALL: Pixels = np.arange(18 * 24, dtype=np.uint32).reshape(18, 24).astype(np.uint8)
COLOUR: Pixels = np.stack([SMALL] * 3, axis=2)


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_another_size_than_promised_is_refused_before_decoding(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = encode(SMALL, codec)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert reason(payload, codec, width=25) == "limits"
    assert reason(payload, codec, height=17) == "limits"
    assert reason(payload, codec, width=18, height=24) == "limits"
    assert reason(payload, codec, width=0) == "limits"


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_another_number_of_channels_than_promised_is_refused(codec: Codec) -> None:
    assert reason(encode(SMALL, codec), codec, "bgr8") == "pixels"
    assert reason(encode(COLOUR, codec), codec, "gray8") == "pixels"


def test_alpha_palette_and_16_bits_are_refused() -> None:
    alpha = cv2.imencode(".png", np.zeros((18, 24, 4), np.uint8))[1].tobytes()
    deep = cv2.imencode(".png", np.zeros((18, 24), np.uint16))[1].tobytes()
    assert reason(alpha, "png", "bgr8") == "pixels"
    assert reason(deep, "png", "gray8") == "pixels"
    palette = bytearray(encode(SMALL, "png"))
    palette[25] = 3
    assert reason(bytes(palette), "png", "gray8") == "pixels"


@pytest.mark.parametrize(
    ("payload", "codec"),
    [
        (encode(SMALL, "png"), "jpeg"),
        (encode(SMALL, "jpeg"), "png"),
        (b"", "jpeg"),
        (b"", "png"),
        (b"GIF89a", "png"),
        (b"x", "webp"),
    ],
)
def test_another_format_than_promised_is_refused(payload: bytes, codec: str) -> None:
    assert reason(payload, codec) == "codec"


@pytest.mark.parametrize("length", [0, 431, 433])
def test_raw_pixels_must_have_exactly_the_promised_length(length: int) -> None:
    assert reason(bytes(length), "raw") == "length"


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_data_cut_short_are_refused_wherever_they_end(codec: Codec) -> None:
    payload = encode(SMALL, codec)
    for end in range(8, len(payload) - 12):
        assert reason(payload[:end], codec) == "decode"


def test_a_flipped_bit_in_png_data_is_refused() -> None:
    payload = bytearray(encode(SMALL, "png"))
    payload[len(payload) // 2] ^= 0x10
    assert reason(bytes(payload), "png") == "decode"


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", pictures.JPEG_START, pictures.PNG_SIGNATURE]),
    st.sampled_from(["jpeg", "png"]),
)
def test_garbage_is_refused_and_never_an_error_of_another_kind(garbage: bytes, start: bytes, codec: Codec) -> None:
    assert reason(start + garbage, codec) in {"codec", "decode", "limits", "pixels"}


@pytest.mark.parametrize("markers", [b"\xff\xff\xff\xe0\x00\x02", b"\xff\x01\xff\xe0\x00\x02"])
def test_fill_bytes_and_bare_markers_before_the_frame_header_are_skipped(markers: bytes) -> None:
    payload = encode(SMALL, "jpeg")
    assert decode(payload[:2] + markers + payload[2:], "jpeg", "gray8", 24, 18).shape == (18, 24)


def test_a_jpeg_with_a_thousand_scans_is_refused() -> None:
    payload = encode(SMALL, "jpeg")
    assert reason(payload[:-2] + b"\xff\xda\x00\x02" * 1000 + payload[-2:], "jpeg") == "limits"


def test_a_progressive_jpeg_is_read() -> None:
    payload = cv2.imencode(".jpg", COLOUR, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode(payload, "jpeg", "bgr8", 24, 18).shape == (18, 24, 3)


def test_exif_does_not_turn_a_tile() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    payload = encode(SMALL, "jpeg")
    turned = payload[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + payload[2:]
    assert decode(turned, "jpeg", "gray8", 24, 18).shape == (18, 24)


def test_a_png_that_claims_a_huge_picture_costs_nothing() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    payload = pictures.PNG_SIGNATURE + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"IEND"
    assert reason(payload, "png") == "limits"


def test_unknown_codecs_and_sizes_too_large_are_not_encoded() -> None:
    with pytest.raises(BadMessage, match="unknown codec 'webp'"):
        encode(SMALL, "webp")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(BadMessage, match="jpeg cannot hold"):
        encode(np.zeros((1, 65_536), np.uint8), "jpeg")


BAD: list[np.ndarray[Any, Any]] = [
    np.zeros((4, 4), np.float32),
    np.zeros((4, 4), np.int8),
    np.zeros((4, 4, 1), np.uint8),
    np.zeros((4, 4, 4), np.uint8),
    np.zeros(4, np.uint8),
    np.zeros((0, 4), np.uint8),
    np.zeros((4, 0, 3), np.uint8),
]


@pytest.mark.parametrize("pixels", BAD, ids=lambda pixels: f"{pixels.shape} {pixels.dtype}")
def test_arrays_that_are_no_pictures_are_refused_with_shape_and_type(pixels: Any) -> None:
    for check in (
        require_pixels,
        require_gray,
        pictures.gray,
        format_of,
        lambda p: encode(p, "png"),
        lambda p: thumbnail(p, 2),
    ):
        with pytest.raises(BadPixels, match=str(pixels.dtype)):
            check(pixels)


def test_grey_needs_grey() -> None:
    require_gray(SMALL)
    with pytest.raises(BadPixels, match=r"got \(18, 24, 3\) uint8"):
        require_gray(COLOUR)


def test_grey_passes_through_and_colour_is_what_opencv_makes_of_it() -> None:
    picture = astronaut()
    assert pictures.gray(SMALL) is SMALL
    assert np.array_equal(pictures.gray(picture), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    assert (format_of(SMALL), format_of(picture)) == ("gray8", "bgr8")


@given(cuts(channels=(1, 3)), st.sampled_from(THUMBNAIL_SCALES))
def test_thumbnails_of_tiles_join_to_the_thumbnail_of_the_frame(case: Cut, scale: int) -> None:
    picture = case.pixels
    whole = thumbnail(picture, scale)
    parts = [
        (thumbnail_rect(core, scale), thumbnail(picture[core.y : core.bottom, core.x : core.right], scale))
        for core in cut(case.width, case.height, case.grid)
    ]
    rect = thumbnail_rect(Rect(0, 0, case.width, case.height), scale)
    assert whole.shape[:2] == (rect.height, rect.width) == (-(-case.height // scale), -(-case.width // scale))
    assert np.array_equal(join(parts, rect.width, rect.height), whole)


def test_a_thumbnail_is_the_mean_of_blocks() -> None:
    picture = np.array([[0, 2, 10, 30], [4, 6, 50, 70]], np.uint8)
    assert thumbnail(picture, 2).tolist() == [[3, 40]]
    assert thumbnail(picture[:, :3], 2).tolist() == [[3, 30]]
    with pytest.raises(BadPixels, match="got 3"):
        thumbnail(picture, 3)
