"""The harness itself: its proxy, its judge, its patches, its oracle."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from producers.sources.synthetic import synthetic_frame
from streamproc import wire
from streamproc.errors import BadMessage
from streamproc.ledger import FrameLine, Ledger, LedgerFrame
from streamproc.model import EdgeSummary, Evidence, FrameEvent, FrameKey
from tests.chaos.bad_tiles import KINDS, jpeg_bomb, png_bomb
from tests.chaos.faults import ONE_BROKER, THREE_BROKERS, schedule
from tests.chaos.fleet import ROOT
from tests.chaos.judge import Verdict, edges_digest, judge
from tests.chaos.ledger_run import percentile
from tests.chaos.load_run import slope_of
from tests.chaos.patches import BUGS, FAILPOINTS, STALE
from tests.chaos.proxy import GOOD, HOST, Link, Proxy

WIDTH, HEIGHT = 128, 64

# --- proxy ---------------------------------------------------------------------------------------------------------


@contextmanager
def echo() -> Iterator[int]:
    """A server that gives back what it gets; yields its port."""
    with socket.create_server((HOST, 0)) as server:

        def serve(one: socket.socket) -> None:
            with one, contextlib.suppress(OSError):
                while data := one.recv(65_536):
                    one.sendall(data)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of an echo server."""
    with echo() as port, Proxy(port) as made:
        yield made


def _connected(proxy: Proxy, *, timeout_s: float = 5) -> socket.socket:
    one = socket.create_connection((HOST, proxy.port), timeout=timeout_s)
    one.settimeout(timeout_s)
    return one


def _ask(one: socket.socket, data: bytes) -> bytes:
    one.sendall(data)
    got = b""
    while len(got) < len(data) and (more := one.recv(65_536)):
        got += more
    return got


def test_the_proxy_passes_bytes_both_ways(proxy: Proxy) -> None:
    data = random.Random(1).randbytes(300_000)
    with _connected(proxy) as one:
        assert _ask(one, data[:10]) == data[:10]
    with _connected(proxy) as one:
        threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
        got = b""
        while len(got) < len(data):
            got += one.recv(65_536)
    assert got == data


def test_a_dropped_link_cuts_and_refuses_and_comes_back(proxy: Proxy) -> None:
    with _connected(proxy) as one:
        assert _ask(one, b"x") == b"x"
        proxy.set(Link(kind="drop"))
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        _connected(proxy)
    proxy.set(GOOD)
    with _connected(proxy) as one:
        assert _ask(one, b"y") == b"y"


def test_a_half_open_link_accepts_and_swallows(proxy: Proxy) -> None:
    proxy.set(Link(kind="half-open"))
    with _connected(proxy, timeout_s=0.5) as one:
        one.sendall(b"x")
        with pytest.raises(TimeoutError):
            one.recv(1)
        proxy.set(GOOD)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""


def test_a_slow_link_delays_and_limits_the_rate(proxy: Proxy) -> None:
    proxy.set(Link(delay_s=0.1, bits_per_s=3e6))
    with _connected(proxy) as one:
        started_s = time.monotonic()
        assert _ask(one, b"x") == b"x"
        assert time.monotonic() - started_s >= 0.2
        started_s = time.monotonic()
        assert _ask(one, bytes(75_000)) == bytes(75_000)
        assert time.monotonic() - started_s >= 0.2  # 75 kB at 3 Mbit/s


def test_a_connection_is_cut_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.set(Link(cut_after_bytes=10_000))
    with _connected(proxy) as one:
        got = 0
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(100):
                one.sendall(bytes(1000))
                if not (more := one.recv(65_536)):
                    break
                got += len(more)
        assert 0 < got < 20_000
    assert proxy.connections == 1


# --- judge ---------------------------------------------------------------------------------------------------------


def _key(sequence: int) -> FrameKey:
    return FrameKey("gate", "run-1", sequence)


def _ledger(*statuses: Any) -> Ledger:
    frames = {}
    for sequence, status in enumerate(statuses):
        line = FrameLine(
            camera="gate",
            run="run-1",
            sequence=sequence,
            captured_ns=1,
            width=WIDTH,
            height=HEIGHT,
            tiles=4,
            codec="png",
            sha256="0" * 64,
            digest="0" * 32,
        )
        frames[_key(sequence)] = LedgerFrame(line=line, status=status, reason=None)
    return Ledger(frames=frames, dropped=(), unsent=())


def _event(sequence: int, **changes: Any) -> tuple[str, FrameEvent]:
    digest = edges_digest(sequence, WIDTH, HEIGHT)
    event = FrameEvent(
        camera="gate",
        run="run-1",
        sequence=sequence,
        captured_ns=1,
        emitted_ns=2,
        width=WIDTH,
        height=HEIGHT,
        outcome="complete",
        coverage=1.0,
        missing_tiles=[],
        edges=EdgeSummary(operator="canny@1", pixels=1, density=0.1, digest=digest),
        features={},
        objects=[],
        evidence=Evidence(topic="tiles", offsets={}, pipeline="p", operators={}),
        latency_ms={},
    )
    return f"id-{sequence}", msgspec.structs.replace(event, **changes)


