"""What is written behind is written in order, waits within a bound, and fails where it is looked at."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.archive.behind import Behind
from tests.waiting import wait_until


@given(st.lists(st.binary(max_size=50), max_size=40), st.integers(1, 60))
def test_all_pieces_are_written_in_order(pieces: list[bytes], bound: int) -> None:
    written: list[bytes] = []
    behind = Behind(written.append, waiting_bytes=bound)
    for number, piece in enumerate(pieces):
        behind.put(piece)
        if number % 7 == 0:
            behind.drain()
            assert written == pieces[: number + 1]
    behind.drain()
    assert written == pieces


def test_no_more_waits_than_the_bound_and_what_is_forgotten_is_never_written() -> None:
    written: list[bytes] = []
    go = threading.Event()

    def write(piece: bytes) -> None:
        written.append(piece)
        go.wait(5)

    behind = Behind(write, waiting_bytes=10)
    behind.put(b"12345678901234")  # more than the bound, and nothing waits
    done = threading.Event()

    def put() -> None:
        behind.put(b"a")
        behind.put(b"b")
        done.set()

    putting = threading.Thread(target=put)
    putting.start()
    assert not done.wait(0.05)
    go.set()
    putting.join(5)
    behind.drain()
    assert (done.is_set(), written) == (True, [b"12345678901234", b"a", b"b"])

    go.clear()
    behind.put(b"c")
    wait_until(lambda: written[-1] == b"c", "c is being written", timeout_s=5)
    behind.put(b"d")
    threading.Timer(0.01, go.set).start()
    behind.abandon()
    behind.drain()
    assert written[-1] == b"c"


def test_what_fails_is_raised_by_the_next_call_and_nothing_is_written_behind_it() -> None:
    written: list[bytes] = []

    def write(piece: bytes) -> None:
        if piece == b"bad":
            raise OSError("disk full")
        written.append(piece)

    behind = Behind(write)
    for piece in (b"good", b"bad"):
        behind.put(piece)
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            behind.drain()
    with pytest.raises(OSError, match="disk full"):
        behind.put(b"more")
    behind.abandon()
    assert written == [b"good"]
