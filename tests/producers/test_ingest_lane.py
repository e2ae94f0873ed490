"""A camera's way to Kafka: numbers without holes, new runs where they must begin, one outcome for each frame."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.ingest_crew import Crew
from producers.ingest_lane import Lane
from producers.ingest_run import Outlet
from producers.waiting import DROP_POLICIES, DropPolicy
from streamproc.errors import LedgerError, StreamprocError
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.metrics import Metrics
from streamproc.model import Frame
from tests.producers.staged import SETTINGS, StagedBroker, spec
from tests.waiting import wait_until


def frame(number: int, *, size: tuple[int, ...] = (32, 64), keyframe: bool = True) -> Frame:
    return Frame(pixels=np.full(size, number % 251, np.uint8), captured_ns=10**18 + number, keyframe=keyframe)


@contextmanager
def open_lanes(
    broker: StagedBroker, *names: str, ledger: LedgerWriter | None = None, threads: int = 2, **keys: Any
) -> Iterator[list[Lane]]:
    outlet = Outlet(
        settings=keys.pop("settings", SETTINGS),
        sender=broker,
        metrics=Metrics(),
        partitions=4,
        crew=Crew(threads),
        ledger=ledger,
        notice=lambda _line: None,
    )
    lanes = [Lane(spec(name, **keys), outlet) for name in names]
    for lane in lanes:
        lane.begin(live=True, stream_fps=None)
        lane.share(len(lanes))
    outlet.crew.start()
    yield lanes
    for lane in lanes:
        lane.close()
        lane.finish(timeout_s=5)
    outlet.crew.close(timeout_s=5)
    broker.away = False
    broker.flush(1)
    for lane in lanes:
        lane.give_up()
    if outlet.crew.problem is not None:
        raise outlet.crew.problem


def require_no_holes(broker: StagedBroker, camera: str = "cam") -> dict[str, list[int]]:
    runs = broker.frames(camera)
    for numbers in runs.values():
        assert numbers == list(range(len(numbers)))
    return runs


def test_frames_are_numbered_in_the_order_they_were_read() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "cam", drop="block") as (lane,):
        for number in range(100):
            lane.offer(frame(number))
    (numbers,) = require_no_holes(broker).values()
    assert len(numbers) == 100
    assert [record.header.captured_ns - 10**18 for record in broker.records[::2]] == list(range(100))
    counts = lane.counts()
    assert (counts.frames_read, counts.frames_published, counts.tiles_acked, counts.runs) == (100, 100, 200, 1)


def test_pictures_of_another_form_begin_a_new_run() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "cam", drop="block") as (lane,):
        assert lane.position()[1] == 0
        reserved = lane.position()[0]
        for size in ((32, 64), (32, 64), (64, 64), (64, 64, 3)):
            lane.offer(frame(1, size=size))
    runs = require_no_holes(broker)
    assert [len(numbers) for numbers in runs.values()] == [2, 1, 1]
    assert next(iter(runs)) == reserved
    assert all(run.startswith("live-") for run in runs)
    assert lane.counts().runs == 3


def test_pictures_of_another_form_in_a_folder_do_not() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "cam", drop="block") as (lane,):
        lane.begin(live=False, stream_fps=None)
        for size in ((32, 64), (64, 64)):
            lane.offer(frame(1, size=size))
    assert [(run[:5], numbers) for run, numbers in require_no_holes(broker).items()] == [("file-", [0, 1])]


def test_after_a_frame_that_failed_a_new_run_begins() -> None:
    broker = StagedBroker(fails=True)
    with open_lanes(broker, "cam", drop="block") as (lane,):
        lane.offer(frame(0))
        wait_until(lambda: lane.counts().frames_failed == 1, "the frame has failed", timeout_s=10)
        broker.fails = False
        lane.offer(frame(1))
        lane.offer(frame(2))
    assert list(require_no_holes(broker).values()) == [[0, 1]]
    counts = lane.counts()
    assert (counts.frames_read, counts.frames_failed, counts.frames_published, counts.runs) == (3, 1, 2, 2)
    assert counts.balanced


def test_a_grid_that_does_not_fit_is_said_and_the_frame_counted() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "cam", grid="9x9") as (lane,), pytest.raises(StreamprocError, match="9x9"):
        lane.offer(frame(0))
    assert (lane.counts().frames_failed, lane.counts().balanced) == (1, True)


def test_thinned_frames_are_counted_under_their_own_reason() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "cam") as (lane,):
        lane.thin(frame(0))
        lane.offer(frame(1))
    counts = lane.counts()
    assert (counts.frames_read, counts.frames_dropped, counts.frames_published) == (2, 1, 1)


def test_a_camera_that_gives_much_does_not_hold_up_one_that_gives_little() -> None:
    broker = StagedBroker()
    with open_lanes(broker, "busy", "calm", threads=1, codec="png", drop="block") as (busy, calm):
        ended = threading.Event()

        def give_much() -> None:
            number = 0
            while not ended.is_set():
                busy.offer(frame(number, size=(480, 640)))
                number += 1

        giving = threading.Thread(target=give_much)
        giving.start()
        wait_until(lambda: busy.counts().frames_published > 5, "the busy camera is under way", timeout_s=10)
        before = len(broker.records)
        calm.offer(frame(0))
        wait_until(lambda: calm.counts().frames_published == 1, "the calm camera's frame is sent", timeout_s=10)
        ended.set()
        giving.join()
    first = next(number for number, record in enumerate(broker.records) if record.header.camera == "calm")
    assert first - before <= 3 * 2, "the frame under way, one that was called, and one while this test looked"


@settings(max_examples=30)
@given(
    policy=st.sampled_from(DROP_POLICIES),
    steps=st.lists(
        st.tuples(
            st.integers(0, 1), st.sampled_from(["offer", "delta", "thin", "away", "back", "fail", "mend", "wide"])
        ),
        max_size=60,
    ),
)
def test_whatever_happens_each_frame_has_one_outcome(policy: DropPolicy, steps: list[tuple[int, str]]) -> None:
    broker, names = StagedBroker(), ("one", "two")
    with open_lanes(broker, *names, drop=policy) as lanes:
        for number, (which, step) in enumerate(steps):
            if step in ("away", "back"):
                broker.away = step == "away"
            elif step in ("fail", "mend"):
                broker.fails = step == "fail"
            elif step == "thin":
                lanes[which].thin(frame(number))
            elif not (policy == "block" and broker.away):  # it would wait, as it must
                size = (128, 640) if step == "wide" else (128, 320)
                lanes[which].offer(frame(number, size=size, keyframe=step != "delta"))
        broker.fails = False
    for name, lane in zip(names, lanes, strict=True):
        counts = lane.counts()
        assert counts.balanced
        assert counts.frames_read == sum(
            1 for which, step in steps if which == names.index(name) and step in ("offer", "delta", "thin", "wide")
        ) or (policy == "block" and "away" in [step for _, step in steps])
        assert lane.settled
        for numbers in broker.frames(name).values():
            assert numbers == sorted(set(numbers))


def test_memory_is_shared_and_bounded_while_the_broker_is_away() -> None:
    broker = StagedBroker(away=True)
    small = SETTINGS.model_copy(update={"producer_queue_bytes": 2**20})
    with open_lanes(broker, "one", "two", settings=small) as lanes:
        for number in range(200):
            for lane in lanes:
                lane.offer(frame(number, size=(100, 160, 3)))  # 48 kB
                assert lane.held_bytes <= 2**19
        assert broker.most_queued_bytes <= 2**19
        assert min(lane.held_bytes for lane in lanes) > 0
        broker.away = False
        broker.flush(1)
    dropped = [lane.counts().frames_dropped for lane in lanes]
    assert min(dropped) > 150
    assert max(dropped) - min(dropped) < 20


def test_reading_that_waits_for_room_ends_with_the_lane() -> None:
    broker = StagedBroker(away=True)
    small = SETTINGS.model_copy(update={"producer_queue_bytes": 2**20})
    with open_lanes(broker, "cam", settings=small, drop="block") as (lane,):

        def give() -> None:
            for number in range(100):
                lane.offer(frame(number, size=(200, 400, 3)))

        giving = threading.Thread(target=give)
        giving.start()
        time.sleep(0.3)
        assert giving.is_alive()
        lane.close()
        giving.join(5)
        assert not giving.is_alive()
        assert lane.waited_s > 0.2
        broker.away = False
        broker.flush(1)
    assert lane.counts().balanced


def test_the_ledger_says_what_became_of_each_frame(tmp_path: Path) -> None:
    broker, file = StagedBroker(), tmp_path / "ledger"
    with LedgerWriter(file) as writer, open_lanes(broker, "one", "two", ledger=writer, drop="block") as lanes:
        for number in range(20):
            lanes[number % 2].offer(frame(number))
        lanes[0].thin(frame(20))
    found = read_ledger(file)
    assert found.counts() == {"acked": 20, "failed": 0, "unknown": 0, "dropped": 1}
    assert {(key.camera, key.run) for key in found.frames} == {
        (name, run) for name in ("one", "two") for run in broker.frames(name)
    }


def test_a_ledger_that_cannot_be_written_ends_all(tmp_path: Path) -> None:
    broker = StagedBroker()
    writer = LedgerWriter(tmp_path / "ledger")

    def write_no_more() -> None:
        with open_lanes(broker, "cam", ledger=writer) as (lane,):
            writer.close()
            lane.offer(frame(0))
            wait_until(lambda: lane.counts().frames_failed == 1, "the frame is counted", timeout_s=10)

    with pytest.raises(LedgerError):
        write_no_more()
    assert broker.records == []
