"""Pictures out of streams of bytes: exact for what is right, bounded for what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.sources.headers import BrokenPicture
from producers.sources.http1 import Answer, BodyReader, read_head
from producers.sources.jpeg import BadStream, JpegSplitter, decode_jpeg, most_bytes
from producers.sources.multipart import MultipartParser, boundary_of
from tests.cameras.mjpeg import claiming, jpeg
from tests.producers.material import picture

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = [jpeg(number) for number in range(4)]
MOST = 100_000


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """`data` cut at these sizes, again and again."""
    at, index = 0, 0
    while at < len(data):
        size = sizes[index % len(sizes)]
        yield data[at : at + size]
        at, index = at + size, index + 1


def drained(parser: MultipartParser | JpegSplitter, data: bytes, sizes: list[int]) -> list[bytes]:
    found = []
    for piece in pieces(data, sizes):
        parser.feed(piece)
        while (one := parser.next()) is not None:
            found.append(one)
    return found


def with_thumbnail(data: bytes) -> bytes:
    """The same picture with a whole JPEG inside an application segment."""
    inner = b"Exif\0\0" + PICTURES[0]
    return data[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]


cuts = st.lists(st.integers(1, 3000), min_size=1, max_size=5)
odd = st.binary(max_size=200).map(lambda data: data.replace(b"\xff", b"\x00"))


@given(cuts, st.lists(st.tuples(odd, st.integers(0, 3)), max_size=5), odd)
def test_pictures_are_found_at_their_own_markers_however_the_stream_is_cut(
    sizes: list[int], parts: list[tuple[bytes, int]], tail: bytes
) -> None:
    pictures = [with_thumbnail(PICTURES[index]) if index % 2 else PICTURES[index] for _, index in parts]
    stream = b"".join(between + one for (between, _), one in zip(parts, pictures, strict=True)) + tail
    splitter = JpegSplitter(MOST)
    assert drained(splitter, stream, sizes) == pictures
    assert splitter.empty


def multipart(pictures: list[bytes], *, lengths: bool, end: bytes, preamble: bytes) -> bytes:
    parts = [preamble]
    for one in pictures:
        length = b"Content-Length: %d" % len(one) + end if lengths else b""
        parts += [b"--b" + end + b"Content-Type: image/jpeg" + end + length + end, one, end]
    return b"".join([*parts, b"--b--", end])


@given(
    cuts,
    st.lists(st.integers(0, 3), max_size=5),
    st.booleans(),
    st.sampled_from([b"\r\n", b"\n"]),
    st.binary(max_size=100),
)
def test_parts_are_found_however_the_stream_is_cut(
    sizes: list[int], numbers: list[int], lengths: bool, end: bytes, preamble: bytes
) -> None:
    preamble = preamble.replace(b"-", b"+")
    pictures = [PICTURES[number] for number in numbers]
    parser = MultipartParser(b"b", most=MOST)
    stream = multipart(pictures, lengths=lengths, end=end, preamble=preamble + end)
    assert drained(parser, stream, sizes) == pictures
    assert parser.ended


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=400),
            st.sampled_from([b"--b\r\n", b"\r\n\r\n", b"Content-Length: 7\r\n", *PICTURES[:1], b"--b--"]),
        )
    ),
    cuts,
)
def test_no_bytes_break_the_parser_and_its_memory_is_bounded(parts: list[bytes], sizes: list[int]) -> None:
    for parser in (MultipartParser(b"b", most=2000), JpegSplitter(2000)):
        try:
            for one in drained(parser, b"".join(parts), sizes):
                assert len(one) <= 2000
        except BadStream as error:
            assert "\n" not in str(error)  # noqa: PT017 - or nothing was wrong


def fed_until_refused(parser: MultipartParser, blocks: list[bytes]) -> int:
    fed = 0
    for block in blocks:
        try:
            parser.next()
        except BadStream:
            return fed
        parser.feed(block)
        fed += len(block)
    pytest.fail(f"nothing was refused in {fed} bytes")


def test_what_never_ends_is_refused_before_it_fills_memory() -> None:
    zeros = [b"\0" * 10_000] * 100
    for beginning in (b"", b"--b\r\nX: ", b"--b\r\n\r\n", b"--b\r\n\r\n\xff\xd8\xff\xda\0\2"):
        parser = MultipartParser(b"b", most=100_000)
        parser.feed(beginning)
        assert fed_until_refused(parser, zeros) <= 120_000


@pytest.mark.parametrize("head", [b"Content-Length: 999999\r\n", b"Content-Length: 9999999999\r\n"])
def test_a_part_that_claims_too_much_is_refused_by_its_head(head: bytes) -> None:
    parser = MultipartParser(b"b", most=100_000)
    parser.feed(b"--b\r\n" + head + b"\r\n")
    with pytest.raises(BadStream, match="the limit is 100000"):
        parser.next()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=abc", b"abc"),
        ('multipart/x-mixed-replace;boundary="--a b"', b"a b"),
        ("multipart/x-mixed-replace; charset=x; BOUNDARY = --abc", b"abc"),
    ],
)
def test_boundaries_as_cameras_write_them(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["multipart/x-mixed-replace", "multipart/x-mixed-replace; boundary=--"])
def test_no_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(BadStream, match="no boundary"):
        boundary_of(content_type)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), cuts)
def test_chunks_are_undone_however_they_are_cut(chunks: list[bytes], sizes: list[int]) -> None:
    coded = b"".join(b"%X;x=y\r\n" % len(chunk) + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    body = BodyReader(Answer(status=200, fields={"transfer-encoding": "chunked"}))
    assert b"".join(body.feed(piece) for piece in pieces(coded, sizes)) == b"".join(chunks)
    assert body.ended


@given(st.binary(max_size=500))
def test_any_head_is_read_or_refused(data: bytes) -> None:
    for beginning in (b"", b"HTTP/1.1 200 OK\r\n"):
        try:
            found = read_head(beginning + data)
        except BadStream:
            continue
        if found is not None:
            assert 0 < found[1] <= len(beginning + data)


def test_a_length_ends_a_body() -> None:
    body = BodyReader(Answer(status=200, fields={"content-length": "5"}))
    assert body.feed(b"abc") + body.feed(b"defg") == b"abcde"
    assert body.ended


def test_pixels_are_those_of_the_picture_and_grey_stays_grey() -> None:
    for channels in (1, 3):
        pixels = picture(64, 48, channels=channels)
        done, data = cv2.imencode(".jpg", pixels)
        assert done
        expected = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert expected is not None
        assert np.array_equal(decode_jpeg(data.tobytes(), max_pixels=10_000), expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not"),
        (PICTURES[0][:300], "cut short|no frame header"),
        (claiming(60_000, 60_000), "60000x60000"),
        (claiming(0, 10), "0x10"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "png"),
    ],
)
def test_what_is_no_picture_is_refused_before_it_is_decoded(data: bytes, words: str) -> None:
    with pytest.raises(BrokenPicture, match=words):
        decode_jpeg(data, max_pixels=1_000_000)


def test_the_longest_picture_is_bounded() -> None:
    assert most_bytes(1000) == 3000 + 65_536
    assert most_bytes(2**27) == 64 * 2**20
