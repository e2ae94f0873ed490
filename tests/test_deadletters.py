"""Dead letters: kept untouched, read without surprise, drawn in a child, sent back with their count of attempts."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from dataclasses import replace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import wire
from streamproc.agents import guard
from streamproc.deadletters import Letter, Place, read_letter
from streamproc.deadletters.box import wanted
from streamproc.deadletters.letter import newer, parse_place, plain, why_not
from streamproc.deadletters.picture import draw, judge
from streamproc.decoding import decoder
from streamproc.errors import BadMessage, UsageError
from streamproc.letterhead import deadletter_headers, redrive_headers
from streamproc.metrics import Metrics
from streamproc.model import Codec, FrameKey, TileHeader
from streamproc.operators.pixels import decode, encode
from streamproc.reader import Record
from streamproc.topics import MAX_DEADLETTER_BYTES, Topics
from tests.agents.fakes import SentBatch, batch_of, message
from tests.cli import streamproc
from tests.features import features, tile_header

TOPICS = Topics("streamproc.")
raw_headers = st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=12)), max_size=6)


def record(value: bytes = b"", headers: wire.RawHeaders = (), **changes: Any) -> Record:
    """A record of the dead letters topic."""
    made = Record(
        topic="streamproc.deadletters",
        partition=3,
        offset=17,
        timestamp_ms=1_767_225_600_000,
        key=b"gate/run-1/0/0",
        value=value,
        headers=[(name, held or b"") for name, held in headers],
        nulls=frozenset(at for at, (_, held) in enumerate(headers) if held is None),
    )
    return replace(made, **changes)


def letter_of(header: TileHeader | None = None, **changes: Any) -> Letter:
    """The first letter of a tile."""
    told = deadletter_headers(
        wire.tile_headers(header or tile_header(camera="gate")),
        reason="decode",
        detail="png data is broken",
        stage="extract",
        origin=(TOPICS.tiles, 3, 41),
        published_ms=1_767_225_599_000,
    )
    return replace(read_letter(record(b"x", told)), **changes)


# --- what workers write -----------------------------------------------------------------------------------------------


@given(raw_headers.map(lambda found: [one for one in found if not one[0].startswith("dl_")]), st.integers(1, 4))
def test_a_record_keeps_its_headers_and_counts_its_attempts_however_often_it_comes_back(
    original: list[tuple[str, bytes | None]], times: int
) -> None:
    headers: wire.RawHeaders = original
    for attempt in range(1, times + 1):
        letter = deadletter_headers(
            headers,
            reason="decode",
            detail="broken",
            stage="extract",
            origin=("tiles", 3, 40 + attempt),
            published_ms=1000 * attempt,
        )
        named = dict(letter)
        assert letter[: len(original)] == original
        assert (named["dl_attempt"], named["dl_offset"]) == (str(attempt).encode(), str(40 + attempt).encode())
        assert (named["dl_first"], named["dl_first_ms"]) == (b"tiles:3:41", b"1000")
        assert len({name for name, _ in letter if name.startswith("dl_")}) == len(letter) - len(original)
        headers = redrive_headers(letter)
        assert [one for one in headers if not one[0].startswith("dl_")] == original
        assert len(headers) == len(original) + wire.REDRIVE_HEADERS


def test_a_redriven_tile_with_as_many_headers_as_are_read_is_still_read() -> None:
    full = [*wire.tile_headers(tile_header()), *[("x", b"")] * (wire.MAX_HEADERS - 3)]
    letter = deadletter_headers(full, reason="limits", detail="", stage="extract", origin=("tiles", 0, 0))
    back = [(name, value or b"") for name, value in redrive_headers(letter)]
    assert wire.read_tile_header(back) == wire.read_tile_header(full) == tile_header()


def dead(value: bytes | None, *, key: bytes | None, headers: wire.RawHeaders) -> dict[str, Any]:
    """What a worker sends to dead letters for a record."""
    refused = message(value, headers=cast("wire.Headers", list(headers)), partition=2, offset=9)
    refused.key = key
    batch = batch_of()
    bad = BadMessage("decode", "broken\udcff")
    guard.dead_letter(batch, refused, bad, stage="extract", topics=TOPICS, metrics=Metrics())
    (sent,) = cast("SentBatch", batch).sent
    return sent


def test_null_keys_values_and_headers_stay_null() -> None:
    sent = dead(None, key=None, headers=[("a", None), ("b", b"")])
    assert (sent["key"], sent["value"], sent["headers"][:2]) == (None, None, [("a", None), ("b", b"")])
    sent = dead(b"", key=b"", headers=[])
    assert (sent["key"], sent["value"]) == (b"", b"")


def test_a_record_that_is_too_large_keeps_all_but_its_value_and_says_so() -> None:
    tile = wire.tile_headers(tile_header())
    sent = dead(bytes(MAX_DEADLETTER_BYTES), key=b"k", headers=[*tile, ("dl_attempt", b"1")])
    named = dict(sent["headers"])
    assert (sent["value"], sent["key"], sent["headers"][:3]) == (None, b"k", tile)
    assert int(named["dl_truncated"]) > MAX_DEADLETTER_BYTES
    assert named["dl_attempt"] == b"2"
    letter = read_letter(record(headers=sent["headers"]))
    assert "too large" in (why_not(letter, max_attempts=3, topics=TOPICS, closed={}) or "")
    sent = dead(b"", key=None, headers=[("x", bytes(MAX_DEADLETTER_BYTES))])
    assert sum(len(value or b"") for _, value in sent["headers"]) < 2000


# --- reading them -----------------------------------------------------------------------------------------------------


def test_a_letter_says_what_whence_and_why() -> None:
    letter = letter_of(tile_header(camera="gate", sequence=7, index=3))
    assert (letter.reason, letter.detail, letter.stage, letter.attempt) == (
        "decode",
        "png data is broken",
        "extract",
        1,
    )
    assert str(letter.origin) == letter.lineage == "streamproc.tiles:3:41"
    assert (letter.camera, letter.frame) == ("gate", FrameKey("gate", "run-1", 7))
    told = letter.as_json()
    assert (told["id"], told["tile"], told["origin"]["offset"]) == ("3:17", [1, 1], 41)


def test_a_letter_of_features_knows_its_frame() -> None:
    value = wire.encode_features(features(index=2, camera="gate"))
    told = deadletter_headers([], reason="limits", detail="x", stage="assemble", origin=(TOPICS.features, 1, 2))
    assert read_letter(record(value, told)).frame == FrameKey("gate", "run-1", 0)
    assert read_letter(record(value[:-9], told)).camera == "gate"  # from the key


dl_names = st.sampled_from(
    ["dl_reason", "dl_detail", "dl_stage", "dl_topic", "dl_partition", "dl_offset", "dl_attempt", "dl_first", "tile"]
)


@given(
    st.lists(st.tuples(dl_names | st.text(max_size=9), st.binary(max_size=60)), max_size=12),
    st.binary(max_size=300),
    st.binary(max_size=60),
)
def test_hostile_letters_are_read_judged_and_told_without_surprise(
    headers: list[tuple[str, bytes]], value: bytes, key: bytes
) -> None:
    letter = read_letter(record(value, headers, key=key))
    for text in (letter.reason, letter.detail, letter.stage, letter.lineage, letter.camera or ""):
        assert text.isprintable()
    json.dumps(letter.as_json())
    why_not(letter, max_attempts=3, topics=TOPICS, closed={})
    assert judge(letter.tile, value, max_pixels=10**6).told


@given(st.binary() | st.text(), st.integers(2, 50))
def test_plain_text_is_printable_and_bounded(raw: bytes | str, limit: int) -> None:
    assert plain(raw, limit=limit).isprintable()
    assert len(plain(raw, limit=limit)) <= limit


def test_ids_are_partition_and_offset() -> None:
    assert parse_place("3:17") == Place(3, 17)
    assert str(Place(3, 17)) == "3:17"
    for text in ("3", "3:", "a:1", "-1:2", "1:2:3", "3: 4", "3:" + "9" * 30):
        with pytest.raises(UsageError, match="PARTITION:OFFSET"):
            parse_place(text)


def test_letters_are_chosen_by_camera_and_reason() -> None:
    letter = letter_of()
    assert wanted(camera=None, reason=None)(letter)
    assert wanted(camera="gate", reason="decode")(letter)
    assert not wanted(camera="door", reason=None)(letter)
    assert not wanted(camera=None, reason="checksum")(letter)


# --- whether they may go back -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"attempt": 2}, None),
        ({"attempt": 3}, "tried 3 times; the limit is 3"),
        ({"truncated_bytes": 10_000_000}, "10000000 bytes was too large"),
        ({"origin": None}, "does not say from which topic"),
        ({"tile": None}, None),
    ],
)
def test_a_letter_goes_back_unless_something_speaks_against_it(changes: dict[str, Any], words: str | None) -> None:
    found = why_not(letter_of(**changes), max_attempts=3, topics=TOPICS, closed={})
    assert (found is None) == (words is None)
    assert words is None or words in str(found)


def test_a_letter_never_goes_to_a_topic_that_no_worker_reads() -> None:
    letter = letter_of()
    assert letter.origin is not None
    other = replace(letter, origin=letter.origin._replace(topic="payments"))
    assert "payments" in (why_not(other, max_attempts=3, topics=TOPICS, closed={}) or "")
    assert why_not(letter, max_attempts=3, topics=Topics("other."), closed={}) is not None


def test_a_letter_whose_frame_has_its_event_stays() -> None:
    letter = letter_of()
    assert letter.frame is not None
    found = why_not(letter, max_attempts=3, topics=TOPICS, closed={letter.frame: "partial"})
    assert found == "frame gate/run-1/0 has its event already (partial): it stays so"


def test_of_letters_of_one_record_the_most_tried_and_then_the_last_counts() -> None:
    letter = letter_of()
    again, later = replace(letter, attempt=2, time_ms=1), replace(letter, time_ms=letter.time_ms + 1)
    assert newer(letter, again) is newer(again, letter) is again
    assert newer(letter, later) is newer(later, letter) is later


# --- drawing them -----------------------------------------------------------------------------------------------------


def tile(codec: Codec, **changes: Any) -> tuple[TileHeader, bytes, np.ndarray[Any, Any]]:
    header = tile_header(codec=codec, **changes)
    shape = (header.rect.height, header.rect.width)
    pixels = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint8)
    payload = encode(pixels, codec)
    return msgspec.structs.replace(header, payload_digest=wire.digest_payload(payload)), payload, pixels


@pytest.mark.parametrize("codec", ["png", "raw", "jpeg"])
def test_a_tile_is_drawn_as_its_header_promises(codec: Codec) -> None:
    header, payload, pixels = tile(codec)
    judged = judge(header, payload, max_pixels=10**6)
    assert judged.shape is not None
    drawn = draw(payload, judged.shape)
    height, width = pixels.shape
    shown = decode(drawn, "png", "gray8", width, height)
    assert np.abs(shown.astype(int) - pixels).max() <= (8 if codec == "jpeg" else 0)


def test_a_damaged_tile_is_drawn_as_far_as_it_can_be_and_told_to_be_damaged() -> None:
    header, payload, pixels = tile("png")
    other = msgspec.structs.replace(header, payload_digest=b"wrong!!!")
    judged = judge(other, payload, max_pixels=10**6)
    assert judged.told.startswith("checksum: ")
    assert judged.shape is not None
    assert draw(payload, judged.shape)
    unlike = judge(msgspec.structs.replace(other, codec="jpeg"), payload, max_pixels=10**6)
    assert unlike.shape == judged.shape
    assert "says of itself" in unlike.told
    alone = judge(None, payload, max_pixels=10**6)
    assert alone.shape == judged.shape
    assert pixels.shape == (judged.shape.height, judged.shape.width)


def bomb(width: int, height: int, *, padding: int = 0) -> bytes:
    """A PNG with too few pixels in it, so that it is huge when decoded, or broken."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    text = chunk(b"tEXt", bytes(padding)) if padding else b""
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (bomb(20_000, 20_000), "limits"),
        (b"", "neither png nor jpeg"),
        (b"hello", "neither png nor jpeg"),
        (b"\x89PNG\r\n\x1a\n", "first chunk"),
        (b"\xff\xd8\xff", "frame header"),
        (bomb(64, 48, padding=wire.MAX_PAYLOAD_BYTES), "length"),
    ],
)
def test_what_must_not_be_decoded_is_never_given_to_a_decoder(payload: bytes, words: str) -> None:
    for header in (None, tile("png")[0], msgspec.structs.replace(tile("png")[0], frame_width=70_000)):
        judged = judge(header, payload, max_pixels=10**8)
        assert (judged.shape, words in judged.told) == (None, True)


def test_broken_pictures_and_crashes_of_the_decoder_are_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bomb(64, 48)
    shape = judge(None, payload, max_pixels=10**6).shape
    assert shape is not None
    with pytest.raises(BadMessage, match="broken"):
        draw(payload, shape)
    crashing = "import os, socket, sys; socket.socket(fileno=int(sys.argv[1])).sendall(b'r'); os.abort()"
    monkeypatch.setattr(decoder, "COMMAND", (sys.executable, "-c", crashing))
    with pytest.raises(BadMessage, match="the decoder died of it"):
        draw(payload, shape)


# --- the commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "17"], ["'17'", "PARTITION:OFFSET"]),
        (["redrive"], ["--all"]),
        (["redrive", "3:17", "--all"], ["--all"]),
        (["redrive", "3:17", "--camera", "gate"], ["--camera", "--all"]),
        (["redrive", "3-17"], ["3-17", "PARTITION:OFFSET"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str], words: list[str]) -> None:
    done = streamproc("deadletters", *arguments, "--bootstrap", "127.0.0.1:1")
    assert done.code == 2
    assert all(word in done.error_line for word in words)
