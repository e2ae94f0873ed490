"""The pictures of `docs/concepts.md` show what the code does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.docs.pictures import FOLDER, PICTURES, WRONG, encoded, seams


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_what_the_code_gives(name: str) -> None:
    path = FOLDER / f"{name}{PICTURES[name][1]}"
    kept, made = (cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in (path.read_bytes(), encoded(name)))
    assert kept is not None
    assert made is not None
    assert kept.shape == made.shape
    off = np.abs(kept.astype(np.int16) - made).mean()
    assert off < 2, (
        "draw it anew: python -m tests.docs.pictures"
    )  # other releases of libraries encode and draw otherwise


def test_seams_without_care_are_wrong_and_ours_are_not() -> None:
    picture = seams()
    third = picture.shape[1] // 3
    red = (picture == WRONG).all(axis=2)
    assert red[:, third : 2 * third].sum() > 500
    assert red[:, :third].sum() == red[:, 2 * third :].sum() == 0
