"""The contract holds for every built-in operator, and each kind of broken operator is caught by its own check."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
from typing import Any

import cv2
import numpy as np
import pytest

from streamproc.contract import Verdict, check, failures, subjects_of
from streamproc.contract.keeping import changed, kept
from streamproc.contract.pictures import KINDS, WIDE, picture
from streamproc.contract.trial import Trial
from streamproc.errors import PipelineError, UsageError
from streamproc.model import Boxes, Figures, Histogram, Occurrence, Statistics
from streamproc.operators.catalogue import BUILT_IN
from streamproc.operators.loaded import Loaded
from streamproc.operators.parameters import checked
from streamproc.operators.pixels import require_gray, require_pixels
from streamproc.operators.table import Memory, Operator, Parameter, Params, Scene, Sighting, Value, Window
from streamproc.train.examples import load_examples
from streamproc.train.fitting import fitted, onnx_model
from tests.operators import plugged
from tests.operators.pictures import astronaut


class Largest:
    """Something to write to."""

    last = 0

    def __init__(self) -> None:
        self.seen = 0


LEFT_OUT = {"yunet": "model", "onnx_detector": "model"}
"""Their own tests hold them to the same, with models that they make."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Value]]:
    """A template out of one of the pictures, and a classifier of faces."""
    folder = tmp_path_factory.mktemp("files")
    cv2.imwrite(str(folder / "template.png"), picture("smooth noise", WIDE)[20:33, 30:41])
    examples = load_examples("lfw", lambda *_: None)
    model = onnx_model(fitted("softmax", examples.features, examples.truth, 0), "softmax", examples.labels)
    (folder / "model.onnx").write_bytes(model)
    (folder / "people").mkdir()
    cv2.imwrite(str(folder / "people" / "Eileen-1.png"), astronaut())
    return {
        "face_tag": {"examples": str(folder / "people")},
        "template_match": {"templates": str(folder / "template.png")},
        "classify": {"model": str(folder / "model.onnx")},
        "sliding_window": {"model": str(folder / "model.onnx"), "threshold": 0.6},
    }


@pytest.mark.parametrize("operator", BUILT_IN.values(), ids=lambda operator: operator.name)
def test_every_built_in_operator_keeps_what_all_promise(operator: Operator, files: dict[str, dict[str, Value]]) -> None:
    verdicts = check(operator, values=files.get(operator.name), rounds=1)
    assert failures(verdicts) == []
    left_out = {one.detail for one in verdicts if one.outcome == "skipped"}
    wanted = LEFT_OUT.get(operator.name)
    assert left_out == (set() if wanted is None else {f"needs {wanted}: give a file"})


# --- planted violations ----------------------------------------------------------------------------------------

DOC = """Do something.

Raises:
    BadPixels: Another shape or type.
"""


def transform(change: Callable[[Any, Params], Any], **row: Any) -> Operator:
    def run(pixels: Any, params: Params) -> Any:
        require_pixels(pixels)
        return change(pixels, params)

    run.__doc__ = DOC
    about: dict[str, Any] = {"accepts": ("color", "gray"), **row}
    return Operator(name="planted", kind="transform", run=run, family="tests", meaning="planted", **about)


def measure(say: Callable[[Window, Params], Any], **row: Any) -> Operator:
    def run(window: Window, params: Params) -> Any:
        require_gray(window.pixels)
        return say(window, params)

    run.__doc__ = DOC
    return Operator(name="planted", kind="measure", run=run, family="tests", meaning="planted", **row)


def follower(say: Callable[[Scene, Memory, Params], Any], **row: Any) -> Operator:
    def run(scene: Scene, memory: Memory, params: Params) -> Any:
        if scene.window is not None:
            require_gray(scene.window.pixels)
        return say(scene, memory, params)

    run.__doc__ = DOC
    return Operator(name="planted", kind="follower", run=run, family="tests", meaning="p", scope="frame", **row)


def caught(operator: Operator, **options: Any) -> set[str]:
    return {one.check for one in check(operator, **options) if one.outcome == "failed"}


def verdict(operator: Operator, name: str) -> Verdict:
    return next(one for one in check(operator) if one.check == name)


def whole_mean(scene: Scene) -> float:
    assert scene.window is not None
    return float(scene.window.pixels.mean())


def blur(pixels: Any, _params: Params) -> Any:
    return cv2.blur(pixels, (5, 5))


def level(**about: Any) -> Parameter:
    return Parameter(**{"name": "level", "meaning": "grey level", "default": 5, "low": 0, "high": 10, **about})


