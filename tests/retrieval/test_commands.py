from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from streamproc.cli import retrieval
from streamproc.cli.stitch import stitch
from streamproc.errors import BadPixels, SourceError, StreamprocError, UsageError
from streamproc.retrieval import Added, frames
from tests.retrieval.material import PHOTOGRAPHS, Log, found, jpeg, photograph

app = typer.Typer()
app.command("index")(retrieval.index)
app.command("search")(retrieval.search)
app.command("stitch")(stitch)


def run(*asked: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in asked], env={"COLUMNS": "200"})


def told(*asked: object) -> Any:
    result = run(*asked, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in PHOTOGRAPHS:
        cv2.imwrite(str(folder / f"{name}.png"), photograph(name))
    return folder


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Frames of two cameras, in a log in memory."""
    log = Log()
    for sequence, name in enumerate(PHOTOGRAPHS[:4]):
        objects = [found("face", (30.0, 20.0, 90.0, 80.0))] if name == "astronaut" else []
        log.add(photograph(name), sequence, camera="gate" if sequence < 3 else "yard", objects=objects)

    def read_events(_settings: object, **chosen: object) -> list[Any]:
        log.reads.append({})
        assert set(chosen) == {"camera", "since_ms", "until_ms", "follow"}
        return log.events

    monkeypatch.setattr(frames, "TopicReader", log.reader)
    monkeypatch.setattr(retrieval, "read_events", read_events)
    return log


def query(folder: Path, name: str) -> Path:
    file = folder / f"query-{name}.jpg"
    file.write_bytes(cv2.imencode(".jpg", photograph(name), [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes())
    return file


def test_pictures_are_indexed_and_found(pictures: Path, tmp_path: Path) -> None:
    index, out = tmp_path / "index", tmp_path / "out"
    result = run("index", pictures, "--out", index)
    assert result.exit_code == 0, result.output
    assert f"looked at 10 picture files, added 10; the index in {index} holds 10" in result.stdout
    again = told("index", pictures, "--out", index)
    assert (again["added"], again["entries"], again["passed_over"]) == (0, 10, {"already in the index": 10})
    result = run("search", query(tmp_path, "coffee"), "--index", index, "--top", 2, "--out", out)
    assert result.exit_code == 0, result.output
    first = result.stdout.splitlines()[1].split()
    assert first[0] == "1"
    assert first[-1] == str(pictures / "coffee.png")
    files = sorted(out.iterdir())
    assert [file.name[:5] for file in files] == ["0001-", "0002-"]
    assert np.array_equal(np.asarray(cv2.imread(str(files[0]))), photograph("coffee"))
    assert f"wrote {files[0]}" in result.stdout


def test_frames_of_events_are_indexed_and_found_with_event_evidence_and_pixels(log: Log, tmp_path: Path) -> None:
    index, out = tmp_path / "index", tmp_path / "out"
    assert told("index", "--out", index)["added"] == 4
    (best, _) = told("search", query(tmp_path, "camera"), "--index", index, "--top", 2, "--out", out)
    ce_id = dict(log.events[1].headers)["ce_id"].decode()
    assert best["event"] == ce_id
    assert (best["camera"], best["run"], best["sequence"]) == ("gate", "run-1", 1)
    assert best["time"] == "2023-11-14T22:13:21.000000Z"
    assert best["evidence"]["topic"] == "tiles"
    assert set(best["evidence"]["offsets"]) == {"0", "1", "2"}
    assert best["similarity"] > 0.9
    assert np.array_equal(np.asarray(cv2.imread(best["pixels"]["file"], cv2.IMREAD_UNCHANGED)), photograph("camera"))


def test_pixels_that_are_gone_are_told_and_the_others_are_written(log: Log, tmp_path: Path) -> None:
    index, out = tmp_path / "index", tmp_path / "out"
    told("index", "--out", index)
    log.low = {0: 1}
    result = run("search", query(tmp_path, "astronaut"), "--index", index, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1  not written: the frame's tiles are no longer whole in tiles (retention)" in result.stdout
    assert len(list(out.iterdir())) == 3
    (best, *_) = told("search", query(tmp_path, "astronaut"), "--index", index, "--out", out)
    assert "retention" in best["pixels"]["missing"]


def test_objects_of_one_camera_and_label_are_indexed(log: Log, tmp_path: Path) -> None:
    index = tmp_path / "index"
    assert told("index", "--out", index, "--of", "face", "--camera", "gate")["added"] == 1
    assert told("index", "--out", index, "--of", "objects", "--camera", "yard")["added"] == 0
    (best,) = told("search", query(tmp_path, "camera"), "--index", index)
    assert (best["label"], best["box"], best["score"]) == ("face", [30, 20, 90, 80], 0.9)
    result = run("search", query(tmp_path, "camera"), "--index", index)
    assert "face at 30,20,90,80" in result.stdout


@pytest.mark.parametrize("more", [("--of", "objects"), ("--camera", "gate"), ("--from", "2h"), ("--to", "2h")])
def test_what_chooses_among_events_is_refused_for_pictures(pictures: Path, tmp_path: Path, more: tuple[str]) -> None:
    result = run("index", pictures, "--out", tmp_path / "index", *more)
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "index").exists()


def test_wrong_times_and_steps_are_wrong_usage(tmp_path: Path) -> None:
    for asked in (("--from", "1h", "--to", "2h"), ("--from", "soon")):
        assert isinstance(run("index", "--out", tmp_path / "index", *asked).exception, UsageError)
    assert run("index", "--out", tmp_path / "index", "--every", 0).exit_code == 2
    assert run("search", "some.png", "--top", 0).exit_code == 2


def test_a_search_without_index_or_picture_says_so(pictures: Path, tmp_path: Path) -> None:
    result = run("search", pictures / "coins.png", "--index", tmp_path / "none")
    assert isinstance(result.exception, UsageError)
    assert "make one with streamproc index" in str(result.exception)
    run("index", pictures / "coins.png", "--out", tmp_path / "index")
    (tmp_path / "broken.png").write_bytes(b"none")
    for file in ("broken.png", "missing.png"):
        assert isinstance(run("search", tmp_path / file, "--index", tmp_path / "index").exception, SourceError)


def test_unreadable_files_are_named_and_left_out(pictures: Path, tmp_path: Path) -> None:
    (pictures / "torn.png").write_bytes((pictures / "coins.png").read_bytes()[:900])
    result = run("index", pictures, "--out", tmp_path / "index")
    assert result.exit_code == 0
    assert "torn.png" in result.stderr
    assert "left out: " in result.stderr
    assert "looked at 11 picture files, added 10;" in result.stdout
    assert "\n  files that cannot be read as pictures: 1\n" in result.stdout


def test_one_file_is_told_of_as_one(pictures: Path, tmp_path: Path) -> None:
    assert "looked at 1 picture file, added 1;" in run("index", pictures / "coins.png", "--out", tmp_path / "i").stdout


def test_many_unreadable_files_are_counted(pictures: Path, tmp_path: Path) -> None:
    for number in range(12):
        (pictures / f"torn-{number}.png").write_bytes(b"torn")
    result = run("index", pictures, "--out", tmp_path / "index")
    assert result.stderr.count("left out: ") == 11
    assert "left out: 12 files in all" in result.stderr


def test_ctrl_c_keeps_what_was_added_and_the_next_run_goes_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def interrupted(*, quiet: bool) -> Iterator[Callable[[Added], None]]:
        yield lambda added: os.kill(os.getpid(), signal.SIGINT) if added.entries == 3 else None

    with monkeypatch.context() as patched:
        patched.setattr(retrieval, "_progress", interrupted)
        result = run("index", pictures, "--out", tmp_path / "index")
    assert result.exit_code == 130
    assert "stopping: what was added is kept" in result.stderr
    assert "added 3" in result.stdout
    assert told("index", pictures, "--out", tmp_path / "index")["added"] == 7


# --- stitch --------------------------------------------------------------------------------------------------


def halves(folder: Path) -> tuple[Path, Path]:
    whole = photograph("astronaut")
    left, right = folder / "left.png", folder / "right.png"
    cv2.imwrite(str(left), whole[:, :320])
    cv2.imwrite(str(right), whole[:, 190:])
    return left, right


def test_two_halves_of_a_photograph_become_the_photograph(tmp_path: Path) -> None:
    out = tmp_path / "all.png"
    result = run("stitch", *halves(tmp_path), "--out", out)
    assert result.exit_code == 0, result.output
    assert "left.png and right.png agree on" in result.stdout
    joined = np.asarray(cv2.imread(str(out)))
    assert joined.shape == photograph("astronaut").shape
    assert np.abs(joined.astype(int) - photograph("astronaut")).mean() < 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["all.png", "left.png", "right.png"]


def test_a_panorama_is_told_in_json(tmp_path: Path) -> None:
    found_all = told("stitch", *halves(tmp_path), "--out", tmp_path / "all.png", "--features", 800)
    assert (found_all["width"], found_all["height"]) == (512, 512)
    places = [picture["place"] for picture in found_all["pictures"]]
    assert places == [[0, 0, 320, 512], [190, 0, 322, 512]]
    (joint,) = found_all["joints"]
    assert (joint["first"], joint["second"]) == (0, 1)
    assert joint["points"] >= 20


def test_pictures_that_do_not_belong_together_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    left, _ = halves(tmp_path)
    cv2.imwrite(str(tmp_path / "cat.png"), jpeg(photograph("chelsea")))
    out = tmp_path / "all.png"
    for asked, kind in (
        ((left, tmp_path / "cat.png", "--out", out), UsageError),
        ((left, "--out", out), UsageError),
        ((left, left, "--out", tmp_path / "all.jpg"), UsageError),
        ((left, tmp_path / "none.png", "--out", out), SourceError),
        ((left, left, "--out", tmp_path / "none" / "all.png"), StreamprocError),
    ):
        result = run("stitch", *asked)
        assert isinstance(result.exception, kind), result.output
        assert not isinstance(result.exception, BadPixels)
        assert not out.exists()
