"""`streamproc diff` as a user runs it: exit status as of diff(1), a table, JSON, a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from streamproc.compare.page import MEANINGS
from streamproc.compare.values import KINDS
from streamproc.operators.pixels import encode
from tests.cli import streamproc
from tests.compare.events import a_run, again, an_object, frame_event, write
from tests.operators.pictures import photograph


def test_each_kind_of_change_has_its_meaning() -> None:
    assert list(MEANINGS) == list(KINDS)


def test_exit_status_says_same_different_or_trouble(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", a_run()), write(tmp_path / "b", again(a_run()))
    same = streamproc("diff", a, b / "events.jsonl")
    assert (same.code, same.err) == (0, "")
    assert "The runs tell the same: 5 frames in both runs, 0 only in A, 0 only in B" in same.out
    c = write(tmp_path / "c", again(a_run(4)))
    different = streamproc("diff", a, c)
    assert different.code == 1
    assert "1 frame of 5 differs: 4 frames in both runs, 1 only in A, 0 only in B" in different.out
    assert re.search(r"frame\.lost +1 +frames only in A", different.out)
    assert re.search(r"gate, frame 4 +only in A: complete, 2 objects", different.out)
    assert streamproc("diff", a, c, "--ignore", "frame.lost").code == 0
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "events.jsonl").write_text("no event\n")
    for wrong, words in (
        ([a, tmp_path / "nothing"], "is no file or folder, and no id of a run"),
        ([a, tmp_path], "holds no events.jsonl"),
        ([a, tmp_path / "d"], "line 1 is no event"),
        ([a, b, "--ignore", "edge"], "--ignore edge: use one of"),
        ([a, b, "--camera", "yard"], "has no frames to compare"),
    ):
        done = streamproc("diff", *wrong)
        assert done.code == 2, done.out
        assert words in done.error_line


def test_json_has_every_difference_and_the_sums(tmp_path: Path) -> None:
    a = write(tmp_path / "a", a_run())
    changed = again([frame_event(n, objects=[an_object(score=0.2)]) for n in range(5)])
    b = write(tmp_path / "b", changed)
    (b / "run.json").write_text(json.dumps({"source": {"kind": "log"}, "complete": False, "problem": "stopped"}))
    done = streamproc("diff", a, b, "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["frames"] == {"a": 5, "b": 5, "both": 5, "same": 0, "different": 5}
    assert found["counts"] == {"object.lost": 5, "object.score": 5, "occurrence.lost": 1}
    assert (found["same"], found["matched_by"]) == (False, {"gate": "capture time"})
    assert [one["a"][2] for one in found["differences"]] == [0, 1, 2, 3, 4]
    assert [one["kind"] for one in found["differences"][0]["changes"]] == ["object.lost", "object.score"]
    assert "this rerun was not completed: stopped" in streamproc("diff", a, b).out


@pytest.mark.parametrize("has_pictures", [True, False], ids=["pictures", "no pictures"])
def test_the_page_shows_both_sides_loads_nothing_and_says_when_there_are_no_pixels(
    tmp_path: Path, has_pictures: bool
) -> None:
    a = write(tmp_path / "a", a_run())
    b = write(tmp_path / "b", again([frame_event(n, objects=[an_object("<b>cat")]) for n in range(5)]))
    if has_pictures:
        (a / "pictures").mkdir()
        for number in range(5):
            (a / "pictures" / f"{number:02d}-frame{number:06d}-original.jpg").write_bytes(
                encode(np.ascontiguousarray(photograph(320, 240)), "jpeg")
            )
    page = tmp_path / "diff.html"
    done = streamproc("diff", a, b, "--html", page)
    assert done.code == 1, done.err
    text = page.read_text()
    assert text.count('<img src="data:image/jpeg;base64,') == 10
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<b>cat" not in text
    assert "&lt;b&gt;cat" in text
    assert "5 frames of 5 differ" in text
    assert ("the boxes alone: " in text) is not has_pictures
    assert ("pixels of run A: the same frame" in text) is has_pictures
