"""The demo, as its command: everything at once, whatever the source, and nothing left behind however it ends."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from producers.sources.builtin import BuiltinSource
from streamproc.errors import BrokerError, StreamprocError
from streamproc.settings import Settings, load_settings
from streamproc.supervise import Workers, WorkerSpec
from tests.cli import Done, Running, started, streamproc
from tests.event_schema import check_event
from tests.kafka.whole_log import frames_published, frames_told_of
from tests.producers.material import cut, film, huge_png, index_first, picture, save
from tests.report.reading import read
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

EDGES = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'
NO_EDGES = '[[step]]\noperator = "gray"\n[[step]]\noperator = "sobel"\n[[step]]\noperator = "statistics"\n'

Demo = Callable[..., Done]


@pytest.fixture
def demo(bootstrap: str) -> Demo:
    """Run `streamproc demo` on the session's broker, with topics of its own."""

    def run(*options: str | Path) -> Done:
        prefix = f"t-{secrets.token_hex(4)}."
        return streamproc("demo", *options, "--bootstrap", bootstrap, STREAMPROC_PREFIX=prefix)

    return run


def together(demo: Demo, commands: dict[str, list[str | Path]]) -> dict[str, Done]:
    """Run several demos, two at a time, by name."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(commands, pool.map(lambda options: demo(*options), commands.values()), strict=True))


def events_in(folder: Path) -> list[dict[str, Any]]:
    """The lines of `events.jsonl`, each checked against the schema."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    for event in events:
        check_event(event)
    return events


def whole_frame_digest(pixels: np.ndarray[Any, Any]) -> str:
    """The oracle: grey, Canny 50/150 on the whole frame."""
    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), 50, 150)
    return hashlib.sha256(np.packbits(edges > 0).tobytes()).hexdigest()


def test_a_demo_is_complete_exact_and_leaves_events_and_a_report_that_needs_no_network(
    demo: Demo, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = demo("--frames", "12", "--codec", "png", "--json", "--out", out)
    assert (done.code, done.err) == (0, "")
    told = json.loads(done.out)
    assert (told["complete"], told["frames"], told["outcomes"], told["repeated"]) == (True, 12, {"complete": 12}, 0)
    assert told["tiles"] == told["tiles_by_outcome"]["merged"] == sum(told["tiles_by_outcome"].values())
    events = events_in(out)
    assert [event["data"]["sequence"] for event in events] == list(range(12))
    source = BuiltinSource()
    for number, event in enumerate(events):
        assert event["data"]["edges"]["digest"] == whole_frame_digest(source.frame(number))
    html = (out / "report.html").read_text()
    assert all(address.startswith(("data:", "#")) for address in read(html).addresses)
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)|@import", html)
    assert "12" in read(html).text


# --- sources ---------------------------------------------------------------------------------------------------------


def pictures(folder: Path) -> dict[str, tuple[Path, int]]:
    """Sources by name, with the frames they hold."""
    mixed = folder / "mixed"
    mixed.mkdir()
    save(mixed / "1.png", picture(200, 100))
    save(mixed / "2 grey.png", picture(64, 48, channels=1))
    save(mixed / "3 of 16 bits.png", picture(96, 64).astype(np.uint16) * 257)
    save(mixed / "4 alpha.png", picture(96, 64, channels=4))
    save(mixed / "10.jpg", picture(90, 70))
    return {
        "a picture": (save(folder / "one.png", picture(300, 200)), 1),
        "one pixel": (save(folder / "tiny.png", picture(1, 1)), 1),
        "a folder": (mixed, 5),
    }


def test_every_kind_of_picture_ends_complete(demo: Demo, tmp_path: Path) -> None:
    sources = pictures(tmp_path)
    commands: dict[str, list[str | Path]] = {
        name: ["--source", path, "--workers", "1", "--json"] for name, (path, _) in sources.items()
    }
    for name, done in together(demo, commands).items():
        assert done.code == 0, f"{name}: {done.err}"
        told = json.loads(done.out)
        assert (told["complete"], told["frames"]) == (True, sources[name][1]), name


def test_a_pipeline_without_edges_is_complete_too(demo: Demo, tmp_path: Path) -> None:
    pipeline, out = tmp_path / "p.toml", tmp_path / "out"
    pipeline.write_text(NO_EDGES)
    done = demo(
        *["--source", "synthetic", "--frames", "3", "--pipeline", pipeline, "--workers", "1", "--out", out, "--json"]
    )
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["complete"] is True
    for event in events_in(out):
        assert event["data"]["edges"] is None
        assert set(event["data"]["features"]) == {"statistics"}
    assert "statistics" in read((out / "report.html").read_text()).text


