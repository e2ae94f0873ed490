from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamproc.errors import BadPixels
from streamproc.model import Pixels
from streamproc.operators.embedding import DIMENSIONS, FACE_DIMENSIONS, embed, embed_face
from tests.operators.pictures import KINDS, SIDES, plane
from tests.retrieval.material import CHANGES, crops, grey, photograph


@settings(max_examples=60)
@given(width=SIDES, height=SIDES, kind=st.sampled_from(KINDS), colour=st.booleans(), seed=st.integers(0, 2**20))
def test_every_picture_has_a_vector_of_length_one_and_always_the_same(
    width: int, height: int, kind: str, colour: bool, seed: int
) -> None:
    picture = plane(width, height, kind, seed)
    if colour:
        picture = np.stack([picture, picture[::-1], picture[:, ::-1]], axis=2)
    before = picture.copy()
    for make, length in ((embed, DIMENSIONS), (embed_face, FACE_DIMENSIONS)):
        vector = make(picture)
        assert vector.shape == (length,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(vector, make(picture.copy()))
        assert np.array_equal(picture, before)


@pytest.fixture(scope="module")
def known() -> tuple[list[Pixels], NDArray[np.float32]]:
    """Pictures and their vectors."""
    pictures = crops(600, seed=5)
    return pictures, np.array([embed(one) for one in pictures])


@pytest.mark.parametrize("change", CHANGES)
def test_of_600_pictures_a_changed_one_is_most_like_its_origin(
    change: str, known: tuple[list[Pixels], NDArray[np.float32]]
) -> None:
    originals, theirs = known
    asked = range(0, 600, 5)
    best = [int((theirs @ embed(CHANGES[change](originals[at]))).argmax()) for at in asked]
    right = np.mean([at == there for at, there in zip(asked, best, strict=True)])
    assert right >= 0.98  # measured 1.0


def test_colour_and_grey_of_one_scene_are_alike_and_two_scenes_are_not() -> None:
    coffee, cat = photograph("coffee"), photograph("chelsea")
    assert embed(coffee) @ embed(grey(coffee)) > 0.9
    assert embed(coffee) @ embed(cat) < 0.6


def test_a_picture_moved_by_a_tenth_is_less_alike_than_one_moved_a_little() -> None:
    whole = photograph("astronaut")
    here, near, far = (embed(whole[at : at + 400, at : at + 400]) for at in (0, 10, 40))
    assert here @ near > 0.85
    assert here @ far < 0.75


def test_flat_pictures_are_all_alike() -> None:
    black, white = (embed(np.full((40, 30), level, np.uint8)) for level in (0, 255))
    assert black @ white == pytest.approx(1, abs=1e-5)


def test_patterns_are_told_uniform_as_scikit_image_tells_them() -> None:
    from skimage.feature import local_binary_pattern

    from streamproc.operators import embedding

    # Each pattern alone: the middle at 128, the eight beside it brighter or darker.
    for number in range(256):
        bits = [number >> bit & 1 for bit in range(8)]
        square = np.full((3, 3), 128, np.uint8)
        for (down, across), bit in zip(embedding._AROUND, bits, strict=True):
            square[1 + down, 1 + across] = 200 if bit else 50
        uniform = local_binary_pattern(square, 8, 1, "nri_uniform")[1, 1]  # type: ignore[no-untyped-call]  # no types
        assert (embedding._UNIFORM[number] == 58) == (uniform == 58)
    assert len(set(embedding._UNIFORM.tolist())) == embedding.LBP_PATTERNS


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 3, 4), np.uint8), np.zeros((3, 3)), np.zeros((0, 3), np.uint8), np.zeros(3, np.uint8)],
    ids=str,
)
def test_what_is_no_picture_is_refused(wrong: NDArray[np.generic]) -> None:
    for make in (embed, embed_face):
        with pytest.raises(BadPixels):
            make(wrong)  # type: ignore[arg-type]  # on purpose
