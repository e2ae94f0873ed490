"""The assemble agent's work: one event for each frame, and no acknowledgement while a frame needs the record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import pytest

from streamproc import cloudevents, wire
from streamproc.agents.acknowledger import Acknowledger
from streamproc.agents.assemble import Aggregation
from streamproc.agents.batches import Batch
from streamproc.agents.lease import Lease
from streamproc.errors import BrokerError
from streamproc.metrics import Metrics
from streamproc.model import Features, Figures, FrameKey, Histogram, Occurrence, Points, Statistics
from streamproc.operators.pipeline import Pipeline, Step
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.operators.table import Memory, Operator, Params, Scene, Sighting
from streamproc.settings import load_settings
from tests.agents.fakes import SentBatch, batch_of, message
from tests.event_schema import check_event
from tests.features import features


class Aggregator:
    """An aggregation with what it acknowledges."""

    def __init__(
        self, emitted: Iterable[FrameKey | cloudevents.Emitted] = (), pipeline: Pipeline | None = None, **settings: Any
    ) -> None:
        self.metrics = Metrics()
        self.read_backs: list[tuple[int, int]] = []
        self.log: dict[tuple[int, int], Features] = {}
        self.read_again = 0
        self.away = False

        def read_back(partition: int, since_ms: int) -> list[cloudevents.Emitted]:
            self.read_backs.append((partition, since_ms))
            return [
                cloudevents.Emitted(key=one, id="", is_frame=True) if isinstance(one, FrameKey) else one
                for one in emitted
            ]

        self.lease = Lease(8)
        self.lease.confirm(time.monotonic() + 3600)
        self.aggregation = Aggregation(
            load_settings(**settings),
            pipeline=pipeline or default_pipeline(),
            metrics=self.metrics,
            read_back=read_back,
            read_again=self._read_again,
            lease=self.lease,
        )
        self.acknowledger = Acknowledger()
        self.backlog = False
        self.ends: Counter[int] = Counter()

    def take(self, *parts: Features, tenure: int = 1, partition: int = 0) -> SentBatch:
        return self.run(batch_of(*self.take_later(*parts, partition=partition), tenure=tenure))

    def take_later(self, *parts: Features, partition: int = 0) -> list[Any]:
        """Records to be taken."""
        messages = []
        for part in parts:
            messages.append(
                message(
                    wire.encode_features(part),
                    topic="streamproc.features",
                    offset=self.ends[partition],
                    partition=partition,
                )
            )
            self.log[partition, self.ends[partition]] = part
            self.ends[partition] += 1
        return messages

    def _read_again(self, partition: int, offsets: Sequence[int]) -> dict[int, Features]:
        if self.away:
            raise BrokerError("no broker answers")
        self.read_again += len(offsets)
        return {offset: self.log[partition, offset] for offset in offsets}

    def run(self, batch: Batch) -> SentBatch:
        if not self.backlog:
            self.aggregation.worked_off_until_s = time.monotonic()
        self.aggregation(batch)
        self.acknowledger.settled(batch)
        return cast("SentBatch", batch)


def events(batch: SentBatch) -> list[dict[str, Any]]:
    found = [cloudevents.structured_event(record["headers"], record["value"]) for record in batch.on("events")]
    for event in found:
        check_event(event)
    return [event["data"] for event in found]


def test_a_whole_frame_is_one_event_with_its_evidence_and_latency() -> None:
    aggregator = Aggregator()
    batch = aggregator.take(*(features(index=index) for index in (2, 0, 3, 1)))
    (data,) = events(batch)
    assert (data["outcome"], data["coverage"], data["missing_tiles"]) == ("complete", 1.0, [])
    assert data["evidence"] == {
        "topic": "streamproc.tiles",
        "offsets": {str(index): [100 + index, 100 + index] for index in range(4)},
        "pipeline": "p1",
        "operators": {"edges": 1},
    }
    hops = data["latency_ms"]
    assert hops["total"] == pytest.approx(sum(value for hop, value in hops.items() if hop != "total"), abs=0.01)
    assert batch.on("edges") == []


@pytest.mark.parametrize(("run", "timed"), [("live-1", 1), ("replay-1", 0)])
def test_only_frames_that_somebody_waits_for_are_timed(run: str, timed: int) -> None:
    """A replayed frame was captured long ago; its age is no latency. It is counted as any other."""
    aggregator = Aggregator()
    aggregator.take(*(features(index=index, run=run) for index in range(4)))
    told = aggregator.metrics.registry.get_sample_value
    assert told("streamproc_frames_total", {"camera": "cam", "outcome": "complete"}) == 1
    assert (told("streamproc_event_latency_seconds_count", {"camera": "cam"}) or 0) == timed
    assert (told("streamproc_stage_seconds_count", {"stage": "publish"}) or 0) == timed


def test_records_of_an_open_frame_are_held_back_and_let_go_with_it() -> None:
    aggregator = Aggregator()
    first = aggregator.take(features(index=0), features(index=1))
    second = aggregator.take(features(index=2), *(features(index=index, sequence=1) for index in range(2)))
    assert not any(event.acked for event in [*first.events, *second.events])
    third = aggregator.take(features(index=3))
    assert [event.acked for event in first.events] == [True, True]
    assert [event.acked for event in second.events] == [True, False, False]
    assert [event.acked for event in third.events] == [False]
    assert all(event.message.value == b"" for event in third.events)


def test_after_a_new_assignment_frames_are_rebuilt_and_emitted_ones_stay_out() -> None:
    aggregator = Aggregator(emitted=[FrameKey("cam", "run-1", 0)])
    aggregator.take(features(index=0, sequence=1))
    again = [features(index=index, sequence=sequence) for sequence in (0, 1) for index in range(4)]
    batch = aggregator.take(*again, tenure=2)
    assert [data["sequence"] for data in events(batch)] == [1]
    assert [partition for partition, _ in aggregator.read_backs] == [0, 0]
    assert aggregator.read_backs[0][1] == 1_700_000_000_500 - 60_000
    assert all(event.acked for event in batch.events)


def test_a_run_replayed_from_its_middle_is_told_of_at_once_with_the_clock_of_its_capture_time() -> None:
    aggregator = Aggregator()
    batch = aggregator.take(*(features(index=index, sequence=41, first=41, clock="rtcp") for index in range(4)))
    assert [(data["sequence"], data["clock"]) for data in events(batch)] == [(41, "rtcp")]


def test_a_revoked_assignment_leaves_no_frame_behind_and_emits_no_more() -> None:
    aggregator = Aggregator(frame_deadline_s=0.001)
    aggregator.take(features(index=0), features(index=1), tenure=3)
    aggregator.aggregation.end(3)
    late = aggregator.take(features(index=2), features(index=3), tenure=3)
    time.sleep(0.01)
    assert events(aggregator.run(batch_of(tenure=3))) == events(late) == []
    aggregator.aggregation.let_go()
    assert aggregator.aggregation.open_frames == 0
    again = aggregator.take(*(features(index=index) for index in range(4)), tenure=4)
    assert [data["outcome"] for data in events(again)] == ["complete"]


@pytest.mark.parametrize("broken", [ZeroDivisionError("by zero"), ValueError("odd")])
def test_any_error_of_merging_rejects_the_frame(broken: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamproc.aggregator import recognition

    calls = iter([broken])

    def merge_once(closed: Any, steps: Any, **shown: Any) -> Any:
        for error in calls:
            raise error
        return recognition.merge_frame(closed, steps, **shown)

    monkeypatch.setattr("streamproc.agents.assemble.merge_frame", merge_once)
    aggregator = Aggregator()
    (data,) = events(aggregator.take(*(features(index=index) for index in range(4))))
    assert data["outcome"] == "rejected"


def test_a_frame_whose_tiles_may_lie_in_a_backlog_does_not_expire() -> None:
    aggregator = Aggregator(frame_deadline_s=0.001)
    aggregator.backlog = True
    assert events(aggregator.take(features(index=0))) == []
    assert aggregator.aggregation.taken == {0: 1}
    time.sleep(0.01)
    assert events(aggregator.take()) == []
    (event,) = events(aggregator.take(*(features(index=index) for index in (1, 2, 3))))
    assert event["outcome"] == "complete"


def held_bytes(aggregator: Aggregator) -> int:
    return sum(one.assembler.open_bytes for one in aggregator.aggregation._partitions.values())


def pictured(index: int, sequence: int, camera: str) -> Features:
    """A tile whose record takes 40 kB."""
    part = features(index=index, camera=camera, sequence=sequence)
    return msgspec.structs.replace(part, thumbnail=bytes([sequence % 256]) * 16 * 12 * 200, thumbnail_scale=8)


def test_results_are_set_aside_when_all_partitions_hold_too_much_and_every_frame_is_still_complete() -> None:
    """Two partitions together; of each frame the last tile comes from a worker that is far behind."""
    aggregator = Aggregator(max_open_bytes=2**20)
    told: list[dict[str, Any]] = []
    for indexes in ((0, 1, 2), (3,)):
        for sequence in range(20):
            for side in range(2):
                for index in indexes:
                    part = pictured(index, sequence, f"cam-{side}")
                    told += events(aggregator.take(part, partition=side))
                    assert held_bytes(aggregator) <= 2**20
    assert [(event["camera"], event["sequence"]) for event in told] == [
        (f"cam-{side}", sequence) for sequence in range(20) for side in range(2)
    ]
    assert {event["outcome"] for event in told} == {"complete"}
    counted = aggregator.metrics.registry.get_sample_value("streamproc_results_read_again_total")
    assert aggregator.read_again == counted
    assert 60 < aggregator.read_again <= 120
    assert held_bytes(aggregator) == 0


@pytest.mark.parametrize("partitions", [1, 2, 8])
def test_room_for_one_record_more_costs_one_frame_and_not_those_that_were_read_ahead(partitions: int) -> None:
    aggregator = Aggregator(max_open_bytes=2**20)
    told: list[dict[str, Any]] = []
    sequence = 0
    while not told:  # three tiles of each, until the oldest goes
        for side in range(partitions):
            for index in range(3):
                told += events(aggregator.take(pictured(index, sequence, f"cam-{side}"), partition=side))
        sequence += 1
    assert len(told) <= partitions
    for side in range(partitions):
        for late in range(sequence):
            told += events(aggregator.take(pictured(3, late, f"cam-{side}"), partition=side))
            assert held_bytes(aggregator) <= 2**20
    gone = [event for event in told if event["outcome"] != "complete"]
    assert len(told) == partitions * sequence
    assert len(gone) <= partitions


def test_a_broker_that_is_away_is_waited_for_and_costs_no_frame() -> None:
    aggregator = Aggregator(max_open_bytes=2**20)
    for sequence in range(20):
        aggregator.take(*(pictured(index, sequence, "cam") for index in range(3)))
    aggregator.away = True
    assert [len(events(aggregator.take(pictured(3, sequence, "cam")))) for sequence in (18, 19)] == [0, 0]
    told = [event for sequence in range(18) for event in events(aggregator.take(pictured(3, sequence, "cam")))]
    aggregator.away = False
    told += events(aggregator.take())
    assert [(event["sequence"], event["outcome"]) for event in told] == [(number, "complete") for number in range(20)]


def test_a_broker_that_stays_away_ends_the_worker_unless_its_partitions_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aggregator = Aggregator(max_open_bytes=2**20, stall_timeout_s=60)
    for sequence in range(20):
        aggregator.take(*(pictured(index, sequence, "cam") for index in range(3)))
    aggregator.away = True
    for sequence in range(20):
        aggregator.take(pictured(3, sequence, "cam"))
    later_s = time.monotonic() + 61
    monkeypatch.setattr("streamproc.agents.assemble.time.monotonic", lambda: later_s)
    with pytest.raises(BrokerError):
        aggregator.take()
    aggregator.aggregation.end(1)
    aggregator.take()


def test_when_what_is_left_of_each_tile_fills_the_memory_the_oldest_frame_of_the_fullest_partition_goes() -> None:
    aggregator = Aggregator(max_open_bytes=2**20)
    told: list[dict[str, Any]] = []
    for sequence in range(300):
        for side in range(2):
            told += events(aggregator.take(features(camera=f"cam-{side}", sequence=sequence), partition=side))
            assert held_bytes(aggregator) <= 2**20
    gone = [[event["sequence"] for event in told if event["camera"] == f"cam-{side}"] for side in range(2)]
    assert gone == [list(range(len(one))) for one in gone]
    assert all(0 < len(one) < 250 for one in gone)
    assert abs(len(gone[0]) - len(gone[1])) <= 2
    assert {(event["outcome"], event["reason"]) for event in told} == {("expired", "evicted: 1 of 4 tiles")}


def test_an_empty_batch_looks_at_deadlines() -> None:
    aggregator = Aggregator(frame_deadline_s=0.001)
    aggregator.take(features(index=0), features(index=1))
    time.sleep(0.01)
    batch = aggregator.run(batch_of())
    assert [data["outcome"] for data in events(batch)] == ["partial"]
    assert aggregator.aggregation.open_frames == 0


def test_a_record_that_is_no_features_is_a_dead_letter_and_is_let_go() -> None:
    aggregator = Aggregator()
    batch = aggregator.run(batch_of(message(b"hello", topic="streamproc.features")))
    (letter,) = batch.on("deadletters")
    assert dict(letter["headers"])["dl_stage"] == b"assemble"
    assert batch.events[0].acked


def test_results_that_do_not_fit_each_other_reject_the_frame_instead_of_stopping_the_worker() -> None:
    aggregator = Aggregator()
    odd: list[Any] = [
        Histogram(counts=[[1, 2]]),
        Histogram(counts=[[1, 2, 3]]),
        Statistics(count=1, total=[1], squares=[1], low=[0], high=[1]),
        Points(xy=b"", response=b""),
    ]
    parts = [msgspec.structs.replace(features(index=index), results={"h": odd[index]}) for index in range(4)]
    (data,) = events(aggregator.take(*parts))
    assert data["outcome"] == "rejected"
    assert data["coverage"] == 0
    assert len(data["missing_tiles"]) == 4


def test_the_books_balance() -> None:
    aggregator = Aggregator()
    aggregator.take(*(features(index=index) for index in (0, 1, 1, 2, 3, 3)))
    aggregator.take(features(index=0, sequence=1), features(index=1, sequence=1, frame_digest=b"x" * 16))
    aggregator.take(features(index=0))
    registry = aggregator.metrics.registry
    tiles = {
        outcome: registry.get_sample_value("streamproc_tiles_total", {"outcome": outcome}) or 0
        for outcome in ("merged", "duplicate", "late", "rejected", "deadlettered")
    }
    assert tiles == {"merged": 4, "duplicate": 3, "late": 0, "rejected": 2, "deadlettered": 0}
    assert sum(tiles.values()) == aggregator.ends.total()
    frames = {
        outcome: registry.get_sample_value("streamproc_frames_total", {"camera": "cam", "outcome": outcome}) or 0
        for outcome in ("complete", "rejected")
    }
    assert frames == {"complete": 1, "rejected": 1}


def test_an_old_tile_of_an_unknown_run_has_the_events_of_its_time_read_back() -> None:
    """Its features were written anew, long after its frame was told of."""
    told = [FrameKey("cam", "old", 0)]
    aggregator = Aggregator(told)
    now_ns = 1_700_000_000_600_000_000  # a little after the features records of these tests
    old_ns = now_ns - 600 * 10**9
    fresh = msgspec.structs.replace(features(camera="other"), published_ns=now_ns)
    old = [
        msgspec.structs.replace(features(index=index, run="older"), published_ns=old_ns + index) for index in range(4)
    ]
    aggregator.take(fresh)
    assert len(aggregator.read_backs) == 1
    aggregator.take(*old)
    assert aggregator.read_backs[1:] == [(0, old_ns // 10**6 - 60_000)]


# --- what happens on frames ---------------------------------------------------------------------------------------


def _counting(scene: Scene, memory: Memory, _params: Params) -> Sighting:
    memory["frames"] = memory.get("frames", 0) + 1
    return Sighting(
        result=Figures(values={"frames": memory["frames"]}),
        occurrences=(Occurrence(kind="rule", what="counted", data={"frames": memory["frames"]}),),
    )


COUNT = Operator(
    name="count",
    kind="follower",
    run=_counting,
    family="test",
    scope="frame",
    accepts=("boxes",),
    durable=True,
    meaning="",
)
COUNTED = Pipeline(name="", steps=(Step(name="count", operator=COUNT, parameters={}, on="frame"),))


def frame(sequence: int) -> list[Features]:
    return [features(index=index, sequence=sequence, pipeline=COUNTED.digest) for index in range(4)]


def records(batch: SentBatch) -> list[tuple[str, str, Any]]:
    """Type, id and figures of what was sent to the events topic."""
    found = [cloudevents.structured_event(record["headers"], record["value"]) for record in batch.on("events")]
    return [(one["type"], one["id"], one["data"].get("data") or one["data"]["features"]["count"]) for one in found]


def test_what_happens_on_a_frame_is_told_before_the_frame_itself() -> None:
    told = records(Aggregator(pipeline=COUNTED).take(*frame(0)))
    assert [(kind, figures) for kind, _, figures in told] == [
        ("io.streamproc.rule.v1", {"frames": 1}),
        ("io.streamproc.frame.v1", {"frames": 1}),
    ]


def test_a_new_worker_goes_on_from_what_the_last_one_knew_and_says_nothing_twice() -> None:
    first = Aggregator(pipeline=COUNTED)
    before = first.take(*frame(0), *frame(1))
    second = first.take(*frame(2))
    # killed after the occurrence on frame 2, before the event of frame 2
    log = [*before.on("events"), second.on("events")[0]]
    emitted = [found for record in log if (found := cloudevents.emitted(record["headers"]))]
    newest = [*[one for one in emitted if one.is_frame][-1:], emitted[-1]]
    again = records(Aggregator(pipeline=COUNTED, emitted=newest).take(*frame(1), *frame(2), *frame(3)))
    assert [(kind, figures["frames"]) for kind, _, figures in again] == [
        ("io.streamproc.frame.v1", 3),
        ("io.streamproc.rule.v1", 4),
        ("io.streamproc.frame.v1", 4),
    ]
    assert again[0][1] == records(second)[1][1]


@pytest.mark.parametrize("memory", [b"\xc1", b"\x83", b"not msgpack"])
def test_memory_that_cannot_be_read_costs_the_memory_alone(memory: bytes, caplog: pytest.LogCaptureFixture) -> None:
    newest = cloudevents.Emitted(key=FrameKey("cam", "run-1", 0), id="", is_frame=True, memory=memory)
    told = records(Aggregator(pipeline=COUNTED, emitted=[newest]).take(*frame(0), *frame(1)))
    assert [figures for _, _, figures in told] == [{"frames": 1}, {"frames": 1}]
    assert "followers begin anew" in caplog.text


def test_an_event_that_no_topic_would_take_leaves_results_out_and_says_so() -> None:
    large = Operator(
        name="large",
        kind="follower",
        run=lambda *_: Sighting(result=Figures(values={"text": "x" * 3_000_000})),
        family="test",
        scope="frame",
        accepts=("boxes",),
        meaning="",
    )
    pipeline = Pipeline(name="", steps=(Step(name="large", operator=large, parameters={}, on="frame"),))
    parts = [features(index=index, pipeline=pipeline.digest) for index in range(4)]
    batch = Aggregator(pipeline=pipeline).take(*parts)
    (data,) = events(batch)
    assert data["features"] == {"large": {"skipped": "the event would be too large"}}
    assert data["outcome"] == "complete"
