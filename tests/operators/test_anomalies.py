from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import jsonschema
import msgspec
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.errors import BadMessage, BadPixels
from streamproc.model import Figures, Grid, Occurrence, Pixels, Rect, Vitals
from streamproc.operators import vitals as measure
from streamproc.operators.anomalies import ROWS, anomalies
from streamproc.operators.table import Memory, Scene, Sighting, Window
from streamproc.operators.tiling import split
from streamproc.operators.views import LEAST_ANGLE, is_hidden, likeness, locate, slight_move
from streamproc.operators.vitals import HALO_PX, cells_of, edges_of, merge_vitals, spread, summary, vitals
from tests.operators.pictures import Cut, cuts, plane

DEFAULTS = ROWS[0].defaults()
FPS = 10
WIDTH, HEIGHT = 320, 192
FAULT_AT = 60  # frames; 6 s
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "anomaly.v1.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)

Fault: TypeAlias = Callable[[Pixels], Pixels]


# --- vitals: tiles against the whole frame --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(cuts(), st.integers(0, 100))
def test_merged_tiles_have_the_vitals_of_the_whole_frame(case: Cut, order: int) -> None:
    picture = case.pixels
    parts = [vitals(window, {}) for window in split(picture, case.grid, HALO_PX + case.extra_halo)]
    random.Random(order).shuffle(parts)
    merged = merge_vitals(parts)
    assert merged == merge_vitals([whole(picture)])
    assert merge_vitals([merge_vitals(parts[:1]), *parts[1:]]) == merged
    exact = picture.astype(np.int64)
    assert (merged.pixels, merged.total, merged.squares) == (exact.size, exact.sum(), (exact**2).sum())
    assert merged.bright == (exact >= 250).sum()
    assert merged.laplacian == detail(picture)
    across, down = (edges_of(*side) for side in ((case.width, merged.columns), (case.height, merged.rows)))
    oracle = [
        [int(exact[top:bottom, left:right].sum()) for left, right in itertools.pairwise(across)]
        for top, bottom in itertools.pairwise(down)
    ]
    assert cells_of(merged).tolist() == oracle


def detail(picture: Pixels) -> int:
    """Sum of squares of the Laplacian of the smoothed picture, in whole numbers, borders as OpenCV has them."""

    def bordered(values: Any) -> Any:
        rows, columns = (
            np.pad(np.arange(side), 1, mode="reflect") if side > 1 else np.zeros(3, int) for side in values.shape
        )
        return values[np.ix_(rows, columns)]

    wide = bordered(picture.astype(np.int64))
    rows = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    smooth = bordered(rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:])
    middle = smooth[1:-1, 1:-1]
    around = smooth[:-2, 1:-1] + smooth[2:, 1:-1] + smooth[1:-1, :-2] + smooth[1:-1, 2:]
    return int(((around - 4 * middle) ** 2).sum())


def whole(picture: Pixels) -> Vitals:
    (window,) = split(picture, Grid(1, 1), 0)
    return vitals(window, {})


def test_one_pixel_of_halo_less_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "HALO_PX", HALO_PX - 1)
    picture = plane(64, 64, "noise", 1)
    merged = merge_vitals([vitals(window, {}) for window in split(picture, Grid(2, 2), HALO_PX - 1)])
    assert merged.laplacian != whole(picture).laplacian


@settings(max_examples=60, deadline=None)
@given(cuts(), st.data())
def test_a_single_pixel_that_changes_changes_the_digest(case: Cut, data: st.DataObject) -> None:
    first = case.pixels
    second = first.copy()
    y, x = data.draw(st.integers(0, case.height - 1)), data.draw(st.integers(0, case.width - 1))
    second[y, x] ^= np.uint8(1 << data.draw(st.integers(0, 7)))
    assert whole(first).digest != whole(second).digest
    assert whole(first).digest == whole(first.copy()).digest


def test_pixels_that_change_places_change_the_digest() -> None:
    picture = plane(100, 80, "noise", 3)
    seen = {whole(other).digest for other in (picture, picture[::-1].copy(), picture[:, ::-1].copy())}
    seen |= {whole(np.roll(picture, by, axis)).digest for by in (1, 16) for axis in (0, 1)}
    assert len(seen) == 7


