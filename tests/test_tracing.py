"""One trace for each frame that is chosen, from the producer to the event."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from producers.replay_records import headers_of
from streamproc import wire
from streamproc.letterhead import deadletter_headers, redrive_headers
from streamproc.model import FrameKey, Grid
from streamproc.records import Record
from streamproc.tracing import FrameTraces, SpanContext
from streamproc.tracing.frames import MAX_LINKS, TileLinks
from streamproc.tracing.spans import context_of, frame_context, is_chosen, read_traceparent, send_context
from streamproc.wire import RawHeaders
from tests.agents.fakes import SentBatch, batch_of, message
from tests.collector import check_traces
from tests.features import tile_header
from tests.tracing_system import Frames, System, Wire, events

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


# --- the standard ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01".encode(), SpanContext(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-00".encode(), SpanContext(TRACE, SPAN, sampled=False)),
        (f"00-{TRACE}-{SPAN}-03".encode(), SpanContext(TRACE, SPAN)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later".encode(), SpanContext(TRACE, SPAN)),
        (f"00-{TRACE}-{SPAN}-01-more".encode(), None),
        (f"ff-{TRACE}-{SPAN}-01".encode(), None),
        (f"00-{'0' * 32}-{SPAN}-01".encode(), None),
        (f"00-{TRACE}-{'0' * 16}-01".encode(), None),
        (f"00-{TRACE.upper()}-{SPAN}-01".encode(), None),
        (f"00-{TRACE}-{SPAN}-1".encode(), None),
        (f"00-{TRACE}-{SPAN}-01\n".encode(), None),
        (b"00-0-0-01", None),
        (b"\xff\x00", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(value: bytes | None, expected: SpanContext | None) -> None:
    assert read_traceparent(value) == expected


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_context_survives_its_header(trace: int, span: int, sampled: bool) -> None:
    context = SpanContext(f"{trace:032x}", f"{span:016x}", sampled)
    assert read_traceparent(context.header) == context


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", None)],
        [("traceparent", b"broken")],
        [("traceparent", f"00-{TRACE}-{SPAN}-00".encode())],
        [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())] * 2,
    ],
)
def test_a_record_without_one_recorded_context_is_not_traced(headers: RawHeaders) -> None:
    assert context_of(headers) is None


@given(st.integers(1, 2**128 - 1), st.floats(0, 1))
def test_frames_are_chosen_as_opentelemetry_chooses_traces(trace: int, share: float) -> None:
    sampled = TraceIdRatioBased(share).should_sample(None, trace, "frame").decision is Decision.RECORD_AND_SAMPLE
    assert is_chosen(f"{trace:032x}", share) == sampled


def test_a_frame_always_has_the_same_trace_whether_it_is_recorded_or_not() -> None:
    header = tile_header(index=3)
    plain = read_traceparent(wire.traceparent(header))
    assert plain is not None
    assert not plain.sampled
    assert {plain.trace_id, frame_context(header.key).trace_id, send_context(header.key).trace_id} == {
        wire.trace_id(header.key)
    }
    assert dict(wire.tile_headers(header, trace=b"this"))["traceparent"] == b"this"
    reference = msgspec.structs.replace(header, same_as=4)
    assert [name for name, _ in wire.tile_headers(reference)] == ["tile"]
    assert dict(wire.tile_headers(reference, trace=b"this"))["traceparent"] == b"this"


# --- a frame's way -----------------------------------------------------------------------------------------------


def test_each_frame_is_one_trace_of_exactly_its_spans() -> None:
    system = System()
    began_ns = time.time_ns()
    told = events(system.assemble(system.extract(system.publish(5))))
    assembled = check_traces(system.spans(), tiles=4, prefix="streamproc.")
    assert set(assembled) == {wire.trace_id(FrameKey("gate", "r1", number)) for number in range(5)}
    assert {event["traceparent"] for event in told} == {f"00-{one.trace}-{one.id}-01" for one in assembled.values()}
    assert all(began_ns <= one.started_ns <= one.ended_ns <= time.time_ns() for one in assembled.values())


def test_spans_say_where_records_stand_and_what_became_of_the_frame() -> None:
    system = System()
    sender = system.publish(1)
    system.assemble(system.extract(sender))
    spans = {span.name: span for span in system.spans()}
    frame, send = spans["frame"], spans["send streamproc.tiles"]
    assert frame.attributes["streamproc.frame.tiles"] == 4
    assert frame.started_ns == frame.attributes["streamproc.captured_ns"] == sender.records[0].header.captured_ns
    assert frame.ended_ns == send.ended_ns
    assert spans["encode"].ended_ns <= send.started_ns
    assert spans["encode"].attributes == {
        "streamproc.codec": "raw",
        "streamproc.bytes": sum(len(one.value) for one in sender.records),
    }
    assert send.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "streamproc.tiles",
        "messaging.batch.message_count": 4,
        "streamproc.tiles_acked": 4,
    }
    last = sender.records[-1]
    assert spans["process streamproc.tiles"].attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "streamproc.tiles",
        "messaging.destination.partition.id": str(last.partition),
        "messaging.consumer.group.name": "streamproc.workers",
        "messaging.kafka.offset": last.offset,
        "messaging.message.body.size": len(last.value),
        "streamproc.camera": "gate",
        "streamproc.run": "r1",
        "streamproc.sequence": 0,
        "streamproc.tile.row": 1,
        "streamproc.tile.col": 1,
    }
    told = spans["process streamproc.features"]
    assert (told.attributes["streamproc.outcome"], told.attributes["streamproc.coverage"]) == ("complete", 1.0)
    assert told.attributes["messaging.batch.message_count"] == 4
    assert {"publish", "wait", "extract", "gather", "assemble", "total"} == {
        name.rpartition(".")[2] for name in told.attributes if name.startswith("streamproc.latency_ms.")
    }
    assert (told.moments, told.error) == (("merge", "tell"), None)


def test_a_capture_time_of_long_ago_or_of_a_wrong_clock_does_not_make_a_frame_long() -> None:
    system, times_ns = System(), [10**18, 2 * time.time_ns()]
    system.publish(2, source=Frames(2, captured_ns=iter(times_ns).__next__))
    spans = system.spans()
    frames = [span for span in spans if span.name == "frame"]
    assert [span.attributes["streamproc.captured_ns"] for span in frames] == times_ns
    assert [span.started_ns for span in frames] == [span.started_ns for span in spans if span.name == "encode"]


def test_a_share_of_frames_is_traced_and_everybody_chooses_the_same() -> None:
    expected = {number for number in range(60) if is_chosen(wire.trace_id(FrameKey("gate", "r1", number)), 0.25)}
    assert 5 < len(expected) < 25
    system = System(share=0.25)
    told = events(system.assemble(system.extract(system.publish(60))))
    found = check_traces(system.spans(), tiles=4, prefix="streamproc.")
    assert {one.attributes["streamproc.sequence"] for one in found.values()} == expected
    assert {event["data"]["sequence"] for event in told if "traceparent" in event} == expected
    assert len(told) == 60


@pytest.mark.parametrize("how", [{"share": 0.0}, {"producer": False}])
def test_what_the_producer_does_not_trace_nobody_does_and_records_are_as_they_were(how: dict[str, Any]) -> None:
    system, plain = System(**how), System(producer=False, consumers=False)
    sender, untraced = system.publish(3), plain.publish(3)
    assert [dict(one)["traceparent"] for one in sender.headers] == [
        wire.traceparent(sent.header) for sent in sender.records
    ]
    assert [[name for name, _ in one] for one in sender.headers] == [
        [name for name, _ in one] for one in untraced.headers
    ]
    extracted = system.extract(sender)
    assert {tuple(record["headers"]) for record in extracted.on("features")} == {()}
    assert all("traceparent" not in event for event in events(system.assemble(extracted)))
    assert system.spans() == []


def test_workers_that_do_not_trace_pass_over_what_the_producer_does() -> None:
    system = System(consumers=False)
    extracted = system.extract(system.publish(2))
    assert {tuple(record["headers"]) for record in extracted.on("features")} == {()}
    assert all("traceparent" not in event for event in events(system.assemble(extracted)))
    assert Counter(span.name for span in system.spans()) == {"frame": 2, "encode": 2, "send streamproc.tiles": 2}


def test_results_are_the_same_with_and_without_traces() -> None:
    values = []
    for consumers in (True, False):
        system = System(consumers=consumers)
        sender = system.publish(4, source=Frames(4, captured_ns=lambda: 10**18))
        told = events(system.assemble(system.extract(sender)))
        values.append([(event["id"], event["data"]["edges"], event["data"]["outcome"]) for event in told])
        system.spans()
    assert values[0] == values[1]
    assert len(values[0]) == 4


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_dead_letter_is_an_error_in_its_span_and_the_frame_tells_of_it() -> None:
    system = System()
    extracted = system.extract(system.publish(1), spoil=lambda header: header.index == 2)
    (letter,) = extracted.on("deadletters")
    system.assemble(extracted)
    spans = system.spans()
    (failed,) = [span for span in spans if span.name == "process streamproc.tiles" and span.error]
    assert failed.attributes["error.type"] == "length"
    assert failed.attributes["streamproc.tile.row"] == 1
    assert failed.moments == ("dead letter",)
    assert (failed.error or "").startswith("length: raw payload of 6 bytes")
    (frame,) = [span for span in spans if span.name == "process streamproc.features"]
    assert frame.attributes["streamproc.outcome"] == frame.attributes["error.type"] == "partial"
    assert frame.error == "partial: dead letters: 3 of 4 tiles"
    assert failed.id in frame.links
    # the letter keeps the frame's context, so a tile that is redriven goes on in the same trace
    again = redrive_headers(letter["headers"])
    assert context_of(again) == send_context(FrameKey("gate", "r1", 0))


def test_a_tile_without_a_readable_header_is_an_error_in_the_trace_it_names() -> None:
    system = System()
    parent = SpanContext(TRACE, SPAN)
    batch = batch_of(message(b"x", headers=[("tile", b"\xff"), ("traceparent", parent.header)], offset=7))
    system.extractor(batch)
    (span,) = system.spans()
    assert (span.trace, span.parent, span.attributes["error.type"]) == (TRACE, SPAN, "envelope")
    assert "streamproc.camera" not in span.attributes


def test_features_that_cannot_be_read_are_an_error_in_the_trace_they_name() -> None:
    system = System()
    headers = [("traceparent", SpanContext(TRACE, SPAN).header)]
    batch = batch_of(message(b"\xff", headers=headers, topic="streamproc.features", partition=3, offset=9))
    system.aggregation(batch)
    (span,) = system.spans()
    assert (span.name, span.trace, span.parent) == ("process streamproc.features", TRACE, SPAN)
    assert span.attributes["messaging.kafka.offset"] == 9
    assert span.attributes["error.type"] == "envelope"


def test_a_frame_that_loses_tiles_ends_with_its_outcome() -> None:
    system = System()
    extracted = system.extract(system.publish(1))
    del extracted.sent[1:]
    assert not system.assemble(extracted).on("events")
    system.assemble(cast("SentBatch", batch_of()), worked_off_until_s=time.monotonic() + 3600)
    (frame,) = [span for span in system.spans() if span.name == "process streamproc.features"]
    assert frame.attributes["streamproc.outcome"] == "expired"
    assert (frame.error or "").startswith("expired: deadline: 1 of 4 tiles")
    assert len(frame.links) == 1


def test_a_trace_that_somebody_else_began_goes_on_below_its_first_tile() -> None:
    system = System(producer=False)
    sender = system.publish(1)
    foreign = SpanContext(TRACE, SPAN).header
    sender.headers = [
        [(name, foreign if name == "traceparent" else value) for name, value in one] for one in sender.headers
    ]
    system.assemble(system.extract(sender))
    *tiles, frame = system.spans()
    assert {span.trace for span in (*tiles, frame)} == {TRACE}
    assert {span.parent for span in tiles} == {SPAN}
    assert frame.parent == next(span.id for span in tiles if span.attributes["streamproc.tile.row"] == 0)


def test_a_frame_that_the_broker_refuses_is_an_error() -> None:
    system = System()
    system.publish(1, Wire(fails=lambda header: header.index == 1))
    spans = {span.name: span for span in system.spans()}
    assert spans["frame"].error == spans["send streamproc.tiles"].error == "refused by the broker"
    assert spans["send streamproc.tiles"].attributes["streamproc.tiles_acked"] == 3


def test_a_frame_that_cannot_be_queued_is_an_error() -> None:
    system = System()
    system.publish(1, Wire(raises=lambda header: header.index == 2))
    spans = {span.name: span for span in system.spans()}
    assert spans["frame"].error == "cannot be queued"
    assert spans["send streamproc.tiles"].attributes["streamproc.tiles_acked"] == 2


def test_a_frame_that_is_not_acknowledged_when_its_run_ends_is_an_error_and_late_reports_are_nothing() -> None:
    system = System()
    traces = FrameTraces(system.tracer, topic="tiles", now_ns=lambda: 10**18)
    tiles = [(tile_header(index=index), b"") for index in range(4)]
    assert traces.begin(tiles, encode_ns=(1, 2)) == send_context(tiles[0][0].key).header
    traces.report(0, None)
    traces.give_up()
    traces.report(0, None, tiles=3)
    frame, _, send = system.spans()
    assert frame.error == send.error == "3 tiles were not acknowledged when the run ended"
    assert (frame.ended_ns, send.attributes["streamproc.tiles_acked"]) == (10**18, 1)


def test_links_are_bounded_and_go_with_their_frame() -> None:
    links = TileLinks()
    grid = Grid(20, 20)
    headers = [("traceparent", SpanContext(TRACE, SPAN).header)]
    for index in range(grid.count):
        links.add(tile_header(index=index, grid=grid, width=640, height=640), headers, now_ns=index)
    gathered = links.take(tile_header().key)
    assert gathered is not None
    assert (gathered.count, len(gathered.tiles), gathered.first_ns) == (400, MAX_LINKS, 0)
    assert len(links) == 0
    assert links.take(tile_header().key) is None


def test_a_replayed_frame_has_a_trace_of_its_own_that_is_not_recorded() -> None:
    header = tile_header()
    record = Record(
        topic="tiles",
        partition=0,
        offset=5,
        timestamp_ms=1,
        key=b"",
        value=b"x",
        headers=wire.tile_headers(header, trace=send_context(header.key).header),
    )
    found = read_traceparent(dict(headers_of(record, header, run="again", first=0))["traceparent"])
    assert found is not None
    assert found.trace_id == wire.trace_id(FrameKey(header.camera, "again", header.sequence))
    assert not found.sampled


def test_dead_letters_keep_the_trace_context() -> None:
    headers = wire.tile_headers(tile_header(), trace=b"this")
    letter = deadletter_headers(headers, reason="decode", detail="", stage="extract", origin=("t", 0, 0))
    assert dict(letter)["traceparent"] == dict(redrive_headers(letter))["traceparent"] == b"this"
