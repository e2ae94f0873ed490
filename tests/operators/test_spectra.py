from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.aggregator.merging import merge_step
from streamproc.errors import BadPixels
from streamproc.model import Figures, Grid, Histogram, Pixels
from streamproc.operators.pixels import gray
from streamproc.operators.spectra import ROWS, dct, dct_energy, dft, wavelet
from streamproc.operators.table import Params, Window
from streamproc.operators.tiling import split
from tests.operators.pictures import SIDES, Cut, cuts, photograph, plane

DEFAULTS: dict[str, Params] = {row.name: row.defaults() for row in ROWS}
DFT, DCT, WAVELET = DEFAULTS["dft"], DEFAULTS["dct"], DEFAULTS["wavelet"]


def whole(picture: Pixels) -> Window:
    return split(picture, Grid(1, 1), 0)[0]


def wave(width: int, height: int, fx: float, fy: float, swing: float = 60.0) -> Pixels:
    """A wave of `fx`, `fy` cycles per pixel around the level 128."""
    rows, cols = np.mgrid[:height, :width]
    return np.asarray(np.rint(128 + swing * np.cos(2 * np.pi * (fx * cols + fy * rows))), np.uint8)


# --- Fourier ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fx", "fy"), [(0.125, 0.0), (0.0, 0.25), (0.125, 0.0625), (0.25, -0.125)])
def test_a_wave_is_found_with_its_frequency_and_its_direction(fx: float, fy: float) -> None:
    found = dft(whole(wave(128, 96, fx, fy)), {**DFT, "taper": False}).values
    sign = 1 if found["peak"][0] * fx + found["peak"][1] * fy > 0 else -1
    assert np.allclose(found["peak"], [sign * fx, sign * fy], atol=1e-6)
    off = found["orientation_deg"] - math.degrees(math.atan2(fy, fx))
    assert (off + 90) % 180 - 90 == pytest.approx(0, abs=0.5)
    assert found["orientation_strength"] > 0.99
    assert found["energy"] == pytest.approx(60**2 / 2, rel=0.02)
    high = math.hypot(fx, fy) >= DFT["cutoff"]
    assert found["high_share"] == pytest.approx(float(high), abs=0.01)
    assert int(np.argmax(found["profile"])) == int(math.hypot(fx, fy) / 0.5 * DFT["bins"])


@settings(max_examples=40)
@given(SIDES, SIDES, st.sampled_from(["noise", "ramps", "specks", "flat"]), st.integers(1, 40), st.booleans())
def test_shares_are_those_of_the_whole_complex_spectrum(
    width: int, height: int, kind: str, bins: int, odd: bool
) -> None:
    picture = plane(width, height, kind, 7 + odd)
    found = dft(whole(picture), {"bins": bins, "cutoff": 0.2, "taper": False}).values
    power = np.abs(np.fft.fft2(picture - picture.mean())) ** 2
    radius = np.hypot(np.fft.fftfreq(width)[None, :], np.fft.fftfreq(height)[:, None])
    assert found["energy"] == pytest.approx(picture.astype(float).var(), abs=1e-6)
    if picture.min() == picture.max():
        assert not any(found["profile"])
        assert found["high_share"] == found["orientation_strength"] == found["peak_share"] == 0
        return
    rings = [power[np.minimum(np.floor(radius * 2 * bins), bins - 1) == ring].sum() for ring in range(bins)]
    assert np.allclose(found["profile"], np.array(rings) / power.sum(), atol=1e-8)
    assert found["high_share"] == pytest.approx(power[radius >= 0.2].sum() / power.sum(), abs=1e-8)


def test_the_taper_takes_the_jump_between_opposite_borders_out() -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (150, 1))
    bare, faded = (dft(whole(ramp), {**DFT, "taper": taper}).values["high_share"] for taper in (False, True))
    assert bare > 5e-3
    assert faded < 1e-4


def test_a_sharp_picture_has_more_high_frequencies_than_a_blurred_one() -> None:
    sharp = gray(photograph(320, 240))
    soft = np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2), np.uint8)
    first, second = (dft(whole(picture), DFT).values["high_share"] for picture in (sharp, soft))
    assert first > 20 * second