def test_what_events_say_of_vitals() -> None:
    picture = plane(97, 61, "smooth noise", 5)
    told = summary(whole(picture))
    assert told["mean"] == pytest.approx(picture.mean(), abs=1e-4)
    assert told["std"] == pytest.approx(picture.std(), abs=1e-4)
    assert told["laplacian"] == pytest.approx(detail(picture) / 256 / picture.size, abs=1e-4)
    assert spread(whole(np.full((5, 5), 9, np.uint8))) == 0
    json.dumps(told)


def test_vitals_of_other_frames_or_broken_ones_are_refused() -> None:
    first = whole(plane(64, 64, "noise", 1))
    for other in (
        whole(plane(64, 32, "noise", 1)),
        msgspec.structs.replace(first, cells=first.cells[:-4]),
        msgspec.structs.replace(first, area=Rect(1, 0, first.columns, first.rows)),
    ):
        with pytest.raises(BadMessage, match="do not fit"):
            merge_vitals([first, other])


def test_arrays_that_are_no_grey_pictures_are_refused() -> None:
    rect = Rect(0, 0, 4, 4)
    for pixels in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)):
        with pytest.raises(BadPixels, match="expected"):
            vitals(Window(pixels=pixels, rect=rect, core=rect, width=4, height=4), {})


# --- views ----------------------------------------------------------------------------------------------------


def cells(picture: Pixels) -> Any:
    found = whole(picture)
    return cells_of(found) / np.outer(*(np.diff(edges_of(*s)) for s in ((HEIGHT, found.rows), (WIDTH, found.columns))))


def turned(picture: Pixels, angle: float, zoom: float = 1.0) -> Pixels:
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), angle, zoom)
    return np.asarray(cv2.warpAffine(picture, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT), np.uint8)


def shifted(picture: Pixels, x: float, y: float) -> Pixels:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT), np.uint8)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
@pytest.mark.parametrize("zoom", [1.0, 1.1])
@pytest.mark.parametrize("angle", [-20, -8, -3, 3, 5, 12])
def test_a_turn_is_found_to_a_degree_or_two_zoomed_or_not(name: str, zoom: float, angle: int) -> None:
    picture = photo(name)
    found = locate(cells(picture), cells(turned(picture, angle, zoom)))
    assert found is not None
    assert abs(found.angle - angle) <= 1.5
    assert abs(found.zoom - zoom) <= 0.05
    assert np.hypot(found.x, found.y) <= 1


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea"])
def test_a_shift_is_found_to_a_cell_and_what_stays_has_not_moved(name: str) -> None:
    picture = photo(name)
    usual = cells(picture)
    found = locate(usual, cells(shifted(picture, 40, -20)))
    assert found is not None
    assert abs(found.angle) < LEAST_ANGLE
    assert np.abs(np.array([found.x, found.y]) * WIDTH / 48 - (40, -20)).max() <= WIDTH / 48
    stays = locate(usual, usual)
    assert stays is not None
    assert not stays.counts
    assert slight_move(usual, usual, 1.0) is None


@pytest.mark.parametrize("name", ["brick", "gravel"])
def test_a_turn_of_a_pattern_too_fine_to_refine_is_found_to_a_step(name: str) -> None:
    picture = pattern(name)
    found = locate(cells(picture), cells(noisy(turned(picture, 12), 1)))
    assert found is not None
    assert abs(found.angle - 12) <= 2


