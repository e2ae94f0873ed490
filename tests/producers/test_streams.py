"""Playlists and films behind a URL, and the clock of streams."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from producers.sources import LiveSource, open_source
from producers.sources.address import parse_address
from producers.sources.hls import HlsSource
from producers.sources.live import ThreadedSource
from streamproc.errors import SourceError
from streamproc.model import Frame
from streamproc.settings import load_settings
from tests.cameras import until_lost
from tests.cameras.web import WebServer
from tests.producers.material import SETTINGS, film, index_first

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streamproc.errors import CameraLost

PLAYLIST = "application/vnd.apple.mpegurl"
SEGMENT = "video/mp2t"


def opened(url: str, **options: Any) -> LiveSource:
    source = open_source(url, SETTINGS, **options)
    assert isinstance(source, LiveSource)
    return source


def lost(url: str, **options: Any) -> tuple[list[Frame], CameraLost]:
    frames, problem, silent_s = until_lost(iter(opened(url, **options)))
    assert silent_s < 5
    assert "\n" not in str(problem)
    return frames, problem


def playlist(names: list[str], *, ended: bool) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0"]
    for index, name in enumerate(names):
        lines += ["#EXT-X-DISCONTINUITY"] * (index > 0) + ["#EXTINF:1.0,", name]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""]).encode()


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One second of film, 25 frames of 160x96."""
    return film(tmp_path_factory.mktemp("film") / "a.ts", frames=25, codec="mp4v").read_bytes()


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 of 50 frames, 160x96, whose index comes first."""
    return index_first(film(tmp_path_factory.mktemp("film") / "a.mp4")).read_bytes()


def test_a_playlist_with_an_end_is_read_to_its_end(segment: bytes) -> None:
    files = {"/a.m3u8": (PLAYLIST, playlist(["a.ts", "b.ts"], ended=True)), "/a.ts": (SEGMENT, segment)}
    with WebServer({**files, "/b.ts": (SEGMENT, segment)}) as server:
        source = opened(server.url("/a.m3u8"))
        frames = list(source)
    assert len(frames) == source.length == 50
    assert frames[0].keyframe
    timed = [frame for frame in frames if frame.clock == "pts"]
    assert len(timed) > 40
    steps_ms = [(after.captured_ns - before.captured_ns) / 1e6 for before, after in pairwise(timed[:20])]
    assert all(step == pytest.approx(40, abs=1) for step in steps_ms)


def test_a_playlist_of_any_name_is_read_where_the_user_says_it_is_one(segment: bytes) -> None:
    with WebServer({"/x": (PLAYLIST, playlist(["a.ts"], ended=True)), "/a.ts": (SEGMENT, segment)}) as server:
        assert len(list(opened("hls+" + server.url("/x")))) == 25


def test_a_live_playlist_that_grows_no_more_is_noticed(segment: bytes) -> None:
    with WebServer({"/a.m3u8": (PLAYLIST, playlist(["a.ts"], ended=False)), "/a.ts": (SEGMENT, segment)}) as server:
        source = opened(server.url("/a.m3u8"), read_timeout_s=3.0)
        frames, problem, _silent_s = until_lost(iter(source))
    assert (problem.reason, source.length) == ("stalled", None)
    assert len(frames) >= 22  # the demuxer keeps what may not be whole yet


@pytest.mark.parametrize(("path", "prefix"), [("/a.mp4", ""), ("/stream", "hls+")])
def test_a_film_behind_a_url_is_read_to_its_end_whatever_its_name(movie: bytes, path: str, prefix: str) -> None:
    with WebServer({path: ("video/mp4", movie)}) as server:
        source = opened(prefix + server.url(path))
        frames = iter(source)
        assert (source.length, next(frames).pixels.shape, source.length) == (None, (96, 160, 3), 50)
        assert len(list(frames)) == 49


@pytest.mark.parametrize("kind", ["video/mp4", PLAYLIST, "Audio/X-MPEGURL; charset=utf-8"])
def test_no_answer_makes_a_camera_s_address_one_that_leads_elsewhere(kind: str, segment: bytes) -> None:
    with WebServer({"/inner.ts": (SEGMENT, segment)}) as inner:
        leads = playlist([inner.url("/inner.ts")], ended=True)
        with WebServer({"/video": (kind, leads)}) as camera:
            frames, problem = lost(camera.url("/video", login="anna:geheim@"))
        assert inner.asked == []
    assert (frames, problem.reason) == ([], "malformed")
    assert kind.partition(";")[0] in str(problem)
    assert "write hls+http:// for http://" in str(problem)
    assert "geheim" not in str(problem)


def test_a_login_is_given_and_a_wrong_one_told(movie: bytes) -> None:
    with WebServer({"/a.mp4": ("video/mp4", movie)}, login="anna:ge heim") as server:
        assert len(list(opened(server.url("/a.mp4", login="anna:ge%20heim@")))) == 50
        problem = lost(server.url("/a.mp4", login="anna:wrong-secret@"))[1]
    assert problem.reason == "unauthorized"
    assert "wrong-secret" not in str(problem)
    assert problem.__cause__ is None


@pytest.mark.parametrize(
    "entry",
    ["file:///etc/hostname", "/etc/hostname", "concat:/etc/hostname|/etc/hostname", "subfile,,start,0,end,9,,:/x"],
)
def test_a_playlist_cannot_lead_to_files_of_this_machine(tmp_path: Path, segment: bytes, entry: str) -> None:
    local = tmp_path / "local.ts"
    local.write_bytes(segment)
    entry = entry.replace("/etc/hostname", str(local))
    for kind, content in (
        (PLAYLIST, playlist([entry], ended=True)),
        (PLAYLIST, f"ffconcat version 1.0\nfile '{entry}'\n".encode()),
        (PLAYLIST, f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{entry}\n".encode()),
    ):
        with WebServer({"/a.m3u8": (kind, content)}) as server:
            frames, _problem = lost(server.url("/a.m3u8"))
        assert frames == []


def test_a_redirect_cannot_leave_http(tmp_path: Path, movie: bytes) -> None:
    local = tmp_path / "local.mp4"
    local.write_bytes(movie)
    with WebServer({"/a.mp4": (f"redirect file://{local}", b"")}) as server:
        frames, _problem = lost(server.url("/a.mp4"))
    assert frames == []


def test_what_is_missing_or_no_film_is_told() -> None:
    with WebServer({"/x.mp4": ("video/mp4", b"no film" * 100), "/silent.mp4": None}) as server:
        assert lost(server.url("/a.mp4"))[1].reason == "refused"
        assert lost(server.url("/x.mp4"))[1].reason == "malformed"
        assert lost(server.url("/silent.mp4"), open_timeout_s=2.0)[1].reason == "timeout"
    assert lost(server.url("/a.m3u8"))[1].reason == "refused"
    assert lost("http://no-such-host.invalid/a.m3u8")[1].reason == "unreachable"


def test_a_film_above_the_limit_is_refused(movie: bytes) -> None:
    settings = load_settings(bootstrap="127.0.0.1:9", max_frame_pixels=15_359)
    with WebServer({"/a.mp4": ("video/mp4", movie)}) as server:
        frames, problem, _silent_s = until_lost(iter(open_source(server.url("/a.mp4"), settings)))
    assert (frames, problem.reason) == ([], "malformed")


def test_an_interrupt_ends_a_film_that_does_not_come() -> None:
    with WebServer({"/a.mp4": None, "/b": None}) as server:
        for path in ("/a.mp4", "/b"):
            source = opened(server.url(path), open_timeout_s=30.0, read_timeout_s=3.0)
            threading.Timer(0.3, source.interrupt).start()
            started_s = time.monotonic()
            assert list(source) == []
            assert time.monotonic() - started_s < 1.3


class HangingSource(HlsSource):
    """A stream whose library hangs until it is let go."""

    go_on = threading.Event()

    def _read(self, handover: Any) -> Iterator[Frame]:
        self._answered(handover)
        assert self.go_on.wait(20)
        yield Frame(pixels=np.zeros((8, 8), np.uint8), captured_ns=1)


def test_a_camera_that_hangs_keeps_none_waiting_that_differs_in_user_or_password_alone() -> None:
    def camera(login: str) -> HangingSource:
        address = parse_address(f"http://{login}@camera/a.mp4", variable=lambda _name: None)
        return HangingSource(address, max_pixels=100, open_timeout_s=0.1, read_timeout_s=0.1)

    try:
        sources = [camera("anna:one"), camera("anna:two"), camera("anna:one")]
        for source in sources:
            source.longest_wait_s = 0.1
        assert [until_lost(iter(source))[1].reason for source in sources[:2]] == ["stalled", "stalled"]
        problem = until_lost(iter(sources[2]))[1]
        assert "earlier try" in str(problem)
        assert not [key for key in ThreadedSource._hanging if b"anna" in key or b"one" in key]
    finally:
        HangingSource.go_on.set()
    sources[2].open_timeout_s = 5.0
    assert len(list(sources[2])) == 1


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match=r"pip install 'streamproc\[cameras\]'"):
        opened("rtsp://camera/1")
