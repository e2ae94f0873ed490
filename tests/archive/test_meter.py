"""What an archive run tells Prometheus."""

from __future__ import annotations

from dataclasses import replace

from streamproc.archive.index import Gap
from streamproc.archive.meter import ArchiveMeter
from streamproc.archive.session import TopicRun
from streamproc.lag import Standing
from streamproc.metrics import Metrics

TOPIC = {"topic": "t.tiles"}
READER = {"topic": "t.tiles", "reader": "archive"}


class Shown:
    """A meter over one topic, and what its process would be scraped for."""

    def __init__(self) -> None:
        self.one, self.metrics = TopicRun("t.tiles", reading=True), Metrics()
        self.meter = ArchiveMeter(self.metrics, [self.one], now_s=100.0)

    def at(self, now_s: float, name: str, labels: dict[str, str] = TOPIC) -> float | None:
        self.meter.show(now_s=now_s, wall_s=1_000_000.0 + now_s)
        return self.metrics.registry.get_sample_value(f"streamproc_{name}", labels)


def test_what_is_forgotten_with_a_file_and_taken_again_counts_once() -> None:
    shown = Shown()
    shown.one.written.taken, shown.one.written.taken_bytes = 10, 1000
    assert shown.at(101, "archive_records_total") == 10
    shown.one.written.taken, shown.one.written.taken_bytes = 4, 400
    assert shown.at(102, "archive_records_total") == 10
    shown.one.written.taken, shown.one.written.taken_bytes = 12, 1200
    assert shown.at(103, "archive_records_total") == 12
    assert shown.at(103, "archive_bytes_total") == 1200


def test_positions_age_until_a_file_is_complete_and_not_while_nothing_waits() -> None:
    shown = Shown()
    assert shown.at(150, "archive_unfinished_seconds") == 0
    shown.one.written.taken = 5
    assert shown.at(160, "archive_unfinished_seconds") == 10
    shown.one.written.files, shown.one.written.records = 1, 5
    assert shown.at(170, "archive_unfinished_seconds") == 0
    assert shown.at(171, "archive_files_total") == 1


def test_positions_age_through_an_outage_of_broker_or_store() -> None:
    shown = Shown()
    shown.one.reading = False
    assert shown.at(400, "archive_unfinished_seconds") == 300
    shown.one.reading = True
    assert shown.at(401, "archive_unfinished_seconds") == 0


def test_records_that_retention_took_are_missing_and_gaps_that_never_were_records_are_not() -> None:
    shown = Shown()
    assert shown.at(100, "archive_missing_records_total") == 0
    shown.one.written.gaps += [Gap(0, 10, 19, "retention"), Gap(0, 30, 30, "absent")]
    assert shown.at(101, "archive_missing_records_total") == 10
    shown.one.written.gaps.append(Gap(1, 0, 0, "retention"))
    assert shown.at(102, "archive_missing_records_total") == 11


def standing(next_offset: int, end: int, heard_s: float, since_s: float | None = None) -> Standing:
    return Standing(next=next_offset, end=end, heard_s=1_000_000.0 + heard_s, since_s=since_s and 1_000_000.0 + since_s)


def test_lag_is_told_in_records_and_seconds_and_what_is_held_in_bytes() -> None:
    shown = Shown()
    shown.one.standings, shown.one.held_bytes = {0: standing(3, 10, 100, 90), 1: standing(5, 6, 100, 99)}, 4096
    assert shown.at(100, "consumer_lag_records", READER) == 8
    assert shown.at(100, "consumer_lag_seconds", READER) == 10
    assert shown.at(100, "buffer_bytes", {"buffer": "archive"}) == 4096
    shown.one.standings = {0: standing(10, 10, 200, 100), 1: standing(6, 6, 200, 100)}
    assert shown.at(200, "consumer_lag_records", READER) == 0
    assert shown.at(200, "consumer_lag_seconds", READER) == 0


def test_the_share_of_what_is_kept_is_told_of_the_partition_worst_off() -> None:
    shown = Shown()
    shown.one.standings = {0: replace(standing(40, 100, 100), first=20), 1: replace(standing(90, 100, 100), first=0)}
    assert shown.at(100, "consumer_lag_of_kept_ratio", READER) == 0.75


def test_a_burst_after_a_pause_is_no_older_than_the_end_of_the_pause() -> None:
    shown = Shown()
    shown.one.standings = {0: standing(10, 10, 147, 100)}
    assert shown.at(147, "consumer_lag_seconds", READER) == 0
    shown.one.standings = {0: standing(10, 50, 148, 100)}
    assert shown.at(148, "consumer_lag_seconds", READER) == 1
    assert shown.at(160, "consumer_lag_seconds", READER) == 13, "also while nothing is read: the broker is away"