@pytest.mark.parametrize("strange", [np.zeros((27, 48)), np.full((5, 5), 7.0), np.full((1, 1), 7.0)])
def test_a_view_that_is_not_there_is_not_found(strange: Any) -> None:
    assert locate(strange, strange) is None
    assert slight_move(strange, strange, 0.2) is None
    assert locate(cells(photo("astronaut")), cells(plane(WIDTH, HEIGHT, "noise", 2))) is None


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["astronaut", "coffee", "chelsea", "rocket"]), st.integers(0, 10**6), st.floats(0.6, 1.3))
def test_people_who_stand_before_a_view_are_no_move(name: str, seed: int, light: float) -> None:
    usual = cells(photo(name))
    now = cells(noisy(crowd(np.asarray(np.clip(photo(name) * light, 0, 255), np.uint8), seed), seed))
    assert slight_move(usual, now, likeness(usual, now) or 0.0) is None


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_a_view_is_hidden_where_a_part_stays_and_not_where_all_has_moved_or_gone(name: str) -> None:
    picture = photo(name)
    usual = cells(noisy(picture, 0))
    for place in (np.s_[:, : round(0.7 * WIDTH)], np.s_[:, round(0.3 * WIDTH) :], np.s_[round(0.3 * HEIGHT) :]):
        assert is_hidden(usual, cells(noisy(board(picture, place), 1)))
    others = [pattern("brick"), pattern("grass"), hand(picture), photo("rocket" if name != "rocket" else "coffee")]
    moves = [turned(picture, angle) for angle in (4, 8, 16, 30, 40)] + [
        shifted(picture, x, x / 3) for x in (10, 40, 80)
    ]
    for other in (*others, *moves):
        assert not is_hidden(usual, cells(noisy(other, 1)))