# --- cosines ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(cuts())
def test_the_sums_of_tiles_are_those_of_the_frame(case: Cut) -> None:
    once = dct(whole(case.pixels), DCT)
    parts = [dct(window, DCT) for window in split(case.pixels, case.grid, case.extra_halo)]
    assert merge_step(parts, case.width, case.height) == once
    assert once.counts[8] == [(case.width // 8) * (case.height // 8)]


@settings(max_examples=30)
@given(cuts())
def test_the_energy_of_blocks_is_that_of_scipy_s_transform(case: Cut) -> None:
    down, across = case.height // 8, case.width // 8
    blocks = case.pixels[: down * 8, : across * 8].reshape(down, 8, across, 8).swapaxes(1, 2) - 128.0
    squares = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho") ** 2
    expected = squares.mean(axis=(0, 1)) if squares.size else np.zeros((8, 8))
    found = dct_energy(dct(whole(case.pixels), DCT), DCT).values
    # Coefficients are rounded to 1/16: off by at most 1/32 each, so squares by 2 * |c| / 32 and a little.
    assert np.all(np.abs(np.array(found["energy"]) - expected) <= np.sqrt(expected) / 16 + 0.002 + expected * 1e-5)


def test_shares_of_blocks_tell_which_way_brightness_changes() -> None:
    across, down = wave(64, 64, 0.4, 0), wave(64, 64, 0, 0.4)
    first, second = (dct_energy(dct(whole(picture), DCT), {"cutoff": 5}).values for picture in (across, down))
    assert first["horizontal_share"] == second["vertical_share"] == pytest.approx(1)
    assert first["vertical_share"] == second["horizontal_share"] == 0
    assert first["high_share"] > 0.85


def test_a_flat_frame_has_its_brightness_and_nothing_else() -> None:
    flat = dct_energy(dct(whole(np.full((32, 24), 130, np.uint8)), DCT), DCT).values
    assert flat["blocks"] == 12
    assert flat["energy"][0][0] == pytest.approx((8 * 2) ** 2, rel=1e-3)
    assert flat["high_share"] == flat["horizontal_share"] == flat["vertical_share"] == 0
    assert np.count_nonzero(flat["energy"]) == 1


# --- wavelets -----------------------------------------------------------------------------------------------------


def haar_once(levels: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Approximation, and details along y, along x, along both, by hand."""
    a, b, c, d = levels[::2, ::2], levels[::2, 1::2], levels[1::2, ::2], levels[1::2, 1::2]
    return [(a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2]


def test_haar_s_energies_are_those_worked_out_by_hand() -> None:
    picture = gray(photograph(160, 96))
    found = wavelet(whole(picture), {"wavelet": "haar", "levels": 2}).values
    levels = picture - picture.mean()
    total = float(np.sum(levels**2))
    coarse, *fine = haar_once(levels)
    coarser, *rough = haar_once(coarse)
    for at, name in enumerate(("horizontal", "vertical", "diagonal")):
        expected = [float(np.sum(bands[at] ** 2)) / total for bands in (fine, rough)]
        assert np.allclose(found[name], expected, atol=1e-8)
    assert found["approximation"] == pytest.approx(np.sum(coarser**2) / total, abs=1e-8)
    assert found["energy"] == pytest.approx(picture.astype(float).var(), rel=1e-6)


@pytest.mark.parametrize("name", ["haar", "db2", "db4", "sym4", "coif1"])
def test_energy_is_kept_where_sides_are_multiples_of_two_to_the_levels(name: str) -> None:
    picture = gray(photograph(320, 192))
    found = wavelet(whole(picture), {"wavelet": name, "levels": 3}).values
    assert found["levels"] == 3
    assert found["energy"] == pytest.approx(picture.astype(float).var(), rel=1e-6)
    shares = [found["approximation"], *found["horizontal"], *found["vertical"], *found["diagonal"]]
    assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_stripes_are_in_the_band_of_their_width_and_direction() -> None:
    lying = np.repeat(np.array([[50], [200]], np.uint8), 64, axis=1)
    fine = wavelet(whole(np.tile(lying, (32, 1))), {"wavelet": "haar", "levels": 3}).values
    assert fine["horizontal"] == [1, 0, 0]
    wide = wavelet(whole(np.repeat(np.tile(lying, (16, 1)), 2, axis=0).T.copy()), WAVELET).values
    assert wide["vertical"] == [0, 1, 0]


@settings(max_examples=25)
@given(SIDES, SIDES, st.sampled_from(["haar", "db4", "coif1"]), st.integers(1, 8))
def test_any_size_has_as_many_levels_as_it_can(width: int, height: int, name: str, levels: int) -> None:
    found = wavelet(whole(plane(width, height, "noise", 3)), {"wavelet": name, "levels": levels})
    assert isinstance(found, Figures)
    depth = found.values["levels"]
    assert depth <= levels
    assert len(found.values["horizontal"]) == len(found.values["diagonal"]) == depth
    assert np.isfinite(found.values["energy"])


@pytest.mark.parametrize("measure", [dft, dct, wavelet])
def test_colour_is_refused(measure: object) -> None:
    with pytest.raises(BadPixels, match="expected"):
        measure(whole(np.zeros((8, 8, 3), np.uint8)), {**DFT, **WAVELET})  # type: ignore[operator]  # a measure


def test_no_blocks_give_zeros() -> None:
    found = dct(whole(np.full((7, 40), 9, np.uint8)), DCT)
    assert found == Histogram(counts=[*[[0] * 8] * 8, [0]])
    assert dct_energy(found, DCT).values["high_share"] == 0