def test_a_picture_far_too_large_and_an_empty_folder_are_refused_in_one_line_before_anything_is_started(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    huge = huge_png(tmp_path / "huge.png", 20_000)
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    nowhere = "127.0.0.1:1"  # so that asking the broker first would take 10 s and end in other words
    large, empty = (
        streamproc("demo", "--source", path, "--bootstrap", nowhere, timeout_s=8, TMPDIR=str(scratch))
        for path in (huge, tmp_path / "empty")
    )
    assert (large.code, empty.code) == (1, 1)
    for word in ("huge.png", "20000x20000", "134217728"):
        assert word in large.error_line
    assert "empty has no pictures" in empty.error_line
    assert list(scratch.iterdir()) == []


def test_a_source_that_breaks_off_ends_in_one_line_and_its_whole_frames_are_complete(
    demo: Demo, tmp_path: Path
) -> None:
    torn = cut(save(tmp_path / "torn.jpg", picture(320, 200)), 0.5)
    short = cut(index_first(film(tmp_path / "a.mp4", frames=20)), 0.6)
    commands: dict[str, list[str | Path]] = {
        name: ["--source", path, "--workers", "1", "--out", tmp_path / name]
        for name, path in {"torn": torn, "short": short}.items()
    }
    ended = together(demo, commands)
    assert [done.code for done in ended.values()] == [1, 1]
    assert "cut-torn.jpg is cut short" in ended["torn"].error_line
    assert events_in(tmp_path / "torn") == []
    events = events_in(tmp_path / "short")
    assert 5 < len(events) < 20
    assert f"ended after {len(events)} of 20 frames" in ended["short"].error_line
    assert {event["data"]["outcome"] for event in events} == {"complete"}
    assert (tmp_path / "short" / "report.html").exists()


# --- endings ---------------------------------------------------------------------------------------------------------


@contextmanager
def under_way(bootstrap: str, *options: str | Path) -> Iterator[tuple[Running, Settings, list[psutil.Process]]]:
    """A demo with frames enough for minutes that has told of its first ones; its workers and their decoders."""
    settings = load_settings(bootstrap=bootstrap, prefix=f"t-{secrets.token_hex(4)}.")
    command = ["demo", "--frames", "100000", "--bootstrap", bootstrap, *options]
    with started(*command, STREAMPROC_PREFIX=settings.prefix) as running:
        children: list[psutil.Process] = []

        def first_events() -> bool:
            running.check()
            try:
                return len(frames_told_of(settings)) >= 5
            except BrokerError:
                return False  # the topics are not there yet

        try:
            wait_until(first_events, "the first events", timeout_s=60)
            children += psutil.Process(running.pid).children(recursive=True)
            yield running, settings, children
        finally:
            for child in children:
                if child.is_running():
                    child.kill()


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_ends_a_demo_soon_with_outcomes_for_all_it_published_and_no_process_left(
    bootstrap: str, tmp_path: Path
) -> None:
    pipeline, out = tmp_path / "edges.toml", tmp_path / "out"
    pipeline.write_text(EDGES)
    with under_way(bootstrap, "--pipeline", pipeline, "--out", out, "--json") as (running, settings, processes):
        assert len(processes) == 4
        running.interrupt()
        done, seconds = running.ended(timeout_s=40)
        assert alive(processes) == []
    assert (done.code, "Traceback" in done.err) == (130, False)
    assert seconds < 20
    told = json.loads(done.out)
    assert told["outcomes"] == {"complete": told["frames"]}
    assert len(events_in(out)) == told["frames"] < 100_000
    seen = frames_told_of(settings)
    assert len(seen) == len(set(seen)) == told["frames"]
    assert set(seen) == frames_published(settings)


def test_workers_of_a_killed_demo_end_by_themselves(bootstrap: str, tmp_path: Path) -> None:
    pipeline = tmp_path / "edges.toml"
    pipeline.write_text(EDGES)
    with under_way(bootstrap, "--pipeline", pipeline, "--workers", "1") as (running, _, processes):
        assert len(alive(processes)) == 2
        running.send(signal.SIGKILL)
        running.ended(timeout_s=10)
        wait_until(lambda: not alive(processes), "no worker is left", timeout_s=20)


def test_workers_take_no_modules_from_the_folder_the_user_stands_in(
    new_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("queue", "secrets", "numpy", "producers"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the folder')\n")
    monkeypatch.chdir(tmp_path)
    ended: list[str] = []
    with Workers(new_settings(), [WorkerSpec()], folder=tmp_path / "logs") as workers:

        def has_ended() -> bool:
            try:
                workers.check()
            except StreamprocError as error:
                ended.append(str(error))
            return bool(ended)

        wait_until(has_ended, "the worker misses its topics", timeout_s=30)
    assert "streamproc topics create" in ended[0]


def test_a_demo_without_a_broker_brings_its_own_and_takes_it_away(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    done = streamproc("demo", "--frames", "3", "--json", TMPDIR=str(folder))
    assert done.code == 0, done.err
    assert json.loads(done.out)["complete"] is True

    def gone() -> bool:
        commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
        return not any(str(folder) in argument for command in commands for argument in command)

    wait_until(gone, "no process of the demo's broker is left", timeout_s=10)
    assert [path for path in folder.iterdir() if path.name.startswith("streamproc-")] == []
