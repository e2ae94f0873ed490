"""The wire: what comes back is what went in, and what is wrong is refused before any pixel is decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import cloudevents, wire
from streamproc.errors import BadMessage
from streamproc.model import Evidence, FrameEvent, FrameKey, TileHeader
from tests.features import tile_header
from tests.golden import FOLDER, Golden, messages

FILES = sorted(FOLDER.glob("*.msgpack"))
EARLIER = sorted((FOLDER / "earlier").glob("*.msgpack"))
LIMIT = 2**27


def _read(path: Path) -> Golden:
    return msgspec.msgpack.decode(path.read_bytes(), type=Golden)


def _judge(message: Golden) -> None:
    if message.kind == "tile":
        header = wire.read_tile_header(message.headers)
        wire.check_tile(header, message.value, max_frame_pixels=LIMIT)
    else:
        wire.decode_features(message.value)


@pytest.mark.parametrize("path", [*FILES, *EARLIER], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_messages_are_read_or_refused_as_they_always_were(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_decoding(*_args: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(cv2, "imdecode", no_decoding)
    message = _read(path)
    if message.expect == "ok":
        _judge(message)
        return
    with pytest.raises(BadMessage) as refused:
        _judge(message)
    assert refused.value.reason == message.expect


def test_every_golden_message_is_stored_and_today_s_code_still_writes_the_same() -> None:
    assert {path.stem for path in FILES} == set(messages())
    assert EARLIER
    for name, message in messages().items():
        assert _read(FOLDER / f"{name}.msgpack") == message, name


@given(
    st.binary(min_size=1, max_size=2000),
    st.integers(0, 2**40),
    st.text("abcXYZ019._-", min_size=1, max_size=30).filter(lambda name: name[0].isalnum()),
)
def test_a_tile_header_comes_back_as_it_went(payload: bytes, sequence: int, camera: str) -> None:
    header = tile_header(
        sequence=sequence,
        camera=camera,
        codec="png",
        payload_digest=wire.digest_payload(payload),
        preview=True,
    )
    found = wire.read_tile_header(wire.tile_headers(header))
    wire.check_tile(found, payload, max_frame_pixels=LIMIT)
    assert found == header


@given(st.binary(max_size=600))
def test_any_bytes_as_a_header_are_refused_with_a_reason_and_never_crash(junk: bytes) -> None:
    with pytest.raises(BadMessage):
        wire.read_tile_header([("tile", junk)])


@given(st.binary(max_size=600))
def test_any_bytes_as_features_are_refused_with_a_reason_and_never_crash(junk: bytes) -> None:
    with pytest.raises(BadMessage):
        wire.decode_features(junk)


def test_every_flipped_bit_of_a_payload_is_noticed() -> None:
    header, value = tile_header(codec="png"), bytes(range(200))
    header = msgspec.structs.replace(header, payload_digest=wire.digest_payload(value))
    for position in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(BadMessage, match="checksum"):
            wire.check_tile(header, bytes(flipped), max_frame_pixels=LIMIT)


def test_frames_of_equal_bytes_and_another_shape_have_another_digest() -> None:
    pixels = np.zeros((4, 6), np.uint8)
    assert wire.digest_frame(pixels) != wire.digest_frame(pixels.reshape(6, 4))
    assert wire.digest_frame(pixels) == wire.digest_frame(np.zeros((8, 12), np.uint8)[::2, ::2])


def _event(**changes: object) -> FrameEvent:
    event = FrameEvent(
        camera="gate-1",
        run="file-1",
        sequence=7,
        captured_ns=1_767_225_600_123_456_789,
        emitted_ns=1_767_225_600_223_456_789,
        width=40,
        height=36,
        outcome="complete",
        coverage=1.0,
        missing_tiles=[],
        edges=None,
        features={},
        objects=[],
        evidence=Evidence(topic="streamproc.tiles", offsets={"3": (41, 44)}, pipeline="p", operators={}),
        latency_ms={"total": 100.0},
    )
    return msgspec.structs.replace(event, **changes)


def test_an_event_is_a_cloudevent_whose_id_depends_on_what_it_says_alone() -> None:
    headers, value = cloudevents.encode_frame_event(_event())
    again, _ = cloudevents.encode_frame_event(_event(emitted_ns=5, latency_ms={}))
    named = dict(headers)
    assert named["ce_specversion"] == b"1.0"
    assert named["ce_type"] == b"io.streamproc.frame.v1"
    assert named["ce_source"] == b"/cameras/gate-1"
    assert named["ce_subject"] == b"file-1/7"
    assert named["ce_time"] == b"2026-01-01T00:00:00.123456Z"
    assert named["ce_id"] == dict(again)["ce_id"]
    assert cloudevents.event_key(headers) == FrameKey("gate-1", "file-1", 7)
    assert cloudevents.decode_frame_event(value) == _event()
    structured = cloudevents.structured_event(headers, value)
    assert structured["id"] == named["ce_id"].decode()
    assert structured["data"]["sequence"] == 7


@pytest.mark.parametrize("changes", [{"camera": "gate-2"}, {"run": "file-2"}, {"sequence": 8}])
def test_another_frame_has_another_event_id(changes: dict[str, object]) -> None:
    one, other = cloudevents.encode_frame_event(_event())[0], cloudevents.encode_frame_event(_event(**changes))[0]
    assert dict(one)["ce_id"] != dict(other)["ce_id"]


def test_a_header_of_another_type_is_no_tile_header() -> None:
    with pytest.raises(BadMessage, match="envelope"):
        wire.read_tile_header([("tile", msgspec.msgpack.encode({"schema": 1}))])
    assert isinstance(tile_header(), TileHeader)
