"""A picture that crashes or hangs the decoder costs itself; all others come out as without the child process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.decoding import Decoder
from streamproc.errors import BadMessage, DecoderError
from streamproc.model import Codec, PixelFormat, Pixels
from streamproc.operators.pixels import decode, encode
from tests.waiting import wait_until

# A child in which pictures of certain sizes break native code: a null pointer read, an abort, a sleep in C.
BROKEN = """
import ctypes, os
import streamproc.decoding.child as child
sound = child.decode_picture
def decode_picture(payload, codec, shape):
    if shape[0] == 11: ctypes.string_at(0)
    if shape[0] == 12: os.abort()
    if shape[0] == 13: ctypes.CDLL(None).sleep(600)
    if shape[0] == 14 and not os.path.exists(os.environ["STREAMPROC_TEST_ONCE"]):
        open(os.environ["STREAMPROC_TEST_ONCE"], "w").close()
        os._exit(3)
    return sound(payload, codec, shape)
child.decode_picture = decode_picture
child.main()
"""


def picture(rows: int = 24, columns: int = 40, channels: int = 3, *, seed: int = 1) -> Pixels:
    shape = (rows, columns) if channels == 1 else (rows, columns, channels)
    return np.random.default_rng(seed).integers(0, 255, shape, np.uint8)


def asked(pixels: Pixels, codec: Codec = "png") -> dict[str, Any]:
    pixel_format: PixelFormat = "gray8" if pixels.ndim == 2 else "bgr8"
    return {"codec": codec, "pixel_format": pixel_format, "width": pixels.shape[1], "height": pixels.shape[0]}


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(timeout_s=20, max_pixels=2**24) as made:
        yield made


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Decoder, list[str]]]:
    monkeypatch.setenv("STREAMPROC_TEST_ONCE", str(tmp_path / "once"))
    lost: list[str] = []
    command = (sys.executable, "-c", BROKEN)
    with Decoder(timeout_s=2, max_pixels=2**24, ended=lost.append, command=command) as made:
        yield made, lost


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 300),
    columns=st.integers(1, 300),
    channels=st.sampled_from([1, 3]),
    codec=st.sampled_from(["png", "jpeg", "raw"]),
)
def test_pixels_are_those_of_decoding_in_this_process(
    decoder: Decoder, rows: int, columns: int, channels: int, codec: Codec
) -> None:
    pixels = picture(rows, columns, channels)
    payload, promise = encode(pixels, codec), asked(pixels, codec)
    assert np.array_equal(decoder.decode(payload, **promise), decode(payload, **promise))


def test_a_picture_larger_than_all_before_finds_room(decoder: Decoder) -> None:
    for side in (16, 2000, 16, 2300):
        pixels = picture(side, side)
        assert np.array_equal(decoder.decode(encode(pixels, "png"), **asked(pixels)), pixels)


@pytest.mark.parametrize("codec", ["png", "jpeg"])
def test_every_broken_payload_is_refused_for_the_same_reason(decoder: Decoder, codec: Codec) -> None:
    pixels = picture()
    whole, promise = encode(pixels, codec), asked(pixels, codec)
    reasons = []
    for cut in [*range(0, len(whole), 97), len(whole)]:
        payload = whole[:cut] + bytes(len(whole) - cut) if cut % 2 else whole[:cut]
        found = [_outcome(one, payload, promise) for one in (decoder.decode, decode)]
        assert found[0] == found[1]
        reasons.append(found[0])
    assert any(isinstance(reason, tuple) for reason in reasons)


def _outcome(how: Any, payload: bytes, promise: dict[str, Any]) -> object:
    try:
        return how(payload, **promise).tobytes()
    except BadMessage as error:
        return error.reason, error.detail


def test_a_bomb_is_refused_from_its_header_without_a_child() -> None:
    with Decoder(timeout_s=5, max_pixels=2**24, command=("/nonexistent",)) as unused:
        bomb = encode(picture(100, 100), "png")
        bomb = bomb[:16] + (20_000).to_bytes(4, "big") * 2 + bomb[24:]
        with pytest.raises(BadMessage, match="promised 100x100 pixels, the payload has 20000x20000"):
            unused.decode(bomb, codec="png", pixel_format="bgr8", width=100, height=100)


@pytest.mark.parametrize(("rows", "died"), [(11, "SIGSEGV"), (12, "SIGABRT")])
def test_a_picture_that_kills_the_decoder_costs_itself_alone(
    broken: tuple[Decoder, list[str]], rows: int, died: str
) -> None:
    decoder, lost = broken
    good, bad = picture(24), picture(rows)
    assert np.array_equal(decoder.decode(encode(good, "png"), **asked(good)), good)
    with pytest.raises(BadMessage, match=f"the decoder died of it, 2 times .signal {died}.") as refused:
        decoder.decode(encode(bad, "png"), **asked(bad))
    assert refused.value.reason == "decode"
    assert lost == ["crash", "crash"]
    assert np.array_equal(decoder.decode(encode(good, "png"), **asked(good)), good)


def test_a_decoder_that_died_of_something_else_is_replaced_and_the_picture_decoded(
    broken: tuple[Decoder, list[str]],
) -> None:
    decoder, lost = broken
    pixels = picture(14)
    assert np.array_equal(decoder.decode(encode(pixels, "png"), **asked(pixels)), pixels)
    assert lost == ["crash"]


def test_a_picture_that_hangs_in_native_code_is_given_up_in_time(broken: tuple[Decoder, list[str]]) -> None:
    decoder, lost = broken
    good, bad = picture(24), picture(13)
    decoder.decode(encode(good, "png"), **asked(good))
    started = time.monotonic()
    with pytest.raises(BadMessage, match="decode: png: not decoded within 2 s"):
        decoder.decode(encode(bad, "png"), **asked(bad))
    assert time.monotonic() - started < 8
    assert lost == ["timeout"]
    assert np.array_equal(decoder.decode(encode(good, "png"), **asked(good)), good)


def test_a_child_that_cannot_start_is_no_fault_of_the_picture() -> None:
    pixels = picture()
    with (
        Decoder(timeout_s=2, max_pixels=2**24, command=(sys.executable, "-c", "raise SystemExit(9)")) as decoder,
        pytest.raises(DecoderError, match=r"does not start \(exit status 9\)"),
    ):
        decoder.decode(encode(pixels, "png"), **asked(pixels))


def test_raw_pixels_need_no_child() -> None:
    pixels = picture()
    with Decoder(timeout_s=2, max_pixels=2**24, command=("/nonexistent",)) as decoder:
        assert np.array_equal(decoder.decode(pixels.tobytes(), **asked(pixels, "raw")), pixels)


def test_a_child_ends_with_its_parent() -> None:
    program = (
        "import os, signal\n"
        "from streamproc.decoding import Decoder\n"
        "from tests.decoding.test_decoder import asked, encode, picture\n"
        "decoder, pixels = Decoder(timeout_s=20, max_pixels=2**24), picture()\n"
        "decoder.decode(encode(pixels, 'png'), **asked(pixels))\n"
        "os.write(1, b'%d\\n' % decoder._child.pid)\n"
        "signal.pause()\n"
    )
    read, write = os.pipe()
    parent = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    with os.fdopen(read, "rb") as output:
        child = int(output.readline())
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not Path(f"/proc/{child}").exists() or _state(child) == "Z", "the child is gone", timeout_s=10)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_decoders_of_several_threads_do_not_meet() -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        with Decoder(timeout_s=20, max_pixels=2**24) as decoder:
            for number in range(40):
                pixels = picture(30 + seed, 50, seed=100 * seed + number)
                if not np.array_equal(decoder.decode(encode(pixels, "png"), **asked(pixels)), pixels):
                    wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
