"""`streamproc produce` and `streamproc split` as processes: exit codes, one line, signals."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from producers.sources import open_source
from streamproc.cli import run
from streamproc.ledger import read_ledger
from tests.producers.material import SETTINGS, cut, film, huge_png, index_first, picture, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamproc.settings import Settings

NOBODY = "127.0.0.1:9"
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line an error is."""
        lines = self.err.splitlines()
        assert len([line for line in lines if line.startswith("error:")]) == 1, self.err
        assert lines[-1].startswith("error:")
        return lines[-1]


Call: TypeAlias = "Callable[..., Done]"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run the command line in this process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setenv("COLUMNS", "80")  # an error is one line however narrow the terminal is

    def run_it(*words: str | Path, settings: Settings | None = None) -> Done:
        monkeypatch.setattr(sys, "argv", ["streamproc", *map(str, words)])
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            run()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 1, *capsys.readouterr())

    yield run_it
    root.handlers[:] = handlers
    root.setLevel(level)


def environment(settings: Settings | None = None) -> dict[str, str]:
    if settings is None:
        return {"STREAMPROC_BOOTSTRAP": NOBODY}
    return {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix}


# --- split -------------------------------------------------------------------------------------


def test_split_and_produce_agree(call: Call, tmp_path: Path) -> None:
    photo = save(tmp_path / "photo.png", picture(200, 120))
    done = call("split", photo, "--grid", "2x3", "--out", tmp_path / "tiles")
    assert done.code == 0, done.err
    assert done.out == f"6 tiles of 200x120 px in {tmp_path}/tiles: photo_0_0.png to photo_1_2.png\n"
    (frame,) = open_source(str(tmp_path / "tiles"), SETTINGS, notice=lambda _line: None)
    assert np.array_equal(frame.pixels, picture(200, 120))
    again = call("split", photo, "--grid", "2x3", "--out", tmp_path / "tiles")
    assert again.code == 2
    assert "--force" in again.error
    assert call("split", photo, "--grid", "2x3", "--out", tmp_path / "tiles", "--force").code == 0


@pytest.mark.parametrize("grid", ["auto", "0x1", "99x99", "many"])
def test_split_refuses_grids_that_do_not_fit(call: Call, tmp_path: Path, grid: str) -> None:
    done = call("split", save(tmp_path / "a.png", picture()), "--grid", grid, "--out", tmp_path / "out")
    assert done.code == 2
    assert "grid" in done.error


# --- produce, without a broker -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["/no/such.mp4"], 1, "/no/such.mp4 does not exist"),
        (["ftp://anna:geheim@x/1"], 2, "ftp://*** is no URL of a camera"),
        (["builtin", "--codec", "gif"], 2, "codec 'gif': use one of jpeg, png, raw"),
        (["builtin", "--grid", "x"], 2, "grid 'x'"),
        (["builtin", "--fps", "0"], 2, "--fps '0'"),
        (["builtin", "--drop", "all"], 2, "--drop 'all': use one of block, drop-oldest, drop-newest"),
        (["builtin", "--run", "a/b"], 2, "run 'a/b'"),
        (["synthetic:9x9"], 2, "synthetic:9x9"),
    ],
)
def test_wrong_requests_are_one_line(call: Call, words: list[str], code: int, told: str) -> None:
    done = call("produce", *words, "--camera", "cam")
    assert done.code == code
    assert told in done.error


def test_a_camera_is_needed_and_checked(call: Call) -> None:
    assert call("produce", "builtin").code == 2
    assert "camera 'a b'" in call("produce", "builtin", "--camera", "a b").error


def test_a_huge_picture_is_refused_in_one_line(call: Call, tmp_path: Path) -> None:
    picture = huge_png(tmp_path / "huge.png", 20_000)
    started = time.process_time()
    done = call("produce", picture, "--camera", "cam")
    assert time.process_time() - started < 1
    assert done.code == 1
    for part in ("huge.png", "20000x20000", "134217728", "STREAMPROC_MAX_FRAME_PIXELS"):
        assert part in done.error


def test_an_unreachable_broker_ends_within_15_s_in_one_line(call: Call) -> None:
    started = time.monotonic()
    done = call("produce", "builtin", "--camera", "cam")
    assert time.monotonic() - started < 15
    assert done.code == 1
    assert NOBODY in done.error


# --- produce, with a broker --------------------------------------------------------------------


@pytest.mark.kafka
def test_produce_tells_the_grid_and_sums_up(call: Call, topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=4)
    done = call("produce", "builtin", "--camera", "cam", "--limit", "5", "--fps", "max", settings=settings)
    assert done.code == 0, done.err
    assert "grid 2x2: 1280x720 as jpeg is about" in done.err
    assert done.out.startswith("5 of 5 frames published: 20 tiles,")
    assert len(done.out.splitlines()) == 1


@pytest.mark.kafka
def test_json_is_all_that_is_printed(call: Call, topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=4)
    words = (
        "produce",
        "synthetic",
        "--camera",
        "cam",
        "--limit",
        "3",
        "--fps",
        "max",
        "--run",
        "r-1",
        "--json",
    )
    done = call(*words, settings=settings)
    assert done.code == 0
    assert done.err == ""
    report = json.loads(done.out)
    assert (report["frames_published"], report["run"], report["problem"]) == (3, "r-1", None)


@pytest.mark.kafka
def test_a_ledger_is_appended_to_and_one_that_cannot_be_is_refused(
    call: Call, topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=2)
    words = ("produce", "synthetic:64x64", "--camera", "cam", "--limit", "4", "--fps", "max", "--ledger")
    for _ in range(2):
        done = call(*words, tmp_path / "ledger", settings=settings)
        assert done.code == 0, done.err
    assert read_ledger(tmp_path / "ledger").counts() == {"acked": 8, "failed": 0, "unknown": 0, "dropped": 0}
    (tmp_path / "notes").write_text("mine")
    refused = call(*words, tmp_path / "notes", settings=settings)
    assert refused.code == 1
    assert "notes is broken at line 1" in refused.error
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.kafka
def test_a_film_cut_short_is_published_as_far_as_it_goes(
    call: Call, topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    path = cut(index_first(film(tmp_path / "a.mp4")), 0.6)
    done = call("produce", path, "--camera", "cam", "--fps", "max", settings=topics_ready(partitions=2))
    assert done.code == 1
    assert "ended after" in done.error
    published, _, read = done.out.partition(" of ")
    assert read.startswith(f"{published} frames published")
    assert 15 < int(published) < 45


@pytest.mark.kafka
def test_missing_topics_are_one_line(call: Call, new_settings: Callable[..., Settings]) -> None:
    done = call("produce", "builtin", "--camera", "cam", settings=new_settings())
    assert done.code == 1
    assert "streamproc topics create" in done.error


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_count(topics_ready: Callable[..., Settings], number: signal.Signals) -> None:
    settings = topics_ready(partitions=2)
    process = subprocess.Popen(
        [sys.executable, "-m", "streamproc", "produce", "synthetic", "--camera", "cam"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(settings),
        cwd=ROOT,
    )
    try:
        assert process.stderr is not None
        while "grid" not in (line := process.stderr.readline()):
            assert line, "ended before its first frame"
        time.sleep(1)
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number
    assert number.name in err
    published, _, rest = out.partition(" of ")
    assert rest.startswith(f"{published} frames published:")
    assert int(published) >= 10
