"""A run whose broker stalls: policies, memory, numbers without holes, and a ledger of what became of each frame."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.deliveries import Deliveries
from producers.publish import PublishReport, publish
from producers.sources import Source
from producers.waiting import DROP_POLICIES, DropPolicy
from streamproc import ledger as ledger_module
from streamproc.errors import DeliveryError, LedgerError, RecordRefused, SourceError
from streamproc.ledger import Ledger, LedgerWriter, read_ledger
from streamproc.metrics import Metrics
from streamproc.model import Frame, FrameKey, Grid
from streamproc.settings import load_settings
from tests.producers.senders import MemorySender, StallingSender
from tests.test_ledger import frame_line
from tests.waiting import wait_until

SETTINGS = load_settings(bootstrap="127.0.0.1:9", producer_queue_bytes=2**20)
SIDES = (160, 160, 160, 160, 224)
TILE_BYTES = max(SIDES) ** 2 * 3 // 4


FIRST = 8  # frames that fit, whole, into the bound, and fill its half that is the queue


class Numbered(Source):
    """Frames of 75 to 150 kB whose pixels and capture time say which they are."""

    name = "numbered"

    def __init__(self, count: int, *, after_first: Callable[[], None] = lambda: None) -> None:
        self.length = count
        self.read = 0
        self._after_first = after_first

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.length or 0):
            if number == FIRST:
                self._after_first()
            self.read += 1
            yield Frame(pixels=pixels_of(number), captured_ns=number)

    def describe(self) -> str:
        return "numbered frames of a test"


def pixels_of(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    side = SIDES[number % len(SIDES)]
    return np.full((side, side, 3), number % 251, np.uint8)


def run(source: Source, sender: MemorySender, **options: Any) -> PublishReport:
    given: dict[str, Any] = {
        "camera": "cam",
        "run": "r1",
        "partitions": 8,
        "codec": "raw",
        "grid": Grid(2, 2),
        "fps": "max",
    }
    report = publish(source, options.pop("settings", SETTINGS), sender=sender, **{**given, **options})
    assert report.frames_read == report.frames_published + report.frames_failed + report.frames_dropped
    return report


def numbers_sent(sender: MemorySender) -> list[int]:
    """Which frames were sent, in order; fails if sequence numbers have a hole or tiles are mixed."""
    headers = [record.header for record in sender.records]
    assert [(header.sequence, header.index) for header in headers] == [
        (number, index) for number in range(len(headers) // 4) for index in range(4)
    ]
    return [header.captured_ns for header in headers[::4]]


def counted(metrics: Metrics, policy: str = "block") -> dict[str, float]:
    """The three outcomes as the exporter tells them."""

    def value(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(f"streamproc_frames_{name}_total", {"camera": "cam", **labels}) or 0

    return {
        "published": value("published"),
        "failed": value("failed"),
        "dropped": value("dropped", reason=policy),
    }


def require_agreement(report: PublishReport, found: Ledger, metrics: Metrics, policy: str = "block") -> None:
    """Report, ledger and metrics tell the same."""
    counts = found.counts()
    assert counts["acked"] == report.frames_published
    assert counts["failed"] + counts["unknown"] == report.frames_failed
    assert counts["unknown"] == report.frames_unknown
    assert counts["dropped"] == report.frames_dropped
    assert {frame.reason for frame in found.dropped} <= {policy}
    assert counted(metrics, policy) == {
        "published": report.frames_published,
        "failed": report.frames_failed,
        "dropped": report.frames_dropped,
    }


# --- policies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_a_live_source_is_read_on_at_its_pace_while_the_broker_stalls(policy: DropPolicy) -> None:
    def queue_is_full() -> None:
        wait_until(lambda: sender.queued_bytes + 2 * TILE_BYTES > 2**19, "the queue fills", timeout_s=20)

    count = 80
    source = Numbered(count, after_first=queue_is_full)
    with StallingSender() as sender:
        sender.stalled.set()
        ended = threading.Thread(target=lambda: reports.append(run(source, sender, drop=policy, fps=200)))
        reports: list[PublishReport] = []
        ended.start()
        wait_until(lambda: source.read == count, "the source is read to its end", timeout_s=20)
        held = len(sender.records) // 4
        sender.stalled.clear()
        ended.join(20)
    (report,) = reports
    report.raise_for_problem()
    sent = numbers_sent(sender)
    assert sent == sorted(sent)
    assert report.frames_dropped == count - len(sent) > count // 2
    assert report.frames_published == len(sent) >= held
    # What was queued in the stall goes first; then the freshest under drop-oldest, the stalest under drop-newest.
    assert 4 <= held < FIRST
    assert sent[:held] == list(range(held))
    if policy == "drop-oldest":
        # Few had their numbers before the queue was full; all others that were not sent could be dropped.
        freshest = [number for number in sent if number >= FIRST + 4]
        assert freshest == list(range(count - len(freshest), count))
        assert len(freshest) >= 2
    else:
        assert sent == list(range(len(sent)))


def test_under_block_a_stalled_broker_stops_the_reader_and_nothing_is_lost() -> None:
    source = Numbered(60)
    with StallingSender() as sender:
        sender.stalled.set()
        reports: list[PublishReport] = []
        ended = threading.Thread(target=lambda: reports.append(run(source, sender)))
        ended.start()
        wait_until(lambda: sender.queued_bytes > 2**18, "the queue fills", timeout_s=20)
        time.sleep(0.5)
        read = source.read
        time.sleep(0.3)
        assert source.read == read < 30
        sender.stalled.clear()
        ended.join(20)
    (report,) = reports
    assert (report.frames_published, report.frames_dropped, report.problem) == (60, 0, None)
    assert numbers_sent(sender) == list(range(60))


class Watched(Numbered):
    """Notes the most bytes that the producer held, whenever a frame is read."""

    def __init__(self, count: int, metrics: Metrics, pauses: Sequence[float]) -> None:
        super().__init__(count)
        self._metrics = metrics
        self._pauses = pauses
        self.most_bytes = 0.0

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(super().__iter__()):
            self.look()
            time.sleep(self._pauses[number % len(self._pauses)])
            yield frame

    def look(self) -> None:
        held = self._metrics.registry.get_sample_value("streamproc_buffer_bytes", {"buffer": "producer"})
        assert held is not None
        self.most_bytes = max(self.most_bytes, held)


@settings(max_examples=25)
@given(
    policy=st.sampled_from(DROP_POLICIES),
    stalls=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 0.01, 0.05])), max_size=5),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.005]), min_size=1, max_size=5),
    count=st.integers(0, 60),
)
def test_whatever_stalls_each_frame_has_one_outcome_and_numbers_have_no_holes(
    policy: DropPolicy, stalls: list[tuple[int, float]], pauses: list[float], count: int
) -> None:
    metrics = Metrics()
    source = Watched(count, metrics, pauses)
    with TemporaryDirectory() as folder, StallingSender(stalls) as sender:
        with LedgerWriter(Path(folder) / "ledger") as writer:
            report = run(source, sender, drop=policy, ledger=writer, metrics=metrics)
        found = read_ledger(Path(folder) / "ledger")
    report.raise_for_problem()
    assert (report.frames_read, report.frames_failed) == (count, 0)
    assert report.frames_dropped == 0 or policy != "block"
    sent = numbers_sent(sender)
    assert sent == sorted(sent)
    assert len(sent) == report.frames_published
    # A tile counts twice for a moment, while it changes hands.
    assert source.most_bytes <= SETTINGS.producer_queue_bytes + TILE_BYTES
    assert sender.most_queued_bytes <= SETTINGS.producer_queue_bytes // 2
    require_agreement(report, found, metrics, policy)
    assert sorted([*sent, *(frame.captured_ns for frame in found.dropped)]) == list(range(count))
    for frame, number in zip(found.frames.values(), sent, strict=True):
        assert frame.line.captured_ns == number
        assert frame.line.sha256 == hashlib.sha256(pixels_of(number).tobytes()).hexdigest()


def test_drops_are_logged_seldom_with_their_count(caplog: pytest.LogCaptureFixture) -> None:
    now_s = [100.0]
    deliveries = Deliveries(Metrics(), camera="cam", run="r1", now_s=lambda: now_s[0])
    with caplog.at_level(logging.WARNING):
        for number in range(50):
            now_s[0] = 100 + number / 2
            deliveries.drop(Frame(pixels=np.zeros((1, 1), np.uint8), captured_ns=number), "drop-oldest")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines] == [
        "camera cam: 1 frame dropped (drop-oldest",
        "camera cam: 20 frames dropped (drop-oldest",
        "camera cam: 20 frames dropped (drop-oldest",
    ]
    assert deliveries.frames_dropped == 50


# --- the ledger --------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def ledger_of(file: Path, sender: MemorySender, *, count: int, **options: Any) -> tuple[PublishReport, Ledger]:
    metrics = Metrics()
    with LedgerWriter(file) as writer:
        report = run(Numbered(count), sender, ledger=writer, metrics=metrics, **options)
    found = read_ledger(file)
    require_agreement(report, found, metrics)
    return report, found


def statuses(found: Ledger) -> list[str]:
    return [frame.status for frame in found.frames.values()]


def test_a_frame_is_in_the_ledger_before_its_first_tile_is_sent(file: Path) -> None:
    seen: list[set[int]] = []

    class Reading(MemorySender):
        def send(self, **record: Any) -> None:
            seen.append({key.sequence for key in read_ledger(file).frames})
            super().send(**record)

    sender = Reading()
    _, found = ledger_of(file, sender, count=5)
    assert [record.header.sequence in known for record, known in zip(sender.records, seen, strict=True)] == [True] * 20
    assert statuses(found) == ["acked"] * 5


def test_a_frame_is_acked_only_with_its_last_tile(file: Path) -> None:
    class Reading(MemorySender):
        def _status(self) -> str:
            return statuses(read_ledger(file))[-1]

        def flush(self, timeout_s: float) -> int:
            for record, report in self._waiting:
                assert report is not None
                before.append(self._status())
                report(None, 1)
                after.append(self._status())
                self.queued_bytes -= len(record.value)
            self._waiting.clear()
            return 0

    before: list[str] = []
    after: list[str] = []
    ledger_of(file, Reading(), count=1)
    assert before == ["unknown"] * 4
    assert after == ["unknown", "unknown", "unknown", "acked"]


@pytest.mark.parametrize(("error", "status"), [(RecordRefused, "failed"), (DeliveryError, "unknown")])
def test_only_what_can_never_arrive_is_failed(error: type[DeliveryError], status: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger"
        with LedgerWriter(file) as writer:
            deliveries = Deliveries(Metrics(), camera="cam", run="r1", ledger=writer)
            deliveries.expect(FrameKey("cam", "r1", 0), 3, frame_line(0))
            for problem in (None, DeliveryError("too late"), error("the broker said so")):
                deliveries.report(0, 10, problem)
        (frame,) = read_ledger(file).frames.values()
    assert (frame.status, frame.reason) == (status, "too late")


def test_a_delivery_that_failed_leaves_its_frame_unknown(file: Path) -> None:
    sender = MemorySender(fails=lambda header: (header.sequence, header.index) == (2, 1))
    report, found = ledger_of(file, sender, count=5)
    assert statuses(found) == ["acked", "acked", "unknown", "acked", "acked"]
    assert report.frames_unknown == 1


def test_a_tile_that_cannot_be_queued_fails_its_frame_and_those_behind_it_were_never_sent(file: Path) -> None:
    sender = MemorySender(prompt=True, raises=lambda header: (header.sequence, header.index) == (3, 2))
    report, found = ledger_of(file, sender, count=20)
    assert statuses(found) == ["acked", "acked", "acked", "failed"]
    assert len(found.unsent) == report.frames_read - 4
    assert {frame.reason for frame in found.unsent} == {"cannot be queued"}
    assert report.frames_unknown == 0


def test_what_was_not_acknowledged_in_time_is_unknown(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.publish._STOP_S", 0.2)
    settings = load_settings(delivery_timeout_s=1)
    report, found = ledger_of(file, MemorySender(stuck=True), count=3, settings=settings)
    assert statuses(found) == ["unknown"] * 3
    assert (report.frames_failed, report.frames_unknown) == (3, 3)


def test_a_full_queue_fails_the_frame_that_waits_and_leaves_those_before_it_unknown(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.publish._STOP_S", 0.2)
    settings = SETTINGS.model_copy(update={"delivery_timeout_s": 1})
    report, found = ledger_of(file, MemorySender(stuck=True), count=40, settings=settings)
    assert statuses(found)[-1] == "failed"
    assert set(statuses(found)[:-1]) == {"unknown"}
    assert len(found.unsent) == report.frames_read - len(found.frames) > 0
    assert "is the broker up?" in str(report.problem)


def test_a_frame_that_cannot_be_encoded_is_failed_without_a_number(file: Path) -> None:
    class Wide(Numbered):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            yield Frame(pixels=np.zeros((16, 65_520), np.uint8), captured_ns=99)

    metrics = Metrics()
    with LedgerWriter(file) as writer:
        report = run(Wide(2), MemorySender(), codec="jpeg", grid=Grid(1, 1), ledger=writer, metrics=metrics)
    assert isinstance(report.problem, SourceError)
    found = read_ledger(file)
    require_agreement(report, found, metrics)
    assert statuses(found) == ["acked", "acked"]
    assert [(frame.captured_ns, frame.status) for frame in found.unsent] == [(99, "failed")]


def test_an_error_of_the_callers_own_leaves_no_frame_without_outcome(file: Path) -> None:
    def fail(sent: int) -> None:
        if sent == 3:
            raise ZeroDivisionError

    metrics = Metrics()
    with LedgerWriter(file) as writer, pytest.raises(ZeroDivisionError):
        run(Numbered(30), MemorySender(), ledger=writer, metrics=metrics, on_progress=fail)
    found = read_ledger(file)
    assert statuses(found) == ["unknown"] * 3
    assert counted(metrics)["failed"] == 3 + len(found.unsent)


def test_a_ledger_that_cannot_be_written_ends_the_run_before_the_frame_is_sent(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_at_frame_3(descriptor: int, data: bytes) -> None:
        if b'"frame"' in data and b'"sequence":3,' in data:
            raise OSError(28, "No space left on device")
        whole(descriptor, data)

    whole = ledger_module._write_all
    monkeypatch.setattr(ledger_module, "_write_all", full_at_frame_3)
    sender = MemorySender(prompt=True)
    with LedgerWriter(file) as writer:
        report = run(Numbered(20), sender, ledger=writer)
    assert isinstance(report.problem, LedgerError)
    assert numbers_sent(sender) == [0, 1, 2]
    assert (report.frames_published, report.frames_failed) == (3, report.frames_read - 3)


def test_a_status_that_cannot_be_written_ends_the_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_at_status_1(descriptor: int, data: bytes) -> None:
        if b'"status"' in data and b'"sequence":1,' in data:
            raise OSError(28, "No space left on device")
        whole(descriptor, data)

    whole = ledger_module._write_all
    monkeypatch.setattr(ledger_module, "_write_all", full_at_status_1)
    with LedgerWriter(file) as writer:
        report = run(Numbered(20), MemorySender(prompt=True), ledger=writer)
    assert isinstance(report.problem, LedgerError)
    assert statuses(read_ledger(file)) == ["acked", "unknown"]
    assert report.frames_published == 2  # the log has both; the ledger claims less than is true, never more
