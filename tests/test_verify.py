"""The verifier names each planted fault, and says nothing about a clean log."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.cutting import encode_frame
from streamproc import cloudevents, wire
from streamproc.deadletters import read_letter
from streamproc.errors import LedgerError, Reason
from streamproc.exporter import Sample
from streamproc.ledger import Ledger, LedgerFrame, Sent, UnsentFrame, line_of
from streamproc.letterhead import deadletter_headers
from streamproc.metrics import Metrics
from streamproc.model import CODECS, Codec, Evidence, Frame, FrameEvent, FrameKey, Grid, Outcome
from streamproc.reader import Record
from streamproc.topics import camera_partition, tile_partition
from streamproc.verify import Verdict, judge
from streamproc.verify.counters import Read, compare
from streamproc.verify.judge import LogStart, see_event
from streamproc.verify.look import read_ledgers
from streamproc.verify.pixels import PixelCheck, PixelReport, Ranges, check_all
from streamproc.verify.verdict import KINDS, MAX_TOLD
from tests.cli import streamproc

PARTITIONS = 4
GRID = Grid(2, 2)


# --- what producers and workers leave behind ------------------------------------------------------------------------


def frame_of(key: FrameKey, status: Sent = "acked", *, codec: Codec = "raw") -> tuple[LedgerFrame, list[Record]]:
    """A small frame: its ledger line, and its tile records as they are sent; offsets are not set yet."""
    seed = hashlib.sha256(repr(key).encode()).digest()
    pixels = np.random.default_rng(list(seed)).integers(0, 255, (34, 40), np.uint8)
    tiles = encode_frame(
        Frame(pixels=pixels, captured_ns=1_700_000_000_000_000_000 + key.sequence),
        key,
        grid=GRID,
        halo=2,
        codec=codec,
        jpeg_quality=90,
    )
    records = [record_of(header, payload) for header, payload in tiles]
    return LedgerFrame(line=line_of(tiles[0][0], pixels), status=status, reason=None), records


def record_of(header: Any, payload: bytes) -> Record:
    return Record(
        topic="tiles",
        partition=tile_partition(header.camera, header.index, PARTITIONS),
        offset=0,
        timestamp_ms=0,
        key=b"",
        value=payload,
        headers=wire.tile_headers(header),
    )


def ledger_of(frames: dict[FrameKey, Sent], *, codec: Codec = "raw") -> Ledger:
    return Ledger(
        frames={key: frame_of(key, status, codec=codec)[0] for key, status in frames.items()}, dropped=(), unsent=()
    )


def event_record(key: FrameKey, *, outcome: Outcome = "complete", pipeline: str = "p", emitted_ns: int = 5) -> Record:
    event = FrameEvent(
        camera=key.camera,
        run=key.run,
        sequence=key.sequence,
        captured_ns=1_700_000_000_000_000_000,
        emitted_ns=emitted_ns,
        width=40,
        height=34,
        outcome=outcome,
        coverage=1.0,
        missing_tiles=[] if outcome == "complete" else [(1, 1)],
        edges=None,
        features={},
        objects=[],
        evidence=Evidence(topic="tiles", offsets={"3": (emitted_ns, emitted_ns)}, pipeline=pipeline, operators={}),
        latency_ms={"total": float(emitted_ns)},
    )
    headers, value = cloudevents.encode_frame_event(event)
    return Record(
        topic="events",
        partition=camera_partition(key.camera, PARTITIONS),
        offset=0,
        timestamp_ms=0,
        key=b"",
        value=value,
        headers=headers,
    )


def judged(ledger: Ledger, records: list[Record], **more: Any) -> Verdict:
    seen = [event for record in records if (event := see_event(record)) is not None]
    return judge(ledger, events=seen, **more)


def named(verdict: Verdict) -> dict[str, set[FrameKey | None]]:
    """The frames of each kind of finding."""
    found: dict[str, set[FrameKey | None]] = {}
    for finding in verdict.findings:
        found.setdefault(finding.kind, set()).add(finding.frame)
    return found


RUNS = [("gate", "r1"), ("gate", "r2"), ("door", "r1")]


@st.composite
def ledgers(draw: st.DrawFn) -> dict[FrameKey, Sent]:
    frames: dict[FrameKey, Sent] = {}
    for camera, run in draw(st.lists(st.sampled_from(RUNS), min_size=1, max_size=3, unique=True)):
        for sequence in range(draw(st.integers(1, 8))):
            frames[FrameKey(camera, run, sequence)] = draw(st.sampled_from(("acked", "acked", "unknown", "failed")))
    return frames


def clean_log(data: st.DataObject, frames: dict[FrameKey, Sent]) -> list[FrameKey]:
    """Frames in the order of their events: all that were acknowledged, some of the others, runs interleaved."""
    told = [key for key, status in frames.items() if status == "acked" or data.draw(st.booleans())]
    runs: dict[tuple[str, str], list[FrameKey]] = {}
    for key in told:
        runs.setdefault((key.camera, key.run), []).append(key)
    mixed: list[FrameKey] = []
    while runs:
        run = data.draw(st.sampled_from(sorted(runs)))
        mixed.append(runs[run].pop(0))
        if not runs[run]:
            del runs[run]
    return mixed


# --- events ---------------------------------------------------------------------------------------------------------


@given(ledgers(), st.data())
def test_nothing_is_said_about_a_clean_log(frames: dict[FrameKey, Sent], data: st.DataObject) -> None:
    told = clean_log(data, frames)
    outcomes: list[Outcome] = [data.draw(st.sampled_from(("complete", "partial", "expired", "rejected"))) for _ in told]
    strangers = [event_record(FrameKey("gate", "another", number)) for number in range(data.draw(st.integers(0, 3)))]
    records = [event_record(key, outcome=outcome) for key, outcome in zip(told, outcomes, strict=True)]
    verdict = judged(ledger_of(frames), [*strangers, *records])
    assert (verdict.findings, verdict.clean, verdict.exit_code) == ((), True, 0)
    assert (verdict.events, verdict.other_events) == (len(told), len(strangers))
    assert Counter(verdict.outcomes) == Counter(outcomes)
    without = sum(status != "acked" for key, status in frames.items() if key not in told)
    with_event = sum(frames[key] != "acked" for key in told)
    assert verdict.unproven == {"with event": with_event, "without event": without}


@given(ledgers(), st.data())
def test_each_lost_frame_is_named_and_no_other(frames: dict[FrameKey, Sent], data: st.DataObject) -> None:
    told = clean_log(data, frames)
    gone = data.draw(st.sets(st.sampled_from(sorted(told)))) if told else set()
    verdict = judged(ledger_of(frames), [event_record(key) for key in told if key not in gone])
    lost = {key for key in gone if frames[key] == "acked"}
    assert named(verdict) == ({"lost": lost} if lost else {})
    assert verdict.exit_code == (1 if lost else 0)


@given(ledgers(), st.data())
def test_each_repeated_event_is_named_and_worse_if_it_says_something_else(
    frames: dict[FrameKey, Sent], data: st.DataObject
) -> None:
    told = clean_log(data, frames)
    records = [event_record(key) for key in told]
    originals = dict(zip(told, records, strict=True))
    twice: set[FrameKey | None] = set()
    differing: set[FrameKey | None] = set()
    for key in data.draw(st.lists(st.sampled_from(told), max_size=4, unique=True)) if told else []:
        how = data.draw(st.sampled_from(("worked out again", "outcome", "pipeline")))
        again = {
            "worked out again": event_record(key, emitted_ns=77),
            "outcome": event_record(key, outcome="expired"),
            "pipeline": event_record(key, pipeline="other"),
        }[how]
        (twice if how == "worked out again" else differing).add(key)
        first = next(place for place, record in enumerate(records) if record is originals[key])
        records.insert(data.draw(st.integers(first + 1, len(records))), again)
    verdict = judged(ledger_of(frames), records)
    expected = {kind: keys for kind, keys in (("twice", twice), ("differing", differing)) if keys}
    assert {kind: keys for kind, keys in named(verdict).items() if kind != "lost"} == expected
    assert verdict.counts.get("twice", 0) + verdict.counts.get("differing", 0) == len(twice) + len(differing)


@given(ledgers(), st.data())
def test_every_event_behind_a_later_one_of_its_run_is_named(frames: dict[FrameKey, Sent], data: st.DataObject) -> None:
    told = data.draw(st.permutations(clean_log(data, frames)))
    verdict = judged(ledger_of(frames), [event_record(key) for key in told])
    behind = {
        key
        for at, key in enumerate(told)
        if any((other.camera, other.run) == (key.camera, key.run) and other > key for other in told[:at])
    }
    assert named(verdict) == ({"disorder": behind} if behind else {})


@given(ledgers(), st.integers(1, 3))
def test_events_that_the_ledger_does_not_know_are_foreign(frames: dict[FrameKey, Sent], count: int) -> None:
    last = max(frames)
    foreign = [FrameKey(last.camera, last.run, last.sequence + 1 + number) for number in range(count)]
    verdict = judged(ledger_of(frames), [event_record(key) for key in [*frames, *foreign]])
    assert named(verdict) == {"foreign": set(foreign)}
    assert verdict.exit_code == 1


def test_an_event_that_contradicts_itself_is_damaged() -> None:
    one, other = FrameKey("gate", "r1", 0), FrameKey("gate", "r1", 1)
    ledger = ledger_of({one: "acked", other: "acked"})
    good = event_record(one)
    renamed = [(name, b"0" * 32 if name == "ce_id" else value) for name, value in good.headers]
    for bad in (
        _with(good, headers=renamed),
        _with(good, value=event_record(other).value),
        _with(good, value=good.value[:-3]),
    ):
        verdict = judged(ledger, [bad, event_record(other)])
        assert named(verdict) == {"damaged": {one}}


def _with(record: Record, **changes: Any) -> Record:
    from dataclasses import replace

    return replace(record, **changes)


def test_events_of_one_run_in_two_partitions_have_no_order() -> None:
    keys = [FrameKey("gate", "r1", number) for number in range(2)]
    records = [event_record(keys[0]), _with(event_record(keys[1]), partition=9)]
    assert named(judged(ledger_of(dict.fromkeys(keys, "acked")), records)) == {"disorder": {keys[1]}}


def test_frames_ahead_of_a_cut_log_cannot_be_judged_but_holes_behind_its_begin_are_lost() -> None:
    keys = [FrameKey("gate", "r1", number) for number in range(6)]
    ledger = ledger_of(dict.fromkeys(keys, "acked"))
    start = LogStart(partitions=PARTITIONS, cut={camera_partition("gate", PARTITIONS): 812})
    verdict = judged(ledger, [event_record(key) for key in keys[2:]], start=start)
    assert (verdict.clean, verdict.exit_code) == (True, 2)
    assert "begins at offset 812" in verdict.cut[0]
    assert "2 frames" in verdict.cut[0]
    verdict = judged(ledger, [event_record(key) for key in (*keys[2:4], keys[5])], start=start)
    assert (named(verdict), verdict.exit_code) == ({"lost": {keys[4]}}, 1)
    elsewhere = LogStart(partitions=PARTITIONS, cut={camera_partition("gate", PARTITIONS) ^ 1: 5})
    assert named(judged(ledger, [event_record(key) for key in keys[2:]], start=elsewhere)) == {"lost": set(keys[:2])}


def test_dead_letters_are_counted_by_reason_for_the_ledgers_runs() -> None:
    key = FrameKey("gate", "r1", 0)
    _, tiles = frame_of(key)
    letters = []
    plants: list[tuple[Record, Reason]] = [
        (tiles[0], "checksum"),
        (tiles[1], "checksum"),
        (_with(tiles[2], headers=[]), "envelope"),
    ]
    for record, reason in plants:
        headers = deadletter_headers(record.headers, reason=reason, detail="x", stage="extract", origin=("t", 0, 1))
        letters.append(read_letter(_with(record, headers=[(name, value or b"") for name, value in headers])))
    verdict = judged(ledger_of({key: "acked"}), [event_record(key, outcome="partial")], letters=letters)
    assert (verdict.deadletters, verdict.other_deadletters, verdict.clean) == ({"checksum": 2}, 1, True)


def test_what_is_kept_of_many_findings_is_bounded_and_all_are_counted() -> None:
    keys = [FrameKey("gate", "r1", number) for number in range(MAX_TOLD + 50)]
    frame, _ = frame_of(keys[0])
    ledger = Ledger(frames=dict.fromkeys(keys, frame), dropped=(), unsent=())
    verdict = judged(ledger, [])
    assert (verdict.counts["lost"], len(verdict.findings)) == (MAX_TOLD + 50, MAX_TOLD)
    told = verdict.as_json()
    assert told["wrong"] == {**dict.fromkeys(KINDS, 0), "lost": MAX_TOLD + 50}


# --- pixels ---------------------------------------------------------------------------------------------------------


class Log:
    """Records of several partitions as a broker keeps them: each in order, read in any interleaving."""

    def __init__(self, records: list[Record]) -> None:
        self.partitions: dict[int, list[Record]] = {}
        for record in records:
            held = self.partitions.setdefault(record.partition, [])
            held.append(_with(record, offset=len(held)))

    def ranges(self) -> Ranges:
        return {number: (0, len(held)) for number, held in self.partitions.items()}

    def read(self, ranges: Ranges, data: st.DataObject) -> Iterator[Record]:
        left = {number: list(self.partitions[number][low:high]) for number, (low, high) in ranges.items()}
        left = {number: held for number, held in left.items() if held}
        while left:
            number = data.draw(st.sampled_from(sorted(left)))
            for _ in range(data.draw(st.integers(1, 3))):
                if left[number]:
                    yield left[number].pop(0)
            if not left[number]:
                del left[number]


PLANTS = ("none", "flipped", "other pixels", "other digest", "missing", "twice", "twice differing")


def planted(tiles: list[Record], how: str, index: int) -> list[Record]:
    """The tile records of one frame, one of them made wrong."""
    good = tiles[index]
    header = wire.read_tile_header(good.headers)
    flipped = bytes([good.value[0] ^ 1]) + good.value[1:]
    signed = msgspec.structs.replace(header, payload_digest=wire.digest_payload(flipped))
    other = _with(record_of(signed, flipped), partition=good.partition)
    foreign = msgspec.structs.replace(header, frame_digest=b"x" * 16)
    changed = {
        "none": [good],
        "flipped": [_with(good, value=flipped)],
        "other pixels": [other],
        "other digest": [record_of(foreign, good.value)],
        "missing": [],
        "twice": [good, good],
        "twice differing": [good, other],
    }[how]
    return [*tiles[:index], *changed, *tiles[index + 1 :]]


@given(st.data(), st.sampled_from(("raw", "png")), st.sampled_from((1, 3000, 10**9)))
def test_wrong_pixels_are_found_in_any_order_of_reading_and_with_any_bound(
    data: st.DataObject, codec: Codec, held_bytes: int
) -> None:
    keys = [FrameKey(camera, "r1", number) for camera in ("gate", "door") for number in range(3)]
    made = {key: frame_of(key, codec=codec) for key in keys}
    plants = {key: data.draw(st.sampled_from(PLANTS)) for key in keys}
    records = [one for key in keys for one in planted(made[key][1], plants[key], data.draw(st.integers(0, 3)))]
    log = Log(records)
    ledger = Ledger(frames={key: frame for key, (frame, _) in made.items()}, dropped=(), unsent=())
    check = PixelCheck(ledger, max_frame_pixels=10**6, held_bytes=held_bytes)
    report = check_all(check, lambda ranges: log.read(ranges, data), log.ranges(), cut=False)
    # a flipped first byte is the halo's in a raw tile, and no png any more
    assert {key for key, _ in report.wrong} == {key for key, how in plants.items() if how not in {"none", "twice"}}
    assert report.checked == sum(how in {"none", "twice"} for how in plants.values())
    assert (report.foreign, report.unchecked, check.held_bytes >= 0) == ((), 0, True)
    verdict = judged(ledger, [event_record(key) for key in keys], pixels=report)
    assert verdict.counts.get("pixels", 0) == len(report.wrong)


@given(st.data())
def test_held_tiles_stay_below_the_bound(data: st.DataObject) -> None:
    keys = [FrameKey("gate", "r1", number) for number in range(8)]
    made = {key: frame_of(key) for key in keys}
    size = sum(len(tile.value) for tile in made[keys[0]][1])
    log = Log([tile for _, tiles in made.values() for tile in tiles])
    ledger = Ledger(frames={key: frame for key, (frame, _) in made.items()}, dropped=(), unsent=())
    check = PixelCheck(ledger, max_frame_pixels=10**6, held_bytes=2 * size)
    highest = 0

    def read(ranges: Ranges) -> Iterator[Record]:
        nonlocal highest
        for record in log.read(ranges, data):
            yield record
            highest = max(highest, check.held_bytes)

    report = check_all(check, read, log.ranges(), cut=False)
    assert (report.checked, report.wrong, check.held_bytes) == (8, (), 0)
    assert highest <= 2 * size


def test_jpeg_frames_are_judged_by_their_digests_without_decoding() -> None:
    key = FrameKey("gate", "r1", 0)
    frame, tiles = frame_of(key, codec="jpeg")
    ledger = Ledger(frames={key: frame}, dropped=(), unsent=())
    assert report_on(ledger, tiles).checked == 1
    damaged = [_with(tiles[0], value=tiles[0].value[:-1]), *tiles[1:]]
    ((_, told),) = report_on(ledger, damaged).wrong
    assert told.startswith("tile 0,0: checksum")


def report_on(ledger: Ledger, tiles: list[Record], *, cut: bool = False) -> PixelReport:
    log = Log(tiles)

    def read(ranges: Ranges) -> Iterator[Record]:
        return iter([one for number, (low, high) in ranges.items() for one in log.partitions[number][low:high]])

    return check_all(PixelCheck(ledger, max_frame_pixels=10**6), read, log.ranges(), cut=cut)


def test_tiles_that_retention_took_are_not_wrong_pixels_but_later_holes_are() -> None:
    keys = [FrameKey("gate", "r1", number) for number in range(4)]
    made = {key: frame_of(key) for key in keys}
    ledger = Ledger(frames={key: frame for key, (frame, _) in made.items()}, dropped=(), unsent=())
    left = [*made[keys[0]][1][2:], *made[keys[1]][1], *made[keys[2]][1][:3], *made[keys[3]][1]]
    report = report_on(ledger, left, cut=True)
    assert (report.checked, report.unchecked) == (2, 1)
    assert [key for key, _ in report.wrong] == [keys[2]]
    verdict = judged(ledger, [event_record(key) for key in keys], pixels=report_on(ledger, left[:6], cut=True))
    assert verdict.exit_code == 1
    short = Ledger(frames={key: made[key][0] for key in keys[:2]}, dropped=(), unsent=())
    verdict = judged(short, [event_record(key) for key in keys[:2]], pixels=report_on(short, left[:6], cut=True))
    assert (verdict.exit_code, "retention" in verdict.cut[0]) == (2, True)


def test_frames_that_were_not_acknowledged_may_lack_tiles_but_not_have_other_pixels() -> None:
    one, other, stranger = (FrameKey("gate", "r1", number) for number in range(3))
    made = {one: frame_of(one, "unknown"), other: frame_of(other, "failed")}
    ledger = Ledger(frames={key: frame for key, (frame, _) in made.items()}, dropped=(), unsent=())
    report = report_on(ledger, [*made[one][1][:2], *planted(made[other][1], "other pixels", 3)])
    assert [key for key, _ in report.wrong] == [other]
    assert report_on(ledger, frame_of(stranger)[1]).foreign == (stranger,)
    assert set(CODECS) == {"jpeg", "png", "raw"}


# --- counters -------------------------------------------------------------------------------------------------------


def sampled(metrics: Metrics) -> list[Sample]:
    return [
        Sample(sample.name, sample.labels, sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    ]


def quiet_processes() -> tuple[Metrics, Metrics, Ledger, Read]:
    """A producer and a worker whose books are right: three frames of four tiles, one of them partial."""
    keys = [FrameKey("gate", "r1", number) for number in range(3)]
    gone = UnsentFrame(camera="gate", run="r1", captured_ns=1, status="dropped", reason="drop-oldest")
    frames = {key: frame_of(key)[0] for key in keys}
    producer, worker = Metrics(), Metrics()
    producer.frames_published.labels("gate").inc(3)
    producer.frames_dropped.labels("gate", "drop-oldest").inc()
    worker.frames.labels("gate", "complete").inc(2)
    worker.frames.labels("gate", "partial").inc()
    worker.tiles.labels("merged").inc(11)
    worker.tiles.labels("deadlettered").inc(1)
    worker.tiles.labels("duplicate").inc(2)
    worker.deadletters.labels("extract", "checksum").inc()
    read = Read(
        events={("gate", "complete"): 2, ("gate", "partial"): 1},
        merged_tiles=11,
        features=12,
        deadletters={("extract", "checksum"): 1},
    )
    return producer, worker, Ledger(frames=frames, dropped=(gone,), unsent=()), read


def test_counters_of_quiet_processes_equal_ledger_and_log() -> None:
    producer, worker, ledger, read = quiet_processes()
    done = compare([*sampled(producer), *sampled(worker)], ledger, read)
    assert (done.differences, done.notes) == ([], [])


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("frames_published", ["gate"], "frames_published gate: counters say 4, the ledger 3"),
        ("frames_failed", ["gate"], "frames_failed gate: counters say 1, the ledger 0"),
        ("frames_dropped", ["gate", "drop-oldest"], "frames_dropped gate: counters say 2, the ledger 1"),
        ("frames", ["gate", "expired"], "frames gate expired: counters say 1, the events 0"),
        ("tiles", ["merged"], "tiles merged: counters say 12, the events are made of 11"),
        ("deadletters", ["assemble", "limits"], "deadletters assemble limits: counters say 1, the log 0"),
    ],
)
def test_one_count_too_many_is_told(name: str, labels: list[str], words: str) -> None:
    producer, worker, ledger, read = quiet_processes()
    getattr(producer if "frames_" in name else worker, name).labels(*labels).inc()
    done = compare([*sampled(producer), *sampled(worker)], ledger, read)
    assert words in done.differences


def test_counters_of_a_killed_worker_are_missed() -> None:
    producer, _, ledger, read = quiet_processes()
    other = Metrics()
    other.frames.labels("gate", "complete").inc(1)
    other.tiles.labels("merged").inc(4)
    done = compare([*sampled(producer), *sampled(other)], ledger, read)
    assert "tiles by outcome: counters say 4 (0 of them repeats), the features topic holds 12" in done.differences
    assert "frames gate complete: counters say 1, the events 2" in done.differences


def test_what_nobody_counts_or_retention_took_is_said_to_be_not_compared() -> None:
    _, worker, ledger, _ = quiet_processes()
    read = Read(
        events={("gate", "complete"): 2, ("gate", "partial"): 1}, merged_tiles=None, features=None, deadletters=None
    )
    done = compare(sampled(worker), ledger, read)
    assert (done.differences, len(done.notes)) == ([], 4)


# --- the command ----------------------------------------------------------------------------------------------------


def test_trouble_is_one_line_and_exit_2(tmp_path: Path) -> None:
    ledger = tmp_path / "l.jsonl"
    ledger.write_text('{"kind":"ledger","schema":1}\n')
    for arguments, words in (
        (["missing.jsonl"], "missing.jsonl"),
        ([ledger, "--bootstrap", "127.0.0.1:1"], "127.0.0.1:1"),
        ([ledger, "--bootstrap", "127.0.0.1:1", "--metrics", "file:///etc/passwd"], "http://HOST:PORT/metrics"),
    ):
        done = streamproc("verify", *arguments, cwd=tmp_path)
        assert done.code == 2
        assert words in done.error_line


def test_two_ledgers_of_the_same_frame_are_refused(tmp_path: Path) -> None:
    frame, _ = frame_of(FrameKey("gate", "r1", 0))
    line = msgspec.json.encode(frame.line).decode()
    for name in ("a", "b"):
        (tmp_path / name).write_text('{"kind":"ledger","schema":1}\n' + line + "\n")
    assert list(read_ledgers([tmp_path / "a"]).frames) == [FrameKey("gate", "r1", 0)]
    with pytest.raises(LedgerError, match="gate/r1/0"):
        read_ledgers([tmp_path / "a", tmp_path / "b"])
