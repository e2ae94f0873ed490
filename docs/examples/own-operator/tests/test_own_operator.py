"""What the operators compute, and that they keep what streamproc asks of every operator."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from streamproc.contract import check, failures
from streamproc.model import Grid
from streamproc.operators.table import Operator
from streamproc.operators.tiling import split

from own_operator import ROWS, posterize, sharpness, sharpness_of


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_promises_of_every_operator_are_kept(row: Operator) -> None:
    assert not failures(check(row))


def test_two_levels_are_dark_and_bright() -> None:
    pixels = np.array([[0, 127, 128, 255]], np.uint8)
    assert posterize(pixels, {"levels": 2}).tolist() == [[64, 64, 192, 192]]


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 50), np.uint8)
    (window,) = split(picture, Grid(1, 1), 0)
    found = sharpness_of(sharpness(window, {}), {})
    assert found.values["sharpness"] == pytest.approx(cv2.Laplacian(picture, cv2.CV_64F).var(), rel=1e-6)
