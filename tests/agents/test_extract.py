"""The extract agent's work: features for good tiles, a dead letter with its reason for every other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import cv2
import msgspec
import numpy as np
import pytest

from streamproc import wire
from streamproc.agents.batches import Batch
from streamproc.agents.extract import Extractor, thumbnail_scale
from streamproc.errors import BrokerError, DeliveryError
from streamproc.metrics import Metrics
from streamproc.model import Features, Grid, TileHeader
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pipeline_file import parse
from streamproc.operators.pixels import decode, encode
from streamproc.operators.table import Window
from streamproc.reader import Record
from streamproc.settings import load_settings
from streamproc.topics import camera_partition
from tests.agents.fakes import SentBatch, batch_of, message, tile_message
from tests.features import tile_header

EDGES = parse('[[step]]\noperator = "canny"\nname = "edges"\n[[step]]\noperator = "statistics"\n')


@pytest.fixture
def extractor() -> Iterator[Extractor]:
    made = Extractor(settings=load_settings(), pipeline=EDGES, partitions=8, metrics=Metrics())
    yield made
    made.close()


def good_tile(index: int = 0, **changes: Any) -> tuple[TileHeader, bytes]:
    header = tile_header(index=index, **{"codec": "png", **changes})
    pixels = np.random.default_rng(index).integers(0, 255, (header.rect.height, header.rect.width), np.uint8)
    payload = encode(pixels, "png") if header.codec == "png" else pixels.tobytes()
    return msgspec.structs.replace(header, payload_digest=wire.digest_payload(payload)), payload


def run(extractor: Extractor, batch: Batch) -> SentBatch:
    extractor(batch)
    return cast("SentBatch", batch)


def features_of(record: dict[str, Any]) -> Features:
    return wire.decode_features(record["value"])


def test_a_good_tile_becomes_features_that_say_where_it_came_from(extractor: Extractor) -> None:
    header, payload = good_tile(index=2)
    batch = run(extractor, batch_of(tile_message(header, payload, partition=5, offset=77)))
    (record,) = batch.sent
    found = features_of(record)
    assert record["topic"] == "streamproc.features"
    assert record["partition"] == camera_partition("cam", 8)
    assert (found.tile, found.partition, found.offset) == (header, 5, 77)
    assert found.published_ns == 1_700_000_000_500_000_000
    assert found.started_ns <= found.finished_ns
    assert (found.pipeline, found.operators) == (EDGES.digest, EDGES.operators)
    assert set(found.results) == {"edges", "statistics"}
    assert found.refusal is None
    assert found.thumbnail == b""


def test_a_tile_chosen_for_previews_carries_a_thumbnail_of_its_core(extractor: Extractor) -> None:
    header, payload = good_tile(index=3, preview=True)
    (record,) = run(extractor, batch_of(tile_message(header, payload))).sent
    found = features_of(record)
    assert found.thumbnail_scale == 1
    core = decode(payload, header.codec, "gray8", header.rect.width, header.rect.height)[
        header.core.within(header.rect)
    ]
    seen = decode(found.thumbnail, found.thumbnail_codec, "gray8", header.core.width, header.core.height)
    assert cv2.PSNR(seen, core) > 28  # of noise


@pytest.mark.parametrize(
    ("changes", "payload", "reason"),
    [
        ({"payload_digest": b"wrong..."}, None, "checksum"),
        ({"frame_width": 70_000}, None, "limits"),
        ({"halo": 1}, None, "halo"),
        ({"codec": "raw"}, b"too short", "length"),
        ({}, b"\x89PNG\r\n\x1a\n broken", "decode"),
        ({}, b"plain text", "codec"),
    ],
)
def test_a_bad_tile_is_a_dead_letter_and_its_frame_is_told(
    extractor: Extractor, changes: dict[str, Any], payload: bytes | None, reason: str
) -> None:
    header, body = good_tile(**({"halo": 1} if "halo" in changes else {}))
    if payload is not None:
        body = payload
        header = msgspec.structs.replace(header, payload_digest=wire.digest_payload(body))
    header = msgspec.structs.replace(header, **changes)
    batch = run(extractor, batch_of(tile_message(header, body, partition=3, offset=9)))
    (letter,) = batch.on("deadletters")
    named = dict(letter["headers"])
    assert named["dl_reason"].decode() == reason
    assert (named["dl_topic"], named["dl_partition"], named["dl_offset"]) == (b"streamproc.tiles", b"3", b"9")
    assert (letter["partition"], letter["value"], letter["key"]) == (3, body, b"key")
    assert letter["headers"][:3] == wire.tile_headers(header)
    if header.frame_width < 65_536:
        (record,) = batch.on("features")
        refusal = features_of(record).refusal
        assert refusal is not None
        assert refusal.reason == reason
    else:  # the aggregator would refuse that frame, with a second dead letter
        assert batch.on("features") == []


def naming(header: TileHeader, offset: int, **changes: Any) -> TileHeader:
    return msgspec.structs.replace(
        header, schema=wire.REFERENCE_SCHEMA, base=False, same_as=offset, **{"sequence": 9, **changes}
    )


def counted(extractor: Extractor, name: str) -> float | None:
    return extractor.metrics.registry.get_sample_value(name)


def test_a_tile_that_refers_to_another_has_its_results_without_work(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, payload = good_tile(base=True)
    messages = [tile_message(header, payload, partition=3, offset=40)]
    messages += [tile_message(naming(header, 40, sequence=at), b"", partition=3, offset=at) for at in (50, 51)]
    runs: list[int] = []
    run_pipeline = Pipeline.run

    def run_noted(self: Pipeline, window: Window, sequence: int) -> Any:
        runs.append(sequence)
        return run_pipeline(self, window, sequence)

    monkeypatch.setattr(Pipeline, "run", run_noted)
    first, *others = [features_of(record) for record in run(extractor, batch_of(*messages)).sent]
    assert runs == [header.sequence]
    for at, other in zip((50, 51), others, strict=True):
        assert (other.tile.sequence, other.partition, other.offset) == (at, 3, at)
        assert other.results == first.results
    assert counted(extractor, "streamproc_tiles_recalled_total") == 2


def test_results_that_are_not_due_on_each_frame_are_worked_out_when_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = parse('[[step]]\noperator = "canny"\nname = "edges"\n[[step]]\noperator = "statistics"\nevery = 5\n')
    extractor = Extractor(settings=load_settings(), pipeline=pipeline, partitions=8, metrics=Metrics())
    header, payload = good_tile(base=True, sequence=1)
    messages = [tile_message(header, payload, partition=3, offset=40)]
    messages += [tile_message(naming(header, 40, sequence=at), b"", partition=3, offset=at) for at in (50, 51, 55)]
    found = [features_of(record) for record in run(extractor, batch_of(*messages)).sent]
    assert [set(one.results) for one in found] == [
        {"edges"},
        {"edges", "statistics"},
        {"edges"},
        {"edges", "statistics"},
    ]
    assert counted(extractor, "streamproc_tiles_recalled_total") == 2
    extractor.close()


def test_a_preview_of_a_tile_that_refers_to_another_has_its_thumbnail(extractor: Extractor) -> None:
    header, payload = good_tile(index=3, base=True)
    preview, _ = good_tile(index=3, preview=True)
    messages = [
        tile_message(header, payload, partition=3, offset=40),
        tile_message(naming(header, 40, preview=True), b"", partition=3, offset=41),
        tile_message(preview, payload, partition=3, offset=42),
    ]
    _, referring, plain = [features_of(record) for record in run(extractor, batch_of(*messages)).sent]
    assert (referring.thumbnail, referring.thumbnail_scale) == (plain.thumbnail, plain.thumbnail_scale)
    assert plain.thumbnail


def test_a_tile_that_another_refers_to_is_looked_up_in_the_log(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, payload = good_tile(base=True)
    asked: list[tuple[int, int]] = []

    def fetch(_self: Extractor, partition: int, offset: int) -> Record | None:
        asked.append((partition, offset))
        if offset != 40:
            return None
        kept = {"topic": "t", "partition": partition, "offset": offset, "timestamp_ms": 0, "key": b"k"}
        return Record(**kept, value=payload, headers=wire.tile_headers(header))  # type: ignore[arg-type]

    monkeypatch.setattr(Extractor, "_fetch", fetch)
    fresh = Extractor(settings=load_settings(), pipeline=EDGES, partitions=8, metrics=Metrics())
    messages = [tile_message(naming(header, at), b"", partition=3, offset=50) for at in (40, 40, 39)]
    batch = run(fresh, batch_of(*messages))
    assert asked == [(3, 40), (3, 39)]
    (plain,) = run(extractor, batch_of(tile_message(header, payload))).on("features")
    first, second, third = [features_of(record) for record in batch.on("features")]
    assert first.results == second.results == features_of(plain).results
    assert third.refusal is not None
    assert (third.refusal.reason, third.results) == ("base", {})
    (letter,) = batch.on("deadletters")
    assert dict(letter["headers"])["dl_reason"] == b"base"
    fresh.close()


def test_a_log_that_does_not_answer_is_no_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_args: object) -> Record | None:
        raise BrokerError("no answer")

    monkeypatch.setattr(Extractor, "_fetch", fetch)
    fresh = Extractor(settings=load_settings(), pipeline=EDGES, partitions=8, metrics=Metrics())
    batch = batch_of(tile_message(naming(good_tile(base=True)[0], 40), b"", partition=3, offset=50))
    with pytest.raises(BrokerError):
        fresh(batch)
    assert cast("SentBatch", batch).sent == []
    fresh.close()


@pytest.mark.parametrize("value", [b"", None, b"hello"])
def test_a_record_that_is_no_tile_is_a_dead_letter_alone(extractor: Extractor, value: bytes | None) -> None:
    batch = run(extractor, batch_of(message(value, headers=[("other", b"1")])))
    assert [record["topic"] for record in batch.sent] == ["streamproc.deadletters"]


def test_an_unforeseen_error_is_a_dead_letter_and_the_next_tile_is_handled(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    header, payload = good_tile()
    other, other_payload = good_tile(index=1)
    calls, run_pipeline = iter([RuntimeError("surprise")]), Pipeline.run

    def run_once(*args: Any) -> Any:
        for error in calls:
            raise error
        return run_pipeline(*args)

    monkeypatch.setattr(Pipeline, "run", run_once)
    batch = run(extractor, batch_of(tile_message(header, payload), tile_message(other, other_payload, offset=1)))
    (letter,) = batch.on("deadletters")
    assert dict(letter["headers"])["dl_reason"] == b"internal"
    assert [features_of(record).refusal is None for record in batch.on("features")] == [False, True]
    assert "surprise" in caplog.text


def test_a_result_that_cannot_be_sent_is_no_dead_letter(extractor: Extractor) -> None:
    header, payload = good_tile()
    batch = cast("SentBatch", batch_of(tile_message(header, payload)))

    def refuse(**_record: Any) -> None:
        raise DeliveryError("queue full")

    batch.send = refuse  # type: ignore[method-assign] # a broker that is gone
    with pytest.raises(DeliveryError):
        extractor(cast("Batch", batch))


@pytest.mark.parametrize(
    ("size", "scale"), [((1, 1), 1), ((640, 480), 1), ((1280, 720), 2), ((1920, 1080), 4), ((65_535, 20), 8)]
)
def test_previews_are_reduced_to_about_640_pixels(size: tuple[int, int], scale: int) -> None:
    assert thumbnail_scale(tile_header(width=64, height=48, frame_width=size[0], frame_height=size[1])) == scale


def test_a_frame_of_one_tile_needs_no_halo(extractor: Extractor) -> None:
    header, payload = good_tile(grid=Grid(1, 1), halo=0)
    batch = run(extractor, batch_of(tile_message(header, payload)))
    assert batch.on("deadletters") == []
