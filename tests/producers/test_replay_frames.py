"""What was begun, what is whole, what is missing, and for how long the rest is worth waiting for."""

from __future__ import annotations

from producers.replay_frames import FRAME_MS, REMEMBERED, FrameBook
from tests.features import tile_header


def test_a_frame_is_whole_with_its_last_tile_and_a_tile_more_is_a_duplicate() -> None:
    book = FrameBook()
    for index in (0, 1, 1, 2):
        book.add(tile_header(index=index), moment_ms=100)
    assert (book.begun, book.complete, book.duplicates) == (1, 0, 1)
    assert [(key.sequence, frame.missing) for key, frame in book.incomplete()] == [(0, 1)]
    book.add(tile_header(index=3), moment_ms=100)
    book.add(tile_header(index=0), moment_ms=90_000)
    assert (book.begun, book.complete, book.duplicates) == (1, 1, 2)
    assert book.incomplete() == []
    assert book.knows(tile_header().key)


def test_a_frame_with_a_tile_missing_is_waited_for_as_long_as_tiles_of_a_frame_are_apart() -> None:
    book = FrameBook()
    assert not book.finishing(0)
    book.add(tile_header(), moment_ms=1_000)
    assert book.finishing(1_000 + FRAME_MS)
    assert not book.finishing(1_001 + FRAME_MS)


def test_memory_does_not_grow_with_the_frames() -> None:
    book = FrameBook()
    for sequence in range(REMEMBERED + 10):
        book.add(tile_header(sequence=sequence), moment_ms=sequence)
    assert len(book.incomplete()) == REMEMBERED
    assert book.begun - book.complete == REMEMBERED + 10
