from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Pixels
from streamproc.operators.compression import ROWS, SAME_DB, compression_report, psnr, ssim
from streamproc.operators.pixels import gray
from streamproc.operators.table import Params
from streamproc.operators.tiling import split
from tests.operators.pictures import KINDS, astronaut, photograph, plane

DEFAULTS: Params = ROWS[0].defaults()


def report(picture: Pixels, **params: Any) -> dict[str, Any]:
    found = compression_report(split(picture, Grid(1, 1), 0)[0], {**DEFAULTS, **params})
    assert isinstance(found, Figures)
    return found.values


def jpeg(picture: Pixels, quality: int) -> tuple[int, Pixels]:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    flags = cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR
    return encoded.size, np.asarray(cv2.imdecode(encoded, flags), np.uint8)


def oracle(first: Pixels, second: Pixels) -> float:
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]  # no types there
            gray(first), gray(second), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
    )


@settings(max_examples=40)
@given(st.integers(11, 60), st.integers(11, 60), st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(0, 2**20))
def test_ssim_is_scikit_image_s(width: int, height: int, kind: str, other: str, seed: int) -> None:
    first, second = plane(width, height, kind, seed), plane(width, height, other, seed + 1)
    assert ssim(first, second) == pytest.approx(oracle(first, second), abs=1e-6)
    assert ssim(first, first) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("quality", [5, 30, 60, 95])
def test_a_row_is_what_the_codec_gives_by_hand(quality: int) -> None:
    picture = photograph(200, 120)
    size, decoded = jpeg(picture, quality)
    told = report(picture, lowest=quality, highest=quality, webp=False)
    assert told["codec"] == ["jpeg", "png"]
    assert told["quality"] == [quality, 0]
    assert told["bytes"][0] == size
    assert told["bits_per_pixel"][0] == pytest.approx(8 * size / (200 * 120), abs=1e-4)
    expected = peak_signal_noise_ratio(picture, decoded)  # type: ignore[no-untyped-call]  # no types there
    assert told["psnr_db"] == pytest.approx([expected, SAME_DB], abs=1e-3)
    assert told["ssim"] == pytest.approx([oracle(picture, decoded), 1], abs=1e-5)
    assert told["raw_bytes"] == 200 * 120 * 3


@pytest.mark.parametrize("colour", [True, False])
def test_more_quality_costs_more_bytes_and_loses_less(colour: bool) -> None:
    picture = astronaut()[:192, 100:356].copy() if colour else gray(astronaut())[:192, 100:356].copy()
    told = report(picture, lowest=20, highest=95, steps=4)
    assert told["codec"] == ["jpeg"] * 4 + ["webp"] * 4 + ["png", "webp lossless"]
    assert told["quality"] == [20, 45, 70, 95] * 2 + [0, 0]
    for name in ("bytes", "psnr_db", "ssim"):
        for rows in (slice(0, 4), slice(4, 8)):
            assert told[name][rows] == sorted(told[name][rows])
    assert told["psnr_db"][-2:] == [SAME_DB] * 2
    assert told["ssim"][-2:] == [1.0] * 2
    assert max(told["bytes"]) < told["raw_bytes"]
    assert 25 < told["psnr_db"][0] < told["psnr_db"][3] < 60


def test_psnr_of_pictures_that_differ_by_one_level_is_48_decibels() -> None:
    flat = np.full((30, 40, 3), 100, np.uint8)
    assert psnr(flat, flat + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(flat, flat) == SAME_DB
    assert psnr(np.zeros((9, 9), np.uint8), np.full((9, 9), 255, np.uint8)) == 0


def test_qualities_may_be_named_in_any_order_and_are_told_once() -> None:
    picture = np.full((16, 16), 5, np.uint8)
    assert report(picture, lowest=80, highest=78, steps=9, webp=False)["quality"] == [78, 79, 80, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (10, 10), (11, 11), (8, 17)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size_have_a_report(size: tuple[int, int], channels: int) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    told = report(noise if channels == 3 else gray(noise), steps=2)
    assert len(told["codec"]) == len(told["bytes"]) == len(told["psnr_db"]) == len(told["ssim"]) == 6
    assert np.all(np.isfinite(told["psnr_db"]))
    assert max(told["ssim"]) == 1


def test_a_codec_that_cannot_hold_the_picture_is_left_out() -> None:
    told = report(np.zeros((2, 16500), np.uint8), steps=1)
    assert told["codec"] == ["jpeg", "png"]


def test_other_arrays_are_refused() -> None:
    with pytest.raises(BadPixels, match="expected"):
        report(np.zeros((8, 8), np.float32))
