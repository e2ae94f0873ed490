"""Playlists and films behind a URL, and the clock of streams."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sources import LiveSource, open_source
from producers.sources.streams import StreamClock
from streamproc.errors import SourceError
from streamproc.settings import load_settings
from tests.cameras import until_lost
from tests.cameras.web import WebServer
from tests.producers.material import SETTINGS, film, index_first

if TYPE_CHECKING:
    from pathlib import Path

    from streamproc.errors import CameraLost
    from streamproc.model import Frame

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
        frames = list(opened(server.url("/a.m3u8")))
    assert len(frames) == 50
    assert frames[0].keyframe
    timed = [frame for frame in frames if frame.clock == "pts"]
    assert len(timed) > 40
    steps_ms = [(after.captured_ns - before.captured_ns) / 1e6 for before, after in pairwise(timed[:20])]
    assert all(step == pytest.approx(40, abs=1) for step in steps_ms)


def test_a_live_playlist_that_grows_no_more_is_noticed(segment: bytes) -> None:
    with WebServer({"/a.m3u8": (PLAYLIST, playlist(["a.ts"], ended=False)), "/a.ts": (SEGMENT, segment)}) as server:
        frames, problem = lost(server.url("/a.m3u8"), read_timeout_s=3.0)
    assert problem.reason == "stalled"
    assert len(frames) >= 22  # the demuxer keeps what may not be whole yet


@pytest.mark.parametrize("path", ["/a.mp4", "/stream"])
def test_a_film_behind_a_url_is_read_to_its_end_whatever_its_name(movie: bytes, path: str) -> None:
    with WebServer({path: ("video/mp4", movie)}) as server:
        assert len(list(opened(server.url(path)))) == 50


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


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SourceError, match=r"pip install 'streamproc\[cameras\]'"):
        opened("rtsp://camera/1")


MS = Fraction(1, 1000)
NOW_NS = 1_800_000_000_000_000_000


def test_presentation_times_count_from_the_first_frame() -> None:
    clock = StreamClock(paced=True)
    assert clock.time_of(5000, MS, now_ns=NOW_NS) == (NOW_NS, "pts")
    for pts, step_ms in ((5040, 40), (5040, 40), (5020, 20), (1000, -4000)):  # repeats, goes back: passed on
        assert clock.time_of(pts, MS, now_ns=NOW_NS + 10**12) == (NOW_NS + step_ms * 10**6, "pts")
    assert clock.time_of(90_000_000, MS, now_ns=NOW_NS) == (NOW_NS + 89_995_000 * 10**6, "pts")  # a jump, too
    assert clock.time_of(None, MS, now_ns=NOW_NS) == (NOW_NS, "wall")
    assert clock.time_of(5, None, now_ns=NOW_NS) == (NOW_NS, "wall")


def test_frames_that_waited_for_the_probe_do_not_make_later_ones_come_from_the_future() -> None:
    clock = StreamClock(paced=True)
    clock.time_of(0, MS, now_ns=NOW_NS + 900 * 10**6)  # captured 900 ms before it was read
    assert clock.time_of(40, MS, now_ns=NOW_NS + 900 * 10**6) == (NOW_NS + 900 * 10**6, "pts")
    assert clock.time_of(1000, MS, now_ns=NOW_NS + 1000 * 10**6) == (NOW_NS + 1000 * 10**6, "pts")
    assert clock.time_of(1040, MS, now_ns=NOW_NS + 1100 * 10**6) == (NOW_NS + 1040 * 10**6, "pts")


def test_the_cameras_own_time_goes_before_all_others_and_only_for_its_packet() -> None:
    clock = StreamClock(paced=True)
    clock.note(40, NOW_NS - 7)
    assert clock.time_of(0, MS, now_ns=NOW_NS) == (NOW_NS, "pts")
    assert clock.time_of(40, MS, now_ns=NOW_NS) == (NOW_NS - 7, "rtcp")
    clock.note(80, -5)
    clock.note(None, NOW_NS)
    clock.note(80, None)
    assert clock.time_of(80, MS, now_ns=NOW_NS + 10**9) == (NOW_NS + 80 * 10**6, "pts")


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1) | st.none())))
def test_any_times_are_taken_and_stay_within_64_bits(packets: list[tuple[int, int | None]]) -> None:
    clock = StreamClock(paced=True)
    for pts, rtcp_ns in packets:
        clock.note(pts, rtcp_ns)
        captured_ns, _kind = clock.time_of(pts, Fraction(1, 90_000), now_ns=NOW_NS)
        assert 0 < captured_ns < 2**63
