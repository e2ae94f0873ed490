"""What reads tiles of a camera of which only changed ones are sent: evidence, verifier, retrieval."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from producers.changed_only import ChangedOnly
from producers.publish import publish
from streamproc import wire
from streamproc.evidence import Sources, look
from streamproc.ledger import Ledger, LedgerWriter, read_ledger
from streamproc.model import FrameKey
from streamproc.reader import Record
from streamproc.references import fetch_from
from streamproc.retrieval.frames import FrameReader, WantedFrame
from streamproc.retrieval.store import Source
from streamproc.settings import load_settings
from streamproc.verify.pixels import PixelCheck, PixelReport, check_all
from tests.producers.material import SETTINGS
from tests.producers.replayed import TOPIC, MemorySource
from tests.producers.senders import MemorySender
from tests.producers.test_changed_only import GRID, SIZE, Clip, scene

FRAMES = 20


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], Ledger]:
    """Records and ledger of a short clip."""
    sender, file = MemorySender(prompt=True), tmp_path_factory.mktemp("ledger") / "ledger"
    with LedgerWriter(file) as ledger:
        publish(
            Clip(FRAMES),
            SETTINGS,
            camera="cam",
            run="r1",
            partitions=4,
            codec="raw",
            grid=GRID,
            fps="max",
            changed=ChangedOnly(level=0.0),
            sender=sender,
            ledger=ledger,
        )
    records = [
        Record(
            topic=TOPIC,
            partition=one.partition,
            offset=one.offset,
            timestamp_ms=one.header.captured_ns // 10**6,
            key=one.key,
            value=one.value,
            headers=wire.tile_headers(one.header),
        )
        for one in sender.records
    ]
    return records, read_ledger(file)


def event_of(records: list[Record], sequence: int) -> dict[str, Any]:
    """The part of a frame's event that says where its tiles are."""
    offsets: dict[str, list[int]] = {}
    for record in records:
        if wire.read_tile_header(record.headers).sequence == sequence:
            span = offsets.setdefault(str(record.partition), [record.offset, record.offset])
            span[1] = record.offset
    evidence = {"topic": TOPIC, "offsets": offsets}
    return {"camera": "cam", "run": "r1", "sequence": sequence, "evidence": evidence, "missing_tiles": []}


def test_evidence_has_the_pixels_of_a_frame_most_of_which_stands_elsewhere(
    sent: tuple[list[Record], Ledger],
) -> None:
    records, _ = sent
    source = MemorySource(records)
    sights = look(
        Sources([("the log", lambda _topic: nullcontext(source))]),
        [event_of(records, sequence) for sequence in (0, 13)],
        max_frame_pixels=10**6,
    )
    for sight, sequence in zip(sights, (0, 13), strict=True):
        assert sight.seen is not None
        assert (sight.lost, sight.told) == ((), ())
        assert np.array_equal(sight.seen.pixels, scene(sequence))


def test_evidence_says_what_is_gone_with_the_tile_that_was_named(sent: tuple[list[Record], Ledger]) -> None:
    records, _ = sent
    kept = [one for one in records if wire.read_tile_header(one.headers).sequence > 0]
    source = MemorySource(kept)
    (sight,) = look(
        Sources([("the log", lambda _topic: nullcontext(source))]), [event_of(records, 13)], max_frame_pixels=10**6
    )
    assert sight.seen is not None
    assert 0 < len(sight.lost) < GRID.count
    assert any("which is no longer kept" in line for line in sight.told)


def check(records: list[Record], ledger: Ledger, *, held_bytes: int) -> PixelReport:
    source = MemorySource(records)
    pixels = PixelCheck(ledger, max_frame_pixels=10**6, held_bytes=held_bytes, fetch=fetch_from(MemorySource(records)))
    return check_all(pixels, source.read, {number: source.bounds(number) for number in source.partitions()}, cut=False)


@pytest.mark.parametrize("held_bytes", [1, 10**9])
def test_the_verifier_puts_such_frames_together(sent: tuple[list[Record], Ledger], held_bytes: int) -> None:
    records, ledger = sent
    report = check(records, ledger, held_bytes=held_bytes)
    assert (report.checked, report.wrong) == (FRAMES, ())


@pytest.mark.parametrize("held_bytes", [1, 10**9])
def test_the_verifier_finds_a_tile_that_names_other_pixels(sent: tuple[list[Record], Ledger], held_bytes: int) -> None:
    records, ledger = sent

    def misled(record: Record) -> Record:
        header = wire.read_tile_header(record.headers)
        if (header.sequence, header.same_as is None) != (13, False):
            return record
        changed = msgspec.structs.replace(header, same_as=(header.same_as or 0) + 1)
        return replace(record, headers=wire.tile_headers(changed))

    report = check([misled(record) for record in records], ledger, held_bytes=held_bytes)
    assert [key.sequence for key, _ in report.wrong] == [13]


def test_retrieval_reads_such_frames(
    sent: tuple[list[Record], Ledger], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    records, _ = sent
    source = MemorySource(records)
    monkeypatch.setattr("streamproc.retrieval.frames.TopicReader", lambda _settings, _topic: nullcontext(source))

    def wanted() -> Iterator[WantedFrame]:
        for sequence in (3, 17):
            offsets = {name: tuple(span) for name, span in event_of(records, sequence)["evidence"]["offsets"].items()}
            place = Source(topic=TOPIC, offsets=offsets)
            yield WantedFrame(key=FrameKey("cam", "r1", sequence), width=SIZE[1], height=SIZE[0], source=place)

    with FrameReader(load_settings()) as reader:
        found = dict(reader.read(list(wanted())))
    for at, sequence in enumerate((3, 17)):
        pixels = found[at]
        assert pixels is not None
        assert np.array_equal(pixels, scene(sequence))
