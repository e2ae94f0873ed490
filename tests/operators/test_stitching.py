from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from streamproc.errors import BadPixels, UsageError
from streamproc.model import Pixels, Rect
from streamproc.operators.pixels import gray
from streamproc.operators.stitching import Panorama, stitch
from tests.operators.pictures import astronaut


def crop(picture: Pixels, rect: Rect) -> Pixels:
    return np.ascontiguousarray(picture[rect.y : rect.bottom, rect.x : rect.right])


def difference(found: Pixels, expected: Pixels) -> NDArray[np.int64]:
    height, width = (min(first, second) for first, second in zip(found.shape[:2], expected.shape[:2], strict=True))
    return np.asarray(np.abs(found[:height, :width].astype(np.int64) - expected[:height, :width]), np.int64)


@pytest.mark.parametrize("shared", [0.3, 0.4, 0.6])
def test_two_crops_of_a_photograph_become_the_photograph(shared: float) -> None:
    picture = astronaut()
    width = round(512 / (2 - shared))
    left, right = Rect(0, 0, width, 512), Rect(512 - width, 0, width, 512)
    found = stitch([crop(picture, left), crop(picture, right)])
    assert np.allclose(found.pixels.shape, picture.shape, atol=1)
    off = difference(found.pixels, picture)
    assert off.mean() < 0.5
    assert np.percentile(off, 99.5) < 12
    seam = off[:, 512 - width : width]
    assert seam.mean() < 1
    shift = found.homographies[1] @ np.linalg.inv(found.homographies[0])
    assert np.allclose(shift / shift[2, 2], [[1, 0, 512 - width], [0, 1, 0], [0, 0, 1]], atol=0.5)


def test_four_cameras_in_any_order_are_placed_where_they_look() -> None:
    picture = astronaut()
    rects = [Rect(212, 212, 300, 300), Rect(0, 0, 300, 300), Rect(212, 0, 300, 300), Rect(0, 212, 300, 300)]
    found = stitch([crop(picture, rect) for rect in rects])
    assert np.allclose(found.pixels.shape, picture.shape, atol=1)
    for place, rect in zip(found.places, rects, strict=True):
        assert (place.x, place.y, place.right, place.bottom) == pytest.approx(
            (rect.x, rect.y, rect.right, rect.bottom), abs=1
        )
    assert difference(found.pixels, picture).mean() < 0.7
    assert len(found.joints) == 3
    assert all(count >= 20 for _, _, count in found.joints)


def test_a_camera_that_looks_from_aside_is_straightened() -> None:
    picture = astronaut()
    tilt = np.array([[1.02, 0.06, -20], [-0.05, 1.03, 12], [1e-4, -5e-5, 1]])
    seen = np.asarray(
        cv2.warpPerspective(picture, tilt @ np.array([[1, 0, -180], [0, 1, -90], [0, 0, 1.0]]), (300, 300))
    )
    left = crop(picture, Rect(0, 0, 340, 512))
    found = stitch([left, np.asarray(seen, np.uint8)])
    # The first frame is the larger one but both have the same matches: places are told against it.
    back = np.linalg.inv(found.homographies[0]) @ found.homographies[1]
    expected = np.linalg.inv(tilt @ np.array([[1, 0, -180], [0, 1, -90], [0, 0, 1.0]]))
    for corner in ((20, 20), (280, 20), (280, 280), (20, 280)):
        here, there = (matrix @ np.array([*corner, 1]) for matrix in (back, expected))
        assert np.allclose(here[:2] / here[2], there[:2] / there[2], atol=2)


def test_grey_and_colour_frames_are_joined_in_colour_and_grey_ones_in_grey() -> None:
    picture = astronaut()
    left, right = crop(picture, Rect(0, 0, 320, 512)), crop(picture, Rect(192, 0, 320, 512))
    mixed, plain = stitch([left, gray(right)]), stitch([gray(left), gray(right)])
    assert mixed.pixels.ndim == 3
    assert plain.pixels.ndim == 2
    assert np.allclose(mixed.pixels[:, -40:], gray(picture)[:, -40:, None], atol=40)
    assert difference(plain.pixels, gray(picture)).mean() < 0.5


def test_frames_of_other_brightness_fade_into_each_other() -> None:
    picture = gray(astronaut()) // 2
    left, right = crop(picture, Rect(0, 0, 320, 512)), crop(picture, Rect(192, 0, 320, 512)) + 40
    found = stitch([left, right])
    brighter = (found.pixels[:, :510].astype(float) - picture[:, :510]).mean(axis=0)
    assert np.allclose(brighter[:190], 0, atol=1)
    assert np.allclose(brighter[-180:], 40, atol=1)
    assert np.abs(np.diff(brighter)).max() < 2


def test_what_no_frame_shows_is_black() -> None:
    picture = astronaut()
    found = stitch([crop(picture, Rect(0, 0, 330, 330)), crop(picture, Rect(150, 150, 330, 330))])
    assert not found.pixels[:100, -100:].any()
    assert not found.pixels[-100:, :100].any()
    assert difference(found.pixels[:140, :140], picture[:140, :140]).mean() < 0.5


def test_the_same_frames_give_the_same_panorama_in_any_thread() -> None:
    picture = astronaut()
    frames = [crop(picture, Rect(0, 0, 310, 400)), crop(picture, Rect(190, 40, 310, 400))]
    first = stitch(frames)
    others: list[Panorama] = []
    threads = [threading.Thread(target=lambda: others.append(stitch(frames))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(others) == 3
    assert all(np.array_equal(first.pixels, other.pixels) for other in others)
    assert all(other.joints == first.joints for other in others)


def test_frames_without_a_common_view_are_named() -> None:
    picture = astronaut()
    other = np.ascontiguousarray(skimage.data.chelsea()[:, :, ::-1])  # type: ignore[no-untyped-call]  # no types there
    frames = [crop(picture, Rect(0, 0, 320, 512)), crop(picture, Rect(192, 0, 320, 512)), other]
    with pytest.raises(UsageError, match=r"frame 2 \(counted from 0\) overlaps too little .* 20 are needed"):
        stitch(frames)


@pytest.mark.parametrize("size", [(1, 1), (40, 40), (3, 200)], ids=str)
def test_frames_with_nothing_to_see_are_named(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="overlaps too little with the others: at most 0 points"):
        stitch([np.full(size, 90, np.uint8)] * 2)


@pytest.mark.parametrize("count", [0, 1, 17])
def test_one_frame_or_too_many_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"stitching takes 2 to 16 frames, got {count}"):
        stitch([np.zeros((8, 8), np.uint8)] * count)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(BadPixels, match="expected"):
        stitch([np.zeros((8, 8), np.float32)] * 2)