def test_a_right_operator_passes() -> None:
    right = transform(blur, halo=lambda params: 2, parameters=(level(),))
    assert caught(right) == set()
    assert {one.outcome for one in check(right)} == {"passed"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Has Spaces"},
        {"meaning": ""},
        {"version": 0},
        {"accepts": ("color",)},
        {"accepts": ("boxes",)},
        {"kind": "filter"},
        {"durable": True},
        {"back": lambda places, width, height, params: places},
        {"halo": lambda params: -1},
        {"halo": lambda params: 1.5},
        {"halo": lambda params: params["nothing"]},
        {"parameters": (level(default=11),)},
        {"parameters": (level(), level())},
        {"parameters": (Parameter(name="every", default=1, meaning="reserved"),)},
        {"parameters": (Parameter(name="level", default=1, meaning=""),)},
        {"run": lambda pixels, params: pixels},
    ],
)
def test_rows_that_are_not_whole_are_caught(wrong: dict[str, Any]) -> None:
    verdicts = check(replace(transform(blur, halo=lambda params: 2), **wrong))
    assert [one.check for one in verdicts if one.outcome == "failed"] == ["row"]
    assert {one.outcome for one in verdicts[1:]} == {"skipped"}


@pytest.mark.parametrize(
    "operator",
    [
        transform(lambda pixels, params: pixels.astype(np.float64)),
        transform(lambda pixels, params: pixels.tolist()),
        transform(lambda pixels, params: pixels[::2, ::2].copy()),
        transform(lambda pixels, params: pixels[::2, ::2].copy(), scope="frame"),
        transform(lambda pixels, params: pixels, gives="gray"),
        transform(lambda pixels, params: pixels.astype(np.float32), gives="float"),
        transform(lambda pixels, params: 1 // 0),
        transform(
            lambda pixels, params: pixels[1:], scope="frame", back=lambda places, width, height, params: places[0]
        ),
        measure(lambda window, params: {"mean": 1.0}, scope="frame"),
        measure(lambda window, params: Figures(values={"mean": window.pixels.mean()}), scope="tile"),
        measure(lambda window, params: Figures(values={"mean": window.pixels.sum()}), scope="frame"),
        measure(lambda window, params: Figures(values={"mean": float("nan")}), scope="frame"),
        measure(lambda window, params: Figures(values={"mean": 1.0}), scope="frame", gives="boxes"),
        measure(lambda window, params: Boxes(label="x", xyxy=b"1234", score=b""), scope="frame", gives="boxes"),
        follower(lambda scene, memory, params: None),
        follower(lambda scene, memory, params: Sighting(result=Figures(values={"a": object()}))),
        follower(lambda scene, memory, params: Sighting(occurrences=(Occurrence(kind="rule", what=""),))),
        follower(lambda scene, memory, params: Sighting(occurrences=(Occurrence(kind="rule", what="x"),) * 2)),
    ],
)
def test_wrong_results_are_caught(operator: Operator) -> None:
    assert caught(operator) == {"result"}


def test_operators_that_cannot_take_small_pictures_are_caught() -> None:
    def needs_two_rows(pixels: Any, params: Params) -> Any:
        _ = pixels[1]
        return pixels

    assert caught(transform(needs_two_rows)) == {"sizes"}


def refuse_the_highest(pixels: Any, params: Params) -> Any:
    if params["level"] == 10:
        raise PipelineError("level 10 does not go with this file")
    return pixels


def test_allowed_values_that_fail_are_caught() -> None:
    divides = transform(lambda pixels, params: pixels + 0 * (7 // params["level"]), parameters=(level(),))
    assert caught(divides) == {"parameters"}
    assert "level = 0" in verdict(divides, "parameters").detail
    refuses = transform(refuse_the_highest, parameters=(level(),))
    assert caught(refuses) == set()
    shrinks = transform(blur, parameters=(level(),), halo=lambda params: 2 if params["level"] < 10 else -1)
    assert caught(shrinks) == {"parameters"}


def test_operators_that_take_what_is_no_picture_are_caught() -> None:
    row = transform(blur, halo=lambda params: 2)

    def run(pixels: Any, params: Params) -> Any:
        return cv2.blur(pixels, (5, 5))

    run.__doc__ = DOC
    assert caught(replace(row, run=run)) == {"refuses"}


def writes(pixels: Any, params: Params) -> Any:
    pixels[0, 0] = 7
    return pixels.copy()


def writes_there_and_back(pixels: Any, params: Params) -> Any:
    first = pixels[0, 0].copy()
    pixels[0, 0] = first
    return pixels.copy()


def writes_parameters(pixels: Any, params: Any) -> Any:
    params["level"] = 3
    return pixels.copy()


@pytest.mark.parametrize("change", [writes, writes_there_and_back, writes_parameters])
def test_operators_that_write_into_their_input_are_caught(change: Callable[[Any, Params], Any]) -> None:
    assert caught(transform(change, parameters=(level(),))) == {"untouched"}


def test_random_operators_are_caught() -> None:
    random = np.random.default_rng()
    assert caught(transform(lambda pixels, params: pixels ^ random.integers(0, 256, pixels.shape, np.uint8))) == {
        "repeatable"
    }


def differs_from_the_last() -> Operator:
    last: list[Any] = [None]

    def change(pixels: Any, params: Params) -> Any:
        before, last[0] = last[0], pixels.copy()
        same = before is not None and before.shape == pixels.shape and np.array_equal(before, pixels)
        return pixels.copy() if same else 255 - pixels

    return transform(change)


def keeps_its_buffer() -> Operator:
    kept = np.zeros((256, 256, 3), np.uint8)

    def change(pixels: Any, params: Params) -> Any:
        rows, cols = pixels.shape[:2]
        view = kept[:rows, :cols] if pixels.ndim == 3 else kept[:rows, :cols, 0]
        view[:] = pixels
        return view

    return transform(change)


def shares_between_threads() -> Operator:
    shared: dict[str, Any] = {}

    def change(pixels: Any, params: Params) -> Any:
        shared["pixels"] = pixels
        time.sleep(0.002)
        return shared["pixels"].copy()

    return transform(change)


def keeps_parameters() -> Operator:
    kept: dict[str, int] = {}

    def change(pixels: Any, params: Params) -> Any:
        if params["level"] != 5:
            kept["level"] = params["level"]
        return pixels ^ np.uint8(kept.get("level", 5))

    return transform(change, parameters=(level(),))


def remembers_elsewhere() -> Operator:
    means: dict[str, float] = {}

    def follow(scene: Scene, memory: Memory, params: Params) -> Sighting:
        before = means.get("last", 0.0) if memory else 0.0
        means["last"] = whole_mean(scene)
        memory["begun"] = True
        return Sighting(result=Figures(values={"change": means["last"] - before}))

    return follower(follow)


@pytest.mark.parametrize(
    "make", [differs_from_the_last, keeps_its_buffer, shares_between_threads, keeps_parameters, remembers_elsewhere]
)
def test_state_outside_of_the_arguments_is_caught(make: Callable[[], Operator]) -> None:
    # `parameters` meets another level before `repeatable`, which sees the same each time
    assert caught(make()) <= {"state"}
    assert "state" in caught(make())


calls = 0
shapes: list[tuple[int, ...]] = []
largest = Largest()


def counts_its_calls(pixels: Any, _params: Params) -> Any:
    global calls  # noqa: PLW0603 - planted
    calls += 1
    return pixels.copy()


def writes_a_list(pixels: Any, _params: Params) -> Any:
    shapes.append(pixels.shape)
    return pixels.copy()


def writes_to_an_object(pixels: Any, _params: Params) -> Any:
    largest.seen = int(pixels.astype(int).sum())
    return pixels.copy()


def writes_to_its_class(pixels: Any, _params: Params) -> Any:
    Largest.last = int(pixels.astype(int).sum())
    return pixels.copy()


def writes_to_its_default(pixels: Any, _params: Params, _last: dict[str, Any] = {}) -> Any:  # noqa: B006 - planted
    _last["mean"] = pixels.mean()
    return pixels.copy()


def writes_to_itself(pixels: Any, _params: Params) -> Any:
    writes_to_itself.last = pixels[0, 0]  # type: ignore[attr-defined]  # planted
    return pixels.copy()


def writes_to_another_module(pixels: Any, _params: Params) -> Any:
    plugged.last = pixels.mean()  # type: ignore[attr-defined]  # planted
    return pixels.copy()


def writes_around_itself() -> Callable[[Any, Params], Any]:
    kept: list[Any] = [None]

    def change(pixels: Any, _params: Params) -> Any:
        kept[0] = pixels.copy()
        return pixels.copy()

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (counts_its_calls, "test_contract.calls"),
        (writes_a_list, "test_contract.shapes"),
        (writes_to_an_object, "test_contract.largest"),
        (writes_to_its_class, "test_contract.Largest"),
        (writes_to_its_default, "test_contract.transform.<locals>.run"),
        (writes_to_itself, "test_contract.transform.<locals>.run"),
        (writes_to_another_module, "plugged.last"),
        (writes_around_itself(), "test_contract.transform.<locals>.run"),
    ],
)
def test_state_that_no_answer_shows_is_caught(change: Callable[[Any, Params], Any], place: str) -> None:
    found = verdict(transform(change), "state")
    assert found.outcome == "failed"
    assert f"keeps something from picture to picture in tests.operators.{place}" in found.detail


class Slotted:
    """Without a dictionary."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def grow(self) -> None:
        self.value += 1


def grows_in(value: Any, grow: Callable[[Any], Any]) -> tuple[Any, Callable[[Any], Any]]:
    return value, grow


@pytest.mark.parametrize(
    ("held", "grow"),
    [
        grows_in(bytearray(4), lambda held: held.append(1)),
        grows_in({"deep": [{"list": []}]}, lambda held: held["deep"][0]["list"].append(1)),
        grows_in({1, 2}, lambda held: held.add(3)),
        grows_in(deque([1], maxlen=3), lambda held: held.append(2)),
        grows_in(np.zeros(3), lambda held: held.__setitem__(0, 1)),
        grows_in(np.array([[], []], dtype=object), lambda held: held.resize((3, 1), refcheck=False)),
        grows_in(count(), next),
        grows_in(random.Random(1), lambda held: held.random()),
        grows_in(np.random.default_rng(1), lambda held: held.random()),
        grows_in(Slotted(), lambda held: held.grow()),
        grows_in(Slotted().grow, lambda held: held()),
        grows_in(partial(print, []), lambda held: held.args[0].append(1)),
        grows_in(lambda last=[]: last, lambda held: held().append(1)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_change_of_anything_that_a_function_holds_is_seen(held: Any, grow: Callable[[Any], Any]) -> None:
    operator = transform(lambda pixels, params: (held, pixels)[1])
    before = kept(operator)
    assert changed(before, kept(operator)) == []
    grow(held)
    (place,) = changed(before, kept(operator))
    assert place == "tests.operators.test_contract.transform.<locals>.run"


def test_what_holds_itself_is_looked_into_once() -> None:
    circle: list[Any] = []
    circle.append(circle)
    operator = transform(lambda pixels, params: (circle, pixels)[1])
    assert changed(kept(operator), kept(operator)) == []


def test_a_follower_that_writes_elsewhere_than_to_its_memory_is_caught() -> None:
    def follow(scene: Scene, memory: Memory, params: Params) -> Sighting:
        shapes.append((scene.sequence,))
        return Sighting(result=Figures(values={"mean": whole_mean(scene)}))

    assert caught(follower(follow)) == {"state"}


@lru_cache(maxsize=4)
def weights_of(total: int) -> Any:
    return np.full(4, total)


tables: dict[tuple[int, ...], Any] = {}
scratch = threading.local()
loaded = Loaded(lambda path: object())


def uses_caches(pixels: Any, _params: Params) -> Any:
    weights_of(int(pixels.astype(int).sum()))
    tables.setdefault(pixels.shape, np.zeros(3))
    scratch.last = pixels
    return pixels.copy()


def test_caches_are_no_state() -> None:
    assert caught(transform(uses_caches)) == set()


def window_mean(window: Window, params: Params) -> Any:
    mean = int(window.core_pixels.mean())
    return Statistics(count=1, total=[mean], squares=[mean], low=[mean], high=[mean])


def halo_pixels(window: Window, params: Params) -> Any:
    return Histogram(counts=[np.bincount(window.pixels.reshape(-1), minlength=256).tolist()])


@pytest.mark.parametrize(
    "operator",
    [
        transform(lambda pixels, params: cv2.equalizeHist(pixels), accepts=("gray",), gives="gray"),
        transform(lambda pixels, params: pixels[::-1].copy()),
        measure(window_mean),
        measure(halo_pixels, halo=lambda params: 2),
        transform(lambda pixels, params: (pixels // 2) + np.uint8(pixels.mean() / 4), exact="rounding"),
    ],
)
def test_what_tiles_cannot_give_is_caught(operator: Operator) -> None:
    assert caught(operator) == {"tiles"}


def test_what_differs_by_rounding_alone_may_say_so() -> None:
    def add(pixels: Any, params: Params) -> Any:
        return np.clip(pixels.astype(np.int32) + (pixels.shape[0] & 1), 0, 255).astype(np.uint8)

    assert caught(transform(add)) == {"tiles"}
    assert caught(transform(add, exact="rounding")) == set()


def test_a_halo_that_is_too_small_is_caught() -> None:
    small = transform(blur, halo=lambda params: 1)
    assert caught(small) == {"halo"}
    assert verdict(small, "halo").detail == "claims 1 px, at least 1 px more are needed"
    by_value = transform(
        lambda pixels, params: cv2.blur(pixels, (2 * params["level"] + 1,) * 2),
        halo=lambda params: min(5, params["level"]),
        parameters=(level(),),
    )
    assert caught(by_value) == {"halo"}


def boxed(pixels: Any, params: Params) -> Any:
    return cv2.dilate(pixels, np.ones((params["ksize"],) * 2, np.uint8), iterations=params["iterations"])


KSIZE = Parameter(name="ksize", default=3, low=1, high=15, odd=True, meaning="pixels")
ITERATIONS = Parameter(name="iterations", default=1, low=1, high=10, meaning="times")


def test_a_halo_that_is_right_for_one_parameter_at_a_time_is_caught() -> None:
    row = transform(boxed, parameters=(KSIZE, ITERATIONS))
    sums = replace(row, halo=lambda params: params["ksize"] // 2 + params["iterations"] - 1)
    assert caught(sums) & {"tiles", "halo"}
    assert "iterations = " in " ".join(one.detail for one in check(sums) if one.outcome == "failed")
    assert caught(replace(row, halo=lambda params: params["ksize"] // 2 * params["iterations"])) == set()


def test_a_halo_that_is_right_at_the_ends_alone_is_caught() -> None:
    def halo(params: Params) -> int:
        return params["ksize"] // 2 if params["ksize"] in {1, 3, 15} else 1

    row = transform(boxed, parameters=(KSIZE, replace(ITERATIONS, high=1)), halo=halo)
    assert caught(row) & {"tiles", "halo"}


def test_values_that_fail_together_are_caught() -> None:
    def divide(pixels: Any, params: Params) -> Any:
        if params["level"] != 5 and params["ksize"] != 5:
            raise ZeroDivisionError
        return pixels

    row = transform(divide, parameters=(level(), replace(KSIZE, low=5, default=5)))
    assert caught(row) == {"parameters"}
    assert re.search(r"with level = \d+, ksize = \d+, which the row allows", verdict(row, "parameters").detail)


def test_draws_are_the_same_each_time_in_range_and_none_that_the_operator_refuses() -> None:
    def even_levels(params: Params) -> None:
        if params["level"] % 2:
            raise PipelineError("level must be even")

    row = transform(
        boxed,
        parameters=(
            KSIZE,
            ITERATIONS,
            level(),
            Parameter(name="share", default=0.5, low=0, high=1, below="most", meaning="share"),
            Parameter(name="most", default=1.0, low=0, high=1, meaning="share"),
            Parameter(name="open", default=3, meaning="any number"),
            Parameter(name="way", default="a", choices=("a", "b"), meaning="way"),
            Parameter(name="flag", default=False, meaning="flag"),
            Parameter(name="text", default="kept", meaning="text"),
        ),
        check=even_levels,
    )
    drawn: list[dict[str, Any]] = [params for _, params in Trial(operator=row).draws()]
    assert drawn == [params for _, params in Trial(operator=row).draws()]
    assert len(drawn) == 20
    for params in drawn:
        assert {one.name: checked(params[one.name], one, one.name) for one in row.parameters} == params
        assert params["level"] % 2 == 0
        assert params["share"] <= params["most"]
    for name in ("ksize", "iterations", "level", "share", "most", "open", "way", "flag"):
        assert len({params[name] for params in drawn}) > (1 if name in {"way", "flag"} else 4), name
    assert {params["text"] for params in drawn} == {"kept"}


def test_parameters_that_exceed_what_they_may_not_exceed_by_default_are_caught() -> None:
    row = transform(blur, halo=lambda params: 2, parameters=(level(below="most"), level(name="most", default=3)))
    assert caught(row) == {"row"}
    assert verdict(row, "row").detail == "level must be at most most, got level = 5 and most = 3"
    assert caught(replace(row, parameters=(level(below="nothing"),))) == {"row"}


def test_a_halo_that_is_too_large_is_warned_of() -> None:
    large = transform(blur, halo=lambda params: 3)
    assert caught(large) == set()
    assert verdict(large, "halo").outcome == "warning"


def test_values_that_take_long_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(pixels: Any, params: Params) -> Any:
        time.sleep(0.2 if params["level"] == 10 else 0)
        return pixels

    monkeypatch.setattr("streamproc.contract.checks.SLOW_S", 0.1)
    row = transform(slow, parameters=(level(),))
    assert caught(row) == set()
    assert (verdict(row, "parameters").outcome, "level = 10" in verdict(row, "parameters").detail) == ("warning", True)


def keeps_the_picture(scene: Scene, memory: Memory, params: Params) -> Sighting:
    assert scene.window is not None
    memory["picture"] = scene.window.pixels
    return Sighting()


def keeps_a_set(scene: Scene, memory: Memory, params: Params) -> Sighting:
    known: Any = memory.setdefault("known", set())
    said = Sighting(result=Figures(values={"count": len(known), "plain": isinstance(known, list)}))
    memory["known"] = {*known, scene.sequence}
    return said


def grows(scene: Scene, memory: Memory, params: Params) -> Sighting:
    memory.setdefault("all", []).append("x" * 2000)
    return Sighting()


@pytest.mark.parametrize("say", [keeps_the_picture, keeps_a_set, grows])
def test_memories_that_cannot_travel_are_caught(say: Callable[[Scene, Memory, Params], Sighting]) -> None:
    assert caught(follower(say, durable=True)) == {"memory"}
    if say is not keeps_a_set:
        assert caught(follower(say)) == set()


def needs_findings(scene: Scene, memory: Memory, params: Params) -> Sighting:
    return Sighting(result=Figures(values={"bytes": len(scene.found.xyxy)}))  # type: ignore[union-attr]  # planted


def needs_time(scene: Scene, memory: Memory, params: Params) -> Sighting:
    before = memory.get("at", 0)
    memory["at"] = scene.captured_ns
    return Sighting(result=Figures(values={"fps": 1e9 / (scene.captured_ns - before)}))


def needs_one_size(scene: Scene, memory: Memory, params: Params) -> Sighting:
    assert scene.window is not None
    now = scene.window.pixels.astype(np.int64)
    change = int((now - memory.get("before", now)).sum())
    memory["before"] = now
    return Sighting(result=Figures(values={"change": change}))


@pytest.mark.parametrize(
    ("say", "accepts"), [(needs_findings, ("boxes",)), (needs_time, ("tracks",)), (needs_one_size, ("gray",))]
)
def test_followers_that_need_every_frame_are_caught(
    say: Callable[[Scene, Memory, Params], Sighting], accepts: tuple[Any, ...]
) -> None:
    assert caught(follower(say, accepts=accepts)) == {"missing"}


def test_an_operator_whose_file_is_not_given_is_left_out_and_tried_with_it() -> None:
    file = Parameter(name="model", default="", meaning="a model", file=True, required=True)
    row = transform(lambda pixels, params: pixels ^ np.uint8(len(params["model"])), parameters=(file,))
    assert {one.outcome for one in check(row)[1:]} == {"skipped"}
    assert {one.outcome for one in check(row, values={"model": "x.bin"})} == {"passed"}
    assert caught(row, values={"models": "x.bin"}) == {"row"}


def test_an_operator_whose_package_is_missing_is_left_out() -> None:
    def change(pixels: Any, params: Params) -> Any:
        import no_such_package_at_all  # type: ignore[import-not-found]  # planted

        return no_such_package_at_all.change(pixels)

    row = transform(change, needs=("no-such-package", "recognition"))
    assert {one.detail for one in check(row)[1:]} == {"needs no-such-package, which is not installed"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (40, 30)])
def test_pictures_are_what_was_asked_for(kind: str, shape: tuple[int, int]) -> None:
    assert picture(kind, shape).shape == shape
    assert picture(kind, shape).dtype == np.uint8
    assert picture(kind, shape, color=True).shape == (*shape, 3)
    assert np.array_equal(picture(kind, shape, 3), picture(kind, shape, 3))


def test_operators_of_a_module_are_found() -> None:
    found = subjects_of("streamproc.operators.intensity")
    assert [row.name for row in found.rows] == ["gray", "brightness_contrast", "threshold", "gaussian", "sobel"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("no.such.module", "no package and no module"), ("streamproc.errors", "has no operators")],
)
def test_a_name_without_operators_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        subjects_of(name)