def _judged(ledger: Ledger, *events: tuple[str, FrameEvent], letters: int = 0, **options: Any) -> Verdict:
    return judge([ledger], list(events), Counter({"checksum": letters} if letters else {}), **options)


def test_one_event_for_each_acknowledged_frame_is_all_well() -> None:
    verdict = _judged(_ledger("acked", "acked"), _event(0), _event(1))
    assert verdict.faults == {}
    assert (verdict.acked, verdict.events) == (2, 2)


def test_an_unknown_frame_may_be_told_once_or_not_at_all() -> None:
    assert _judged(_ledger("acked", "unknown"), _event(0)).faults == {}
    assert _judged(_ledger("acked", "unknown"), _event(0), _event(1)).faults == {}
    assert _judged(_ledger("acked", "unknown"), _event(0), _event(1), _event(1)).faults == {"twice": ["gate/run-1/1"]}


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        ([_event(0)], "lost"),
        ([_event(0), _event(0), _event(1)], "twice"),
        ([_event(0), ("id-0", _event(1)[1])], "twice"),
        ([_event(1), _event(0)], "reordered"),
        ([_event(0), _event(1, outcome="partial")], "unfinished"),
        ([_event(0), _event(1, edges=_event(0)[1].edges)], "wrong pixels"),
        ([_event(0), _event(1, edges=None)], "wrong pixels"),
        ([_event(0), _event(1), _event(2)], "strangers"),
    ],
)
def test_the_judge_sees_what_is_wrong(events: list[tuple[str, FrameEvent]], fault: str) -> None:
    assert fault in _judged(_ledger("acked", "acked"), *events).faults


def test_a_damaged_frame_must_not_be_complete_and_its_letter_must_be_there() -> None:
    ledger, name = _ledger("acked"), "gate/run-1/0"
    expected: dict[str, Any] = {"damaged": [name], "expected_letters": {"checksum": 1}}
    assert _judged(ledger, _event(0, outcome="partial"), letters=1, **expected).faults == {}
    assert _judged(ledger, _event(0), letters=1, **expected).faults == {"strangers": [name]}
    assert "dead letters" in _judged(ledger, _event(0, outcome="partial"), **expected).faults
    assert "dead letters" in _judged(_ledger("acked"), _event(0), letters=1).faults


def test_the_oracle_tells_frames_apart() -> None:
    digests = {edges_digest(sequence, 256, 128) for sequence in range(200)}
    assert len(digests) == 200
    assert synthetic_frame(3, width=256, height=128).shape == (128, 256, 3)


# --- patches, schedule, figures --------------------------------------------------------------------------------------


def _launched(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos.launcher", *words, "--", "--version"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_each_failpoint_and_each_bug_finds_what_it_patches() -> None:
    words = [word for name in FAILPOINTS for word in ("--failpoint", f"{name}@1")]
    done = _launched(*words, *[word for name in BUGS for word in ("--bug", name)])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_patch_without_anything_to_replace_refuses_to_start() -> None:
    code = (
        "import streamproc.__main__, sys\n"
        "from streamproc.aggregator.assembly import Assembler\n"
        "del Assembler.needed_offset\n"
        "from tests.chaos.launcher import main\n"
        "main(['--bug', 'commit-above-open', '--', '--version'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == STALE
    assert "Assembler.needed_offset is gone" in done.stderr


def test_a_seed_gives_the_same_schedule_of_at_least_fifty_faults() -> None:
    for faults in (ONE_BROKER, THREE_BROKERS):
        order = schedule(faults, random.Random(5))
        assert order == schedule(faults, random.Random(5))
        assert order != schedule(faults, random.Random(6))
        assert len(order) >= 50


def test_figures_are_as_told() -> None:
    assert percentile([3.0, 1.0, 2.0], 95) == 3.0
    assert percentile(list(range(1, 101)), 95) == 95
    slope, noise = slope_of([(60.0 * minute, 100 + minute / 60) for minute in range(10)])
    assert slope == pytest.approx(1.0)
    assert noise < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_bad_tile_is_refused_in_process(kind: str) -> None:
    from streamproc.operators.pixels import decode

    for number in range(20):
        value, headers = KINDS[kind](number, random.Random(number))
        with pytest.raises(BadMessage):
            _handle(value, headers, decode)


@pytest.mark.parametrize("make", [png_bomb, jpeg_bomb])
def test_a_bomb_passes_for_a_small_tile_and_is_small(make: Callable[[], Any]) -> None:
    bomb = make()
    assert len(bomb.value) < 100_000
    header = wire.read_tile_header(bomb.headers)
    wire.check_tile(header, bomb.value, max_frame_pixels=2**27)


def _handle(value: bytes, headers: Any, decode: Callable[..., Any]) -> None:
    header = wire.read_tile_header(headers)
    wire.check_tile(header, value, max_frame_pixels=2**27)
    rect = header.rect
    decode(value, codec=header.codec, pixel_format=header.pixel_format, width=rect.width, height=rect.height)
