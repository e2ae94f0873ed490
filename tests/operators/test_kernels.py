from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Grid
from streamproc.operators.kernels import ROWS, custom_kernel, whole_weights
from tests.operators.pictures import Cut, astronaut, cuts, photograph
from tests.operators.tiled import assert_exact, assert_halo_is_needed, parameters, tiled, whole

(ROW,) = ROWS
SIDES = st.sampled_from([3, 5, 7, 9, 11, 13, 15])
WHOLE_NUMBERS = st.integers(-300, 300).map(str)
DECIMALS = st.integers(-999_999, 999_999).map(lambda millionths: f"{millionths / 1e6:.6f}")


@st.composite
def kernels(draw: st.DrawFn) -> str:
    side = draw(SIDES)
    number = draw(st.sampled_from([WHOLE_NUMBERS, DECIMALS]))
    random = draw(st.lists(number, min_size=9, max_size=9))
    return "; ".join(
        " ".join(random[(7 * row + 3 * col + row * col) % 9] for col in range(side)) for row in range(side)
    )


@settings(max_examples=60)
@given(
    cuts(channels=(1, 3)),
    kernels(),
    st.one_of(st.sampled_from([1.0, 0.125, 0.1]), st.floats(-3, 3)),
    st.integers(-255, 255),
    st.sampled_from(["clip", "absolute"]),
)
def test_weighted_tiles_join_to_the_weighted_frame(
    case: Cut, kernel: str, scale: float, offset: int, output: str
) -> None:
    params = parameters(ROW, kernel=kernel, scale=scale, offset=float(offset), output=output)
    assert_exact(ROW, case, params)


def test_the_halo_is_no_larger_than_needed() -> None:
    kernel = "; ".join(["3 1 2 3 4 5 -6 7 8 9 -1"] * 11)
    assert_halo_is_needed(ROW, parameters(ROW, kernel=kernel, scale=0.003))


