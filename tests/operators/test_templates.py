from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadPixels, PipelineError
from streamproc.model import Boxes, Grid, Pixels
from streamproc.operators.boxes import box_labels, merged_boxes, unpack_boxes
from streamproc.operators.loaded import MOST_LOADED, Loaded
from streamproc.operators.pixels import gray
from streamproc.operators.table import Params
from streamproc.operators.templates import METHODS, ROWS, best_matches, template_halo, template_match, variants
from streamproc.operators.tiling import split
from tests.operators.pictures import Cut, astronaut, cuts

(ROW,) = ROWS
GRIDS = [Grid(1, 1), Grid(2, 2), Grid(3, 3), Grid(2, 4)]


def params(path: Path, **changes: object) -> Params:
    return {**ROW.defaults(), "templates": str(path), **changes}


def stored(path: Path, picture: Pixels) -> Path:
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return path


def found_in(picture: Pixels, grid: Grid, given_params: Params, extra_halo: int = 0) -> Boxes:
    windows = split(picture, grid, template_halo(given_params) + extra_halo)
    return best_matches(merged_boxes([template_match(window, given_params) for window in windows]), given_params)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Templates small enough for pictures of any size: a corner, and noise."""
    folder = tmp_path_factory.mktemp("small")
    stored(folder / "corner.png", np.array([[0] * 7] * 3 + [[0, 0, 0, 255, 255, 255, 255]] * 4, np.uint8))
    stored(folder / "noise.png", np.random.default_rng(3).integers(0, 256, (5, 8), np.uint8))
    return folder


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("method", METHODS)
@given(case=cuts(), angle=st.sampled_from([0.0, 30.0]), threshold=st.sampled_from([0.2, 0.5, 0.8]))
def test_tiles_find_what_the_whole_frame_has_for_each_method(
    small: Path, method: str, case: Cut, angle: float, threshold: float
) -> None:
    wanted = params(small, method=method, angle_high=angle, angle_steps=2, threshold=threshold)
    assert found_in(case.pixels, case.grid, wanted, case.extra_halo) == found_in(case.pixels, Grid(1, 1), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_opencv_s(tmp_path: Path, method: str) -> None:
    picture = gray(astronaut())
    nose = stored(tmp_path / "nose.png", picture[100:150, 200:240])
    wanted = params(nose, method=method, threshold=0.6)
    corners, scores = unpack_boxes(template_match(split(picture, Grid(1, 1), 0)[0], wanted))
    whole = cv2.matchTemplate(picture, picture[100:150, 200:240], getattr(cv2, method))
    oracle = 1 - whole if method == "TM_SQDIFF_NORMED" else whole
    assert scores.size > 0
    places = corners[:, :2].astype(int)
    assert np.abs(oracle[places[:, 1], places[:, 0]] - scores).max() < 1e-4
    best = np.unravel_index(oracle.argmax(), oracle.shape)
    assert corners[0].tolist() == [best[1], best[0], best[1] + 40, best[0] + 50] == [200, 100, 240, 150]
    assert scores[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_each_template_of_a_folder_is_found_once_under_its_name(tmp_path: Path, grid: Grid) -> None:
    picture = gray(astronaut())
    stored(tmp_path / "face.png", picture[64:160, 176:272])  # lies on the seams of each grid
    stored(tmp_path / "badge.png", picture[430:480, 240:300])
    (tmp_path / "notes.txt").write_text("no template")
    found = found_in(picture, grid, params(tmp_path, threshold=0.9))
    corners, _ = unpack_boxes(found)
    told = {label: tuple(box) for label, box in zip(box_labels(found), corners.tolist(), strict=True)}
    assert told == {"face": (176, 64, 272, 160), "badge": (240, 430, 300, 480)}


def test_a_template_is_found_turned_and_enlarged(tmp_path: Path) -> None:
    picture = gray(astronaut())
    face = stored(tmp_path / "face.png", picture[64:160, 176:272])
    turn = cv2.getRotationMatrix2D((256, 256), 20, 1.25)
    turned = np.asarray(cv2.warpAffine(picture, turn, (512, 512)), np.uint8)
    assert found_in(turned, Grid(1, 1), params(face, threshold=0.8)).score == b""
    wanted = params(face, scale_low=1.0, scale_high=1.5, scale_steps=3, angle_low=-20.0, angle_high=20.0, angle_steps=3)
    for grid in GRIDS:
        ((left, top, right, bottom),) = unpack_boxes(found_in(turned, grid, wanted))[0].tolist()
        centre = turn @ (224, 112, 1)
        assert np.abs(np.array([(left + right) / 2, (top + bottom) / 2]) - centre).max() < 2


def test_quarter_turns_need_no_mask(tmp_path: Path) -> None:
    picture = gray(astronaut())
    face = stored(tmp_path / "face.png", picture[60:150, 176:272])
    for angle, turned in ((90.0, np.rot90(picture)), (-90.0, np.rot90(picture, -1))):
        wanted = params(face, angle_low=angle, angle_high=angle)
        assert all(template.mask is None for template in variants(wanted))
        (score,) = unpack_boxes(found_in(np.ascontiguousarray(turned), Grid(2, 2), wanted))[1]
        assert score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_flat_picture_is_no_flood_of_matches(small: Path, method: str) -> None:
    for level in (0, 200):
        flat = np.full((90, 120), level, np.uint8)
        assert len(found_in(flat, Grid(2, 2), params(small, method=method, threshold=0.2)).score) < 4 * 100


def test_the_halo_is_half_of_the_largest_template_and_the_place_beside(tmp_path: Path, small: Path) -> None:
    assert template_halo(params(small)) == 4 + 1
    assert template_halo(params(small, scale_low=2.0, scale_high=2.0)) == 8 + 1
    assert template_halo(ROW.defaults()) == 0
    assert template_halo(params(stored(tmp_path / "t.png", gray(astronaut())[:21, :20]))) == 11 + 1


def test_a_template_larger_than_the_picture_is_nowhere(small: Path) -> None:
    for size in ((1, 1), (3, 300), (300, 4)):
        assert found_in(np.zeros(size, np.uint8), Grid(1, 1), params(small)).xyxy == b""


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    picture = gray(astronaut())
    path = stored(tmp_path / "t.png", picture[:20, :20])
    assert template_halo(params(path)) == 11
    stored(path, picture[:40, :44])
    assert template_halo(params(path)) == 23


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty; copy the picture"),
        (b"GIF89a", "is no picture"),
        (cv2.imencode(".png", np.full((9, 9), 3, np.uint8))[1].tobytes(), "all its pixels are the same"),
        (cv2.imencode(".png", np.eye(1100, dtype=np.uint8))[1].tobytes(), "at most 1024 pixels"),
        (cv2.imencode(".png", np.eye(3, dtype=np.uint8))[1].tobytes(), "3x3 pixels at 1, 4 to 1024"),
    ],
)
def test_unusable_templates_are_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=words) as caught:
        template_halo(params(path))
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_empty_folders_and_too_many_variants_are_refused(tmp_path: Path, small: Path) -> None:
    with pytest.raises(PipelineError, match="1 to 64 pictures"):
        template_halo(params(tmp_path))
    with pytest.raises(PipelineError, match="cannot be read"):
        template_halo(params(tmp_path / "none.png"))
    with pytest.raises(PipelineError, match="more than 1024"):
        template_halo(params(small, scale_steps=32, angle_steps=72))


def test_colour_and_floats_are_refused(small: Path) -> None:
    for picture in (astronaut(), np.zeros((9, 9), np.float32)):
        with pytest.raises(BadPixels, match="expected"):
            template_match(split(picture, Grid(1, 1), 0)[0], params(small))


def test_a_file_is_made_once_for_all_threads_and_few_are_kept(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(MOST_LOADED + 1)]
    for file in files:
        file.write_text("x")
    made: list[str] = []

    def make(path: Path) -> str:
        made.append(path.name)
        time.sleep(0.05)
        return path.name

    loaded = Loaded(make)
    threads = [threading.Thread(target=loaded.get, args=(str(files[0]),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert made == ["0"]
    for file in [*files, files[-1], files[0]]:
        assert loaded.get(str(file)) == file.name
    assert made == [*(file.name for file in files), "0"]
