"""Plain calls give what operators give on the whole frame: else their times could not be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamproc.aggregator.seams import unpack
from streamproc.bench.operators import example_values, pictures, sides_of
from streamproc.bench.plain import NO_PLAIN, PLAIN, TEMPLATE
from streamproc.model import Pixels
from streamproc.operators.boxes import box_labels, unpack_boxes
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.points import unpack_points
from streamproc.operators.table import PIXEL_KINDS
from tests.operator_scenes import standing

CODE = "a code for the bench"
NO_CALL_FOR_TILES = {"kmeans", "vitals"}
"""Operators that are exact on tiles and measured alone; `NO_PLAIN` says why."""

Same = Callable[[Any, Any], None]


@pytest.fixture(scope="module")
def frames() -> list[Pixels]:
    return pictures()


def with_code(frame: Pixels) -> Pixels:
    code = cv2.resize(cv2.QRCodeEncoder.create().encode(CODE), (124, 124), interpolation=cv2.INTER_NEAREST)
    pixels = frame.copy()
    pixels[20:184, 1000:1164] = 255
    pixels[40:164, 1020:1144] = code[:, :, None]
    return pixels


def xy_of(points: Any) -> set[tuple[float, float]]:
    return {(x, y) for x, y in np.asarray(points, np.float64).reshape(-1, 2).round(2).tolist()}


def same_figure(name: str, ours: Any, plain: Any) -> None:
    np.testing.assert_allclose(ours.values[name], plain, rtol=1e-5, atol=1e-6)


def same_points(share: float, ours: Any, plain: Any) -> None:
    found = xy_of(unpack_points(ours)[0])
    wanted = xy_of(plain[0] if isinstance(plain, tuple) else plain)
    assert len(found) >= 100
    assert len(found & wanted) >= share * len(found)


def same_boxes(ours: Any, plain: Any) -> None:
    found = unpack_boxes(ours)[0].astype(np.float64)
    listed = plain[0] if isinstance(plain, tuple) else plain
    wanted = np.asarray(listed, np.float64).reshape(-1, 4)
    wanted[:, 2:] += wanted[:, :2]
    assert len(found) == len(wanted) > 0
    assert all(max(overlap(one, other) for other in found) > 0.9 for one in wanted)


def overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    sides = np.maximum(0, np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]))
    common = float(np.prod(sides))
    return common / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - common)


def same_noise(ours: Any, plain: list[float]) -> None:
    np.testing.assert_allclose(ours.values["sigma_mean"], plain, rtol=1e-4)


def same_energies(ours: Any, plain: Any) -> None:
    # Ours are rounded to 1/16 grey level.
    np.testing.assert_allclose(ours.values["energy"], plain, rtol=1e-3, atol=1e-2)


def same_bands(ours: Any, plain: list[float]) -> None:
    energy, (coarse, *bands) = sum(plain), plain
    np.testing.assert_allclose(ours.values["approximation"], coarse / energy, rtol=1e-6)
    np.testing.assert_allclose(ours.values["horizontal"], np.array(bands[0::3])[::-1] / energy, rtol=1e-5)


def same_segments(ours: Any, plain: Any) -> None:
    ends = {frozenset([(a, b), (c, d)]) for a, b, c, d in plain.reshape(-1, 4).tolist()}
    assert ours.values["count"] == len(plain) > 50
    assert all(frozenset([(a, b), (c, d)]) in ends for a, b, c, d in ours.values["lines"])


def same_lines(ours: Any, plain: Any) -> None:
    wanted = {(round(rho), round(float(np.degrees(theta)))) for rho, theta in plain.reshape(-1, 2).tolist()}
    assert ours.values["count"] == len(plain) > 50
    assert all((round(rho), round(theta)) in wanted for rho, theta, _ in ours.values["lines"])


def same_circles(ours: Any, plain: Any) -> None:
    np.testing.assert_allclose(ours.values["circles"], plain.reshape(-1, 3), atol=0.01)


def same_regions(ours: Any, plain: Any) -> None:
    wanted = {(x, y, x + width, y + height) for x, y, width, height in plain.tolist()}
    assert ours.values["count"] == len(plain) > 50
    assert all(tuple(box) in wanted for box in ours.values["boxes"])


def same_descriptors(ours: Any, plain: Any) -> None:
    np.testing.assert_allclose(ours.values["descriptor"], plain.reshape(-1), atol=1e-6)


def same_areas(ours: Any, plain: list[float]) -> None:
    assert ours.values["count"] == len(plain) > 0
    assert ours.values["areas"] == sorted(plain, reverse=True)[: len(ours.values["areas"])]


def same_components(ours: Any, plain: Any) -> None:
    same_areas(ours, plain[1:, cv2.CC_STAT_AREA].tolist())


def same_counts(ours: Any, plain: list[Any]) -> None:
    assert ours.counts == [row.reshape(-1).astype(int).tolist() for row in plain]


def same_statistics(ours: Any, plain: Any) -> None:
    mean, deviation, ends = plain
    count = np.array(ours.count, np.float64)
    np.testing.assert_allclose(ours.total / count, mean.reshape(-1))
    np.testing.assert_allclose(np.sqrt(ours.squares / count - (ours.total / count) ** 2), deviation.reshape(-1))
    assert list(zip(ours.low, ours.high, strict=True)) == ends


def same_patterns(ours: Any, plain: Any) -> None:
    # scikit-image rounds by place, so ties of equal neighbours fall on either side.
    apart = np.abs(np.array(ours.counts[0]) - plain).sum() / plain.sum()
    assert apart < 0.05


def same_textures(ours: Any, plain: Any) -> None:
    for name, wanted in zip(("contrast", "homogeneity", "energy", "correlation"), plain, strict=True):
        same_figure(name, ours, wanted)


def same_moments(ours: Any, plain: dict[str, float]) -> None:
    names = ("m00", "m10", "m01", "m20", "m11", "m02", "m30", "m21", "m12", "m03")
    np.testing.assert_allclose(ours.values["raw"], [plain[name] for name in names], rtol=1e-12)


def same_distributions(ours: Any, plain: Any) -> None:
    for name, wanted in zip(("mean", "std", "skewness", "kurtosis"), np.array(plain).T, strict=True):
        same_figure(name, ours, wanted)


def same_codes(ours: Any, plain: Any) -> None:
    assert box_labels(ours) == list(plain) == [CODE]


def same_places(ours: Any, plain: Any) -> None:
    found = xy_of(unpack_boxes(ours)[0][:, :2])
    assert (TEMPLATE.x, TEMPLATE.y) in found
    assert found <= xy_of(plain)


MEASURED: dict[str, Same] = {
    "otsu": partial(same_figure, "level"),
    "canny": lambda ours, plain: np.testing.assert_array_equal(unpack(ours, plain.shape[1]), plain),
    "noise_estimate": same_noise,
    "dct": same_energies,
    "wavelet": same_bands,
    "hough_lines": same_segments,
    "hough_lines_standard": same_lines,
    "hough_circles": same_circles,
    "harris": partial(same_points, 0.99),
    "fast": partial(same_points, 1),
    "shi_tomasi": partial(same_points, 0.99),
    "mser": same_regions,
    "orb": partial(same_points, 1),
    "sift": partial(same_points, 1),
    "akaze": partial(same_points, 1),
    "brisk": partial(same_points, 1),
    "hog": same_descriptors,
    "contours": same_areas,
    "gray_histogram": same_counts,
    "color_histogram": same_counts,
    "statistics": same_statistics,
    "lbp": same_patterns,
    "glcm": same_textures,
    "moments": same_moments,
    "color_moments": same_distributions,
    "connected_components": same_components,
    "grabcut": partial(same_figure, "share"),
    "faces": same_boxes,
    "eyes": same_boxes,
    "people": same_boxes,
    "qr_codes": same_codes,
    "template_match": same_places,
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_call_gives_what_the_operator_gives_on_the_whole_frame(
    name: str, frames: list[Pixels], tmp_path: Path
) -> None:
    operator = BUILT_IN[name]
    given = example_values(tmp_path, frames[0]).get(name, {})
    shown = {"qr_codes": [with_code(frames[0])], "people": standing()}.get(name, frames)
    sides = sides_of(operator, {**operator.defaults(), **given}, shown)
    assert sides.plain is not None
    ours, plain = sides.whole(), sides.plain()
    if operator.kind == "transform":
        assert ours.dtype == plain.dtype
        # cv2.magnitude is not rounded correctly: its last bit may be another one.
        np.testing.assert_allclose(ours, plain, rtol=3e-7 if ours.dtype == np.float32 else 0)
    else:
        MEASURED[name](ours, plain)


def test_every_operator_on_pixels_has_a_plain_call_or_a_reason() -> None:
    def named() -> Iterator[str]:
        for row in BUILT_IN.values():
            needs_file = any(one.required for one in row.parameters) and row.name not in PLAIN
            if not PIXEL_KINDS.isdisjoint(row.accepts) and not needs_file:
                yield row.name

    assert set(named()) == set(PLAIN) | set(NO_PLAIN)
    assert not set(PLAIN) & set(NO_PLAIN)


def test_only_these_exact_operators_of_tiles_are_measured_alone() -> None:
    alone = {name for name in NO_PLAIN if BUILT_IN[name].scope == "tile" and BUILT_IN[name].exact == "exact"}
    assert alone == NO_CALL_FOR_TILES