@pytest.mark.parametrize("side", [3, 5, 7, 9, 11, 13, 15])
@pytest.mark.parametrize("digits", [0, 6])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_kernel_gives_what_exact_sums_give(side: int, digits: int, scale: float) -> None:
    random = np.random.default_rng(side)
    numbers = np.round(random.uniform(-3, 3, (side, side)) if digits else random.integers(-9, 9, (side, side)), digits)
    text = "; ".join(" ".join(f"{number:.{digits}f}" for number in row) for row in numbers)
    picture = photograph(67, 43)
    framed = np.pad(picture.astype(np.int64), ((side // 2,) * 2, (side // 2,) * 2, (0, 0)), mode="reflect")
    millionths = np.rint(numbers * 10**digits).astype(np.int64)
    views = np.lib.stride_tricks.sliding_window_view(framed, (side, side), axis=(0, 1))
    sums = (views * millionths).sum(axis=(3, 4)) / 10**digits
    found = custom_kernel(picture, {"kernel": text, "scale": scale, "offset": 90.0, "output": "clip"})
    expected = np.clip(np.rint(scale * sums + 90), 0, 255)
    assert np.abs(found - expected).max() <= 1
    # Only sums at a tie may be rounded to the other side: the factors are multiplied in another order.
    assert (np.abs(scale * sums + 90 - np.floor(scale * sums + 90) - 0.5)[found != expected] < 1e-9).all()


@pytest.mark.parametrize("kernel", ["0 -1 0; -1 5 -1; 0 -1 0", "1,2,1; 0,0,0; -1,-2,-1;"])
def test_a_kernel_of_whole_numbers_is_opencv_s_filter(kernel: str) -> None:
    weights, denominator = whole_weights(kernel)
    assert denominator == 1
    expected = cv2.filter2D(astronaut(), -1, weights.astype(np.float32))
    assert np.array_equal(
        custom_kernel(astronaut(), {"kernel": kernel, "scale": 1.0, "offset": 0.0, "output": "clip"}), expected
    )


EDGE_KERNELS = [
    "-1 0 1; -2 0 2; -1 0 1",
    "-1 -1 -1; -1 8 -1; -1 -1 -1",
    "0 0 -1 0 0; 0 -1 -2 -1 0; -1 -2 16 -2 -1; 0 -1 -2 -1 0; 0 0 -1 0 0",
    "-0.25 0 0.25; -0.5 0 0.5; -0.25 0 0.25",
]


@pytest.mark.parametrize("kernel", EDGE_KERNELS)
@pytest.mark.parametrize("output", ["clip", "absolute"])
@pytest.mark.parametrize("offset", [0.0, 128.0, -30.0])
def test_an_edge_kernel_on_tiles_is_opencv_s_filter_of_the_whole_frame(kernel: str, output: str, offset: float) -> None:
    picture = astronaut()
    weights, denominator = whole_weights(kernel)
    sums = cv2.filter2D(picture, cv2.CV_32F, (weights / denominator).astype(np.float32), delta=offset)
    signed = np.rint(sums)
    assert (signed < 0).mean() > 0.002  # what is compared has negative parts
    expected = cv2.convertScaleAbs(sums) if output == "absolute" else np.clip(signed, 0, 255).astype(np.uint8)
    params = parameters(ROW, kernel=kernel, offset=offset, output=output)
    for grid in (Grid(1, 1), Grid(2, 2), Grid(3, 5)):
        assert np.array_equal(tiled(ROW, picture, params, grid, ROW.halo(params)), expected)


def test_both_sides_of_an_edge_are_as_strong_in_absolute_values_and_one_is_lost_when_clipped() -> None:
    bar = np.full((9, 24), 20, np.uint8)
    bar[:, 8:16] = 60
    kernel = {"kernel": "0 0 0; -1 0 1; 0 0 0"}
    clipped = whole(ROW, bar, parameters(ROW, **kernel))
    both = whole(ROW, bar, parameters(ROW, **kernel, output="absolute"))
    signed = whole(ROW, bar, parameters(ROW, **kernel, offset=128.0))
    assert (clipped[4, 7], clipped[4, 15]) == (40, 0)
    assert (both[4, 7], both[4, 15]) == (40, 40)
    assert (signed[4, 7], signed[4, 15], signed[4, 2]) == (168, 88, 128)


@pytest.mark.parametrize("output", ["clip", "absolute"])
@pytest.mark.parametrize(
    ("kernel", "scale", "offset"),
    [
        ("1 2 1; 2 4 2; 1 2 1", 0.0625, 0.0),  # sums that float32 holds
        ("0.111111 0.111111 0.111111; " * 3, 1.0, 0.0),  # never near a tie
        ("-0.1 0.2 -0.1; 0.2 0.6 0.2; -0.1 0.2 -0.1", 1.0, 0.0),  # many ties
        ("-1 -1 -1; -1 8 -1; -1 -1 -1", 0.1, 0.5),
        ("-0.103 0.211 -0.17; 0.2 0.61 0.223; -0.1 0.2 -0.1", 1.0, 0.25),
        ("0.123457 -0.2 0.1; 0.3 0.654321 0.1; 0 0.2 -0.300001", 1.7, -3.5),
        ("0 0 0; 0 0 0; 0 0 0", 1.0, 7.5),
        ("999999999 0 0; 0 0 0; 0 0 -999999999", 1000.0, 0.0),  # beyond 32 bits
        ("999999999 0 0; 0 0 0; 0 0 -999999998", 1000.0, 0.0),
        ("999999999.5 0.0001 0; 0 0 0; 0 0 -999999998", 1000.0, 0.0),
    ],
)
def test_each_way_to_weigh_rounds_exact_fractions_half_to_even(
    kernel: str, scale: float, offset: float, output: str
) -> None:
    picture = np.ascontiguousarray(photograph(31, 17)[:, :, 0])
    rows = [[Fraction(number) for number in row.split()] for row in kernel.strip().rstrip(";").split(";")]
    framed = np.pad(picture, 1, mode="reflect").astype(int)
    params = parameters(ROW, kernel=kernel, scale=scale, offset=offset, output=output)
    found = whole(ROW, picture, params)
    for y, x in np.ndindex(*picture.shape):
        cells = [(row, col) for row in range(3) for col in range(3)]
        total = sum(rows[row][col] * int(framed[y + row, x + col]) for row, col in cells)
        value = total * Fraction(scale).limit_denominator(1000) + Fraction(offset)
        assert found[y, x] == min(255, max(0, round(abs(value) if output == "absolute" else value)))


def test_a_kernel_is_read_as_fractions() -> None:
    weights, denominator = whole_weights("0.5 0 -.25; 1. +2 0; 0 0 0.125")
    assert (weights / denominator).tolist() == [[0.5, 0, -0.25], [1, 2, 0], [0, 0, 0.125]]


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("", "rows of 0"),
        ("1 2; 3 4", "rows of 2 2"),
        ("1 2 3; 4 5; 6 7 8", "rows of 3 2 3"),
        ("; ".join([" ".join(["1"] * 17)] * 17), "rows of 17"),
        ("1 2 3; 4 x 6; 7 8 9", "got 'x'"),
        ("1 2 3; 4 1e5 6; 7 8 9", "got '1e5'"),
        ("1 2 3; 4 nan 6; 7 8 9", "got 'nan'"),
        ("0.1234567 0 0; 0 0 0; 0 0 0", "got '0.1234567'"),
        ("; ".join(["999999999.000001 " * 15] * 15), "fewer digits"),
    ],
)
def test_a_kernel_that_cannot_be_read_is_refused(kernel: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        custom_kernel(astronaut(), {"kernel": kernel, "scale": 1.0, "offset": 0.0, "output": "clip"})


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3, 3), (1, 1, 3)])
def test_the_smallest_pictures_are_filtered(shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 77, np.uint8)
    assert np.array_equal(whole(ROW, picture, ROW.defaults()), picture)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(BadPixels, match="expected"):
        whole(ROW, np.zeros((4, 4, 2), np.uint8), ROW.defaults())