def crowd(picture: Pixels, seed: int) -> Pixels:
    """Six people, each a twelfth of the width and a third of the height, in clothes of any grey."""
    places, picture = random.Random(seed), picture.copy()
    for _ in range(6):
        left, top = places.randrange(WIDTH - WIDTH // 12), places.randrange(HEIGHT - HEIGHT // 3)
        picture[top : top + HEIGHT // 3, left : left + WIDTH // 12] = places.randrange(10, 230)
    return picture


def test_likeness_is_that_of_most_parts_and_does_not_see_the_light() -> None:
    picture = photo("astronaut")
    usual = cells(picture)
    assert likeness(usual, usual) == pytest.approx(1)
    assert likeness(usual, cells(picture // 2 + 40)) > 0.95  # type: ignore[operator]  # there is structure
    half = picture.copy()
    half[:, : WIDTH // 3] = photo("coffee")[:, : WIDTH // 3]
    assert likeness(usual, cells(half)) > 0.7  # type: ignore[operator]
    assert likeness(usual, cells(photo("coffee"))) < 0.3  # type: ignore[operator]
    assert likeness(np.full_like(usual, 80.0), usual) is None
    assert likeness(np.zeros((1, 1)), np.zeros((1, 1))) is None


# --- anomalies ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def photo(name: str) -> Pixels:
    picture = getattr(skimage.data, name)()
    return np.asarray(cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (WIDTH, HEIGHT)), np.uint8)


def noisy(picture: Pixels, seed: int) -> Pixels:
    return np.asarray(np.clip(picture.astype(np.int16) + noise()[seed % len(noise())], 0, 255), np.uint8)


@lru_cache(maxsize=1)
def noise() -> list[Any]:
    """Of a camera: a standard deviation of 1.5 grey levels; a prime number of frames."""
    return list(np.rint(np.random.default_rng(1).normal(0, 1.5, (11, HEIGHT, WIDTH))).astype(np.int16))


@lru_cache(maxsize=4)
def street(name: str) -> list[Pixels]:
    """A camera that looks at a photograph, with noise, swaying light, and a dark thing a fifth wide passing by."""
    pictures = []
    for number in range(240):
        picture = np.asarray(photo(name) * (0.95 + 0.05 * np.sin(number / 9)), np.uint8)
        left = 7 * number % (2 * WIDTH)
        picture[HEIGHT // 3 :, left : left + WIDTH // 5] = 35
        pictures.append(noisy(picture, number))
    return pictures


def scene(sequence: int, found: Vitals | None, captured_ns: int | None = None) -> Scene:
    captured = 10**18 + sequence * 10**9 // FPS if captured_ns is None else captured_ns
    return Scene(
        window=None,
        found=found,
        camera="gate",
        run="live-1",
        sequence=sequence,
        captured_ns=captured,
        width=WIDTH,
        height=HEIGHT,
    )


def watch(pictures: Sequence[Pixels | None], **params: Any) -> list[Sighting]:
    memory: Memory = {}
    seen = []
    for number, picture in enumerate(pictures):
        found = None if picture is None else whole(picture)
        seen.append(anomalies(scene(number, found), memory, {**DEFAULTS, **params}))
    return seen


def told(seen: Sequence[Sighting]) -> list[tuple[int, str, str]]:
    return [(number, one.what, one.subject) for number, each in enumerate(seen) for one in each.occurrences]


def blurred(picture: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2.5), np.uint8)


def hand(picture: Pixels) -> Pixels:
    """Soft and dim, with some shading: what a hand before the lens looks like."""
    rows, cols = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.asarray(30 + 25 * np.sin(rows / 90) + 20 * np.cos(cols / 120), np.uint8)


def board(picture: Pixels, place: Any) -> Pixels:
    """One grey before most of the view."""
    picture = picture.copy()
    picture[place] = 140
    return picture


def pattern(name: str) -> Pixels:
    return np.asarray(
        cv2.resize(getattr(skimage.data, name)(), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8
    )


FAULTS: dict[str, tuple[str, Fault]] = {
    "dark": ("black", lambda picture: picture // 40),
    "no signal": ("black", np.zeros_like),
    "hand": ("covered", hand),
    "grey": ("covered", lambda picture: np.full_like(picture, 120)),
    "white": ("overexposed", lambda picture: np.full_like(picture, 255)),
    "out of focus": ("blurred", blurred),
    "turned": ("tilted", lambda picture: turned(picture, 16)),
    "turned by little": ("tilted", lambda picture: turned(picture, 4)),
    "turned and zoomed": ("tilted", lambda picture: turned(picture, -7, 1.1)),
    "pushed": ("moved", lambda picture: shifted(picture, 60, 30)),
    "elsewhere": ("changed", lambda _picture: photo("coffee")),
    "cloth": ("changed", lambda _picture: pattern("brick")),
    "board from the left": ("covered", lambda picture: board(picture, np.s_[:, : round(0.7 * WIDTH)])),
    "board from below": ("covered", lambda picture: board(picture, np.s_[round(0.3 * HEIGHT) :])),
}


@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed_within_two_seconds_by_its_name_and_ends(name: str, fault: str) -> None:
    reason, change = FAULTS[fault]
    good = street(name)[: FAULT_AT + 70]
    bad = [noisy(change(picture), number) for number, picture in enumerate(good[FAULT_AT : FAULT_AT + 40])]
    happened = told(watch([*good[:FAULT_AT], *bad, *good[FAULT_AT + 40 :]]))
    assert [(what, subject) for _, what, subject in happened] == [("begin", reason), ("end", reason)]
    (begin, _, _), (end, _, _) = happened
    assert FAULT_AT <= begin <= FAULT_AT + 2 * FPS
    assert FAULT_AT + 40 <= end <= FAULT_AT + 40 + 2 * FPS


@pytest.mark.parametrize("name", ["astronaut", "chelsea"])
def test_a_frozen_picture_is_noticed_within_two_seconds(name: str) -> None:
    good = street(name)[:90]
    seen = watch([*good[:40], *[good[39]] * 30, *good[40:]])
    assert told(seen) == [(54, "begin", "frozen"), (80, "end", "frozen")]
    (begin,) = seen[54].occurrences
    assert begin.data == {
        "measure": "unchanged_s",
        "value": 1.5,
        "usual": None,
        "since_sequence": 39,
        "lasted_s": 1.5,
    }


def test_a_picture_of_which_only_changes_are_sent_is_not_frozen() -> None:
    memory: Memory = {}
    pictures = [*street("chelsea")[:40], *[street("chelsea")[39]] * 60]
    scenes = [
        dataclasses.replace(scene(number, whole(picture)), replenished=True) for number, picture in enumerate(pictures)
    ]
    assert told([anomalies(one, memory, DEFAULTS) for one in scenes]) == []


def test_a_frozen_picture_with_a_clock_that_runs_is_not_noticed() -> None:
    frozen = [street("chelsea")[39].copy() for _ in range(60)]
    for number, picture in enumerate(frozen):
        cv2.putText(picture, f"12:00:{number // FPS:02}.{number % FPS}", (5, 15), cv2.FONT_HERSHEY_PLAIN, 1, 255)
    assert told(watch([*street("chelsea")[:40], *frozen])) == []


@pytest.mark.parametrize(
    ("interval_s", "fault", "frames"), [(1, "frozen", 2), (1, "dark", 1), (2, "frozen", 2), (2, "dark", 1)]
)
def test_a_slow_camera_needs_a_second_frame_of_a_fault_or_a_third_of_a_frozen_one(
    interval_s: int, fault: str, frames: int
) -> None:
    good = street("astronaut")[:20]
    bad = [good[-1]] * 4 if fault == "frozen" else [noisy(picture // 40, n) for n, picture in enumerate(good[:4])]
    memory: Memory = {}
    begun = []
    for number, picture in enumerate([*good, *bad]):
        one = scene(number, whole(picture), 10**18 + number * interval_s * 10**9)
        begun += [number for occurrence in anomalies(one, memory, DEFAULTS).occurrences if occurrence.what == "begin"]
    last_that_differs = 19 if fault == "frozen" else 20
    assert begun == [last_that_differs + frames]


def test_a_crowd_is_no_alarm() -> None:
    pictures = [noisy(crowd(photo("astronaut"), number // 7), number) for number in range(240)]
    assert told(watch(pictures)) == []


def test_a_quiet_night_that_hardly_changes_is_no_frozen_camera() -> None:
    night = np.asarray(photo("astronaut") // 4, np.uint8)
    pictures = [night.copy() for _ in range(120)]
    for number, picture in enumerate(pictures):
        picture[number % HEIGHT, number % WIDTH] += 1 - 2 * (picture[number % HEIGHT, number % WIDTH] > 0)
    assert told(watch(pictures)) == []


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_an_ordinary_camera_gives_no_alarm(name: str) -> None:
    assert told(watch(street(name))) == []


def test_light_that_changes_slowly_or_at_once_is_no_alarm() -> None:
    good = street("astronaut")[:200]
    dimmed = [np.asarray(picture * (1 - 0.6 * min(1, n / 100)), np.uint8) for n, picture in enumerate(good)]
    assert told(watch(dimmed)) == []
    switched = [picture if n < 100 else picture // 2 for n, picture in enumerate(good)]
    assert told(watch(switched)) == []


def test_a_camera_that_is_covered_or_dark_from_the_start_is_told() -> None:
    dark = [noisy(np.full((HEIGHT, WIDTH), 4, np.uint8), number) for number in range(30)]
    assert told(watch(dark)) == [(6, "begin", "black")]
    grey = [noisy(np.full((HEIGHT, WIDTH), 90, np.uint8), number) for number in range(30)]
    assert told(watch(grey)) == [(6, "begin", "covered")]


def test_a_state_that_comes_and_goes_is_told_once() -> None:
    good = street("astronaut")[:160]
    flapping = [blurred(picture) if n >= 60 and n % 8 < 7 else picture for n, picture in enumerate(good[:120])]
    happened = told(watch([*flapping, *good[120:]]))
    assert [(what, subject) for _, what, subject in happened] == [("begin", "blurred"), ("end", "blurred")]
    short = [np.zeros_like(picture) if n % 20 < 4 else picture for n, picture in enumerate(good)]
    assert told(watch(short)) == []


def test_a_new_view_becomes_the_usual_one() -> None:
    first, second = street("astronaut")[:60], street("chelsea")[:200]
    seen = watch([*first, *second], relearn_s=5.0)
    happened = told(seen)
    assert [(what, subject) for _, what, subject in happened] == [("begin", "changed"), ("end", "changed")]
    end = seen[happened[1][0]].occurrences[0]
    assert end.data["relearned"] is True
    assert end.data["lasted_s"] == pytest.approx(5.0, abs=0.2)


def test_what_covers_most_of_the_view_for_long_becomes_usual() -> None:
    good = street("astronaut")[:200]
    hidden = [noisy(board(picture, np.s_[:, : round(0.7 * WIDTH)]), n) for n, picture in enumerate(good[60:])]
    seen = watch([*good[:60], *hidden], relearn_s=5.0)
    assert [(what, subject) for _, what, subject in told(seen)] == [("begin", "covered"), ("end", "covered")]
    (end,) = seen[told(seen)[1][0]].occurrences
    assert end.data["relearned"] is True
    assert end.data["measure"] == "structure"


def test_frames_without_vitals_say_nothing_and_stop_nothing() -> None:
    good = street("astronaut")[:60]
    dark: list[Pixels | None] = [None if n % 2 else np.zeros((HEIGHT, WIDTH), np.uint8) for n in range(20)]
    seen = watch([*good, *dark])
    assert [each.result is None for each in seen[60:64]] == [False, True, False, True]
    assert [(n, subject) for n, what, subject in told(seen) if what == "begin"] == [(66, "black"), (76, "frozen")]


def test_vitals_of_part_of_a_frame_are_left_out() -> None:
    part = vitals(split(street("astronaut")[0], Grid(1, 2), HALO_PX)[0], {})
    memory: Memory = {}
    seen = anomalies(scene(0, part), memory, DEFAULTS)
    assert (seen.result, seen.occurrences) == (None, ())
    assert "view" not in memory


def test_a_frame_of_another_size_begins_anew() -> None:
    memory: Memory = {}
    for number, picture in enumerate(street("astronaut")[:60]):
        seen = anomalies(scene(number, whole(picture)), memory, DEFAULTS)
    assert isinstance(seen.result, Figures)
    assert seen.result.values["learned"] is True
    for number, picture in enumerate(street("chelsea")[:20], start=60):
        small = np.ascontiguousarray(picture[::2, ::2])
        seen = anomalies(sized(scene(number, whole(small)), WIDTH // 2, HEIGHT // 2), memory, DEFAULTS)
        assert isinstance(seen.result, Figures)
        assert seen.result.values["learned"] is False
        assert seen.occurrences == ()


def sized(one: Scene, width: int, height: int) -> Scene:
    return dataclasses.replace(one, width=width, height=height)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 50), (5, 5), (17, 33)])
def test_pictures_of_any_size_have_figures(size: tuple[int, int]) -> None:
    memory: Memory = {}
    for number in range(60):
        picture = plane(*size, "noise", number)
        seen = anomalies(sized(scene(number, whole(picture)), *size), memory, DEFAULTS)
        assert isinstance(seen.result, Figures)
        json.dumps(seen.result.values, allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(20, 70), st.sampled_from(["dark", "hand", "out of focus", "turned"]), st.integers(0, 89), st.booleans()
)
def test_a_camera_s_usual_goes_on_from_its_stored_memory(begin: int, fault: str, cut: int, strange: bool) -> None:
    memory: Memory = {}
    stored: Memory = {}
    for number, found in enumerate(sick(fault)[60 - min(begin, 60) :]):
        if number >= cut:
            stored = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=dict[str, Any])
        at = -number * 10**9 if strange and number % 7 == 0 else 10**18 + number * 10**8
        one = scene(number, None if number % 11 == 5 else found, at)
        first, second = anomalies(one, memory, DEFAULTS), anomalies(one, stored, DEFAULTS)
        assert (first.result, first.occurrences) == (second.result, second.occurrences)
        assert memory == stored
        for each in first.occurrences:
            VALID.validate(event(each))
    assert len(msgspec.msgpack.encode(memory)) < 8000


@lru_cache(maxsize=16)
def sick(fault: str) -> list[Vitals]:
    good = street("chelsea")[:110]
    bad = [noisy(FAULTS[fault][1](picture), 1) for picture in good[60:85]]
    return [whole(picture) for picture in [*good[:60], *bad, *good[85:]]]


def test_events_fit_their_schema_and_others_do_not() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = street("astronaut")[:60]
    seen = watch([*good, *[turned(picture, 16) for picture in good[:20]]])
    (begin,) = [one for each in seen for one in each.occurrences]
    VALID.validate(event(begin))
    assert abs(begin.data["angle"] - 16) <= 1
    assert not VALID.is_valid(event(begin) | {"subject": "asleep"})
    elsewhere = [photo("coffee")] * 10
    (other,) = [one for each in watch([*good, *elsewhere]) for one in each.occurrences]
    assert other.subject == "changed"
    VALID.validate(event(other))


def test_the_digest_is_that_of_today() -> None:
    # It is compared from frame to frame, perhaps by different workers: another digest needs another version.
    assert whole(np.arange(12, dtype=np.uint8).reshape(3, 4)).digest == 3683543804098347646
    assert measure.ROWS[0].version == 1


def event(one: Occurrence) -> dict[str, Any]:
    about = {"camera": "gate", "run": "live-1", "sequence": 3, "captured_ns": 5, "step": "health", "pipeline": "ab12"}
    return {**about, "what": one.what, "subject": one.subject, "data": one.data}
