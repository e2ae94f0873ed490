"""What kind of source a camera is, and what follows: its pace, what its silence says, whether it is read again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.sources import open_source
from producers.sources.source import Source
from producers.sources.synthetic import synthetic_frame
from streamproc.errors import SourceEnded, SourceError
from streamproc.model import Frame
from tests.cameras.web import WebServer
from tests.producers.material import film, index_first
from tests.producers.staged import SECRET, SETTINGS, Stage, StagedSource, Theatre
from tests.producers.test_ingest import all_online, published, states
from tests.waiting import wait_until


def test_what_comes_in_bursts_goes_at_its_own_pace_and_nothing_is_told_of_it(tmp_path: Path) -> None:
    with Theatre(tmp_path / "cameras.toml", {"a": Stage(bursts=True, fps=25)}) as theatre:
        all_online(theatre, "a")
        before, begun_s = published(theatre, "a"), time.monotonic()
        time.sleep(0.6)
        pace = (published(theatre, "a") - before) / (time.monotonic() - begun_s)
    assert pace == pytest.approx(25, rel=0.3)
    assert theatre.ended.total.frames_dropped == 0
    assert theatre.broker.story("a") == ["online", "offline stopped"]


def test_a_real_film_over_http_takes_its_time_and_is_read_once(tmp_path: Path) -> None:
    movie = index_first(film(tmp_path / "a.mp4", frames=20)).read_bytes()
    theatre = Theatre(tmp_path / "cameras.toml", {"film": Stage()})
    with WebServer({"/a.mp4": ("video/mp4", movie)}) as server:
        theatre.ingest._open = lambda _spec: open_source(server.url("/a.mp4"), SETTINGS)
        with theatre:
            all_online(theatre, "film")
            begun_s = time.monotonic()
            wait_until(lambda: states(theatre)["film"] == "ended", "it has ended", timeout_s=10)
            took_s = time.monotonic() - begun_s
    assert took_s > 0.6, "25 frames a second"
    assert theatre.broker.story("film") == ["online", "offline finished"]
    assert [list(numbers) for numbers in theatre.broker.frames("film").values()] == [list(range(20))]


def test_a_film_over_http_goes_flat_out_where_that_is_asked_for(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"fps": "max", "drop": "block"}
    with Theatre(tmp_path / "cameras.toml", {"a": Stage(bursts=True, fps=0.4)}, **keys) as theatre:
        wait_until(lambda: published(theatre, "a") > 100, "250 s of film", timeout_s=5)
    assert theatre.broker.story("a") == ["online", "offline stopped"], "no gaps, no steps of its clock"


def test_silence_and_the_same_picture_say_something_of_cameras_alone(tmp_path: Path) -> None:
    stages = {"camera": Stage(mode="frozen"), "folder": Stage(mode="frozen", steady=False)}
    with Theatre(tmp_path / "cameras.toml", stages, frozen_s=0.5) as theatre:
        wait_until(lambda: states(theatre).get("camera") == "offline", "the camera counts as frozen", timeout_s=5)
        assert states(theatre)["folder"] == "online"
    assert theatre.broker.story("folder") == ["online", "offline stopped"]


class Film(Source):
    """Two frames; the first `failures` times it is opened it is not there, and behind the frames is `end`."""

    def __init__(self, end: Exception | None, *, failures: int = 0) -> None:
        self.name, self.length, self.end, self.failures, self.opened = "film", None, end, failures, 0

    def __iter__(self) -> Iterator[Frame]:
        self.opened += 1
        if self.opened <= self.failures:
            raise SourceError("film.mp4 does not exist")
        for number in range(2):
            yield Frame(pixels=synthetic_frame(number, width=128, height=64), captured_ns=time.time_ns())
        if self.end is not None:
            raise self.end

    def describe(self) -> str:
        return "a film"


@pytest.mark.parametrize(
    ("end", "reason", "words"),
    [
        (None, "finished", "is online"),
        (SourceEnded("film.mp4 ended after 2 of 9 frames"), "finished", "film.mp4 ended after 2 of 9 frames"),
        (SourceError("2.png is broken"), "failed", r"offline \(failed\): 2.png is broken; it is not read again"),
        (RuntimeError(SECRET), "failed", r"reading it failed with RuntimeError; please report this; it is not read"),
    ],
)
def test_what_has_an_end_is_read_once_however_it_ends(
    tmp_path: Path, end: Exception | None, reason: str, words: str
) -> None:
    played = Film(end)
    theatre = Theatre(tmp_path / "cameras.toml", {"film": Stage()})
    theatre.ingest._open = lambda _spec: played
    with theatre:
        wait_until(lambda: states(theatre).get("film") == "ended", "it has ended", timeout_s=5)
    assert (played.opened, theatre.ended.total.frames_published) == (1, 2)
    assert theatre.broker.story("film") == ["online", f"offline {reason}"]
    assert theatre.ended.cameras[0].reason == reason
    assert re.search(words, "\n".join(theatre.notices))
    assert SECRET not in f"{theatre.notices}"


class FilmOverHttp(StagedSource):
    """What is live, and has an end that is known."""

    length = 100


def test_a_film_over_http_that_breaks_off_is_told_once_and_not_begun_again(tmp_path: Path) -> None:
    stage = Stage(bursts=True)
    theatre = Theatre(tmp_path / "cameras.toml", {"film": stage})
    theatre.ingest._open = lambda _spec: FilmOverHttp("film", stage, open_timeout_s=4, read_timeout_s=4)
    with theatre:
        all_online(theatre, "film")
        stage.mode = "ended"
        wait_until(lambda: states(theatre)["film"] == "ended", "it has ended", timeout_s=5)
    assert stage.opened == 1
    assert theatre.broker.story("film") == ["online", "offline ended"]
    assert "camera film is offline (ended): film plays ended; it is not read again" in theatre.notices


def test_a_film_that_is_not_there_yet_is_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.keeping.FIRST_S", 0.05)
    played = Film(None, failures=1)
    theatre = Theatre(tmp_path / "cameras.toml", {"film": Stage()})
    theatre.ingest._open = lambda _spec: played
    with theatre:
        wait_until(lambda: states(theatre).get("film") == "ended", "it has ended", timeout_s=10)
    assert theatre.broker.story("film") == ["offline failed", "online", "offline finished"]
    assert played.opened == 2
