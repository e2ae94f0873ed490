"""Says from outside what became of every frame: ledgers and the log in, a verdict out, in a process of its own.

    python -m tests.chaos.judge --bootstrap HOST:PORT --prefix PREFIX [--damaged CAMERA/RUN/SEQUENCE] LEDGER...

The sources are synthetic, so the oracle needs no pictures: frame n is always the same, and its edges must equal
`cv2.Canny` on the whole of it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path

import cv2
import msgspec
import numpy as np

from producers.sources.synthetic import synthetic_frame
from streamproc import cloudevents
from streamproc.ledger import Ledger, read_ledger
from streamproc.model import FrameEvent, FrameKey
from streamproc.reader import Record, TopicReader
from streamproc.settings import load_settings
from streamproc.topics import Topics

SHOWN = 5  # examples of each fault


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an outside reader finds; the lists hold frames as `camera/run/sequence`.

    Attributes:
        lost: Acknowledged, and no event tells of them.
        twice: More than one event tells of them, or an id came twice.
        wrong_pixels: Told as complete, with edges that are not those of the frame.
        reordered: Told after a later frame of the same run.
        unfinished: Acknowledged and undamaged, and told as anything but complete.
        strangers: Told, though never acknowledged nor unknown; or damaged, and told as complete.
        letters: Dead letters by reason.
    """

    acked: int
    unknown: int
    failed: int
    events: int
    lost: list[str]
    twice: list[str]
    wrong_pixels: list[str]
    reordered: list[str]
    unfinished: list[str]
    strangers: list[str]
    letters: dict[str, int]
    expected_letters: dict[str, int]

    @property
    def faults(self) -> dict[str, list[str]]:
        """What is wrong, by kind; empty if all is well."""
        found = {
            "lost": self.lost,
            "twice": self.twice,
            "wrong pixels": self.wrong_pixels,
            "reordered": self.reordered,
            "unfinished": self.unfinished,
            "strangers": self.strangers,
        }
        if self.letters != self.expected_letters:
            found["dead letters"] = [f"{reason} {count}" for reason, count in self.letters.items()] or ["none"]
        return {kind: frames for kind, frames in found.items() if frames}

    def __str__(self) -> str:
        told = f"{self.acked} frames acknowledged, {self.unknown} unknown, {self.events} events"
        wrong = [f"{len(frames)} {kind} ({', '.join(frames[:SHOWN])})" for kind, frames in self.faults.items()]
        return f"{told}: {'; '.join(wrong) or 'all as it must be'}"


def judge(
    ledgers: Iterable[Ledger],
    events: Sequence[tuple[str, FrameEvent]],
    letters: Counter[str],
    *,
    damaged: Collection[str] = (),
    expected_letters: dict[str, int] | None = None,
) -> Verdict:
    """Compare what was sent with what came out.

    Args:
        ledgers: Of all producers.
        events: (id, data), in log order within each run.
        letters: Dead letters by reason.
        damaged: Frames whose tiles were changed on their way.
        expected_letters: By reason.
    """
    frames = {key: frame for ledger in ledgers for key, frame in ledger.frames.items()}
    acked = {key for key, frame in frames.items() if frame.status == "acked"}
    unknown = {key for key, frame in frames.items() if frame.status == "unknown"}
    told = Counter(event.key for _, event in events)
    complete = {event.key for _, event in events if event.outcome == "complete"}
    hurt = {key for key in frames if _name(key) in damaged}
    return Verdict(
        acked=len(acked),
        unknown=len(unknown),
        failed=len(frames) - len(acked) - len(unknown),
        events=len(events),
        lost=_names(acked - told.keys()),
        twice=_names({key for key, count in told.items() if count > 1} | _repeated_ids(events)),
        wrong_pixels=_names({event.key for _, event in events if event.key in frames and not _pixels_are_right(event)}),
        reordered=_names(_reordered(events)),
        unfinished=_names((acked & told.keys()) - complete - hurt),
        strangers=_names((told.keys() - acked - unknown) | (hurt & complete)),
        letters=dict(sorted(letters.items())),
        expected_letters=expected_letters or {},
    )


def _name(key: FrameKey) -> str:
    return f"{key.camera}/{key.run}/{key.sequence}"


def _names(keys: Iterable[FrameKey]) -> list[str]:
    return [_name(key) for key in sorted(keys, key=lambda key: (key.camera, key.run, key.sequence))]


def _repeated_ids(events: Iterable[tuple[str, FrameEvent]]) -> set[FrameKey]:
    seen: dict[str, FrameKey] = {}
    repeated = set()
    for event_id, event in events:
        if event_id in seen:
            repeated.add(event.key)
        seen[event_id] = event.key
    return repeated


def _reordered(events: Iterable[tuple[str, FrameEvent]]) -> set[FrameKey]:
    last: dict[tuple[str, str], int] = {}
    late = set()
    for _, event in events:
        run = (event.camera, event.run)
        if event.sequence < last.get(run, -1):
            late.add(event.key)
        last[run] = max(event.sequence, last.get(run, -1))
    return late


def _pixels_are_right(event: FrameEvent) -> bool:
    if event.outcome != "complete":
        return True
    return event.edges is not None and event.edges.digest == edges_digest(event.sequence, event.width, event.height)


@cache
def edges_digest(sequence: int, width: int, height: int) -> str:
    """The oracle: grey, Canny 50/150 on the whole of synthetic frame `sequence`."""
    gray = cv2.cvtColor(synthetic_frame(sequence, width=width, height=height), cv2.COLOR_BGR2GRAY)
    return hashlib.sha256(np.packbits(cv2.Canny(gray, 50, 150) > 0).tobytes()).hexdigest()


def read_events(records: Iterable[Record]) -> list[tuple[str, FrameEvent]]:
    """Frame events with their ids; other events are passed over."""
    return [
        (dict(record.headers)["ce_id"].decode(), cloudevents.decode_frame_event(record.value))
        for record in records
        if cloudevents.event_key(record.headers) is not None
    ]


def main(arguments: list[str]) -> int:
    """Read the log, judge, print the verdict as JSON; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="judge")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--damaged", action="append", default=[])
    parser.add_argument("--letter", action="append", default=[], help="reason of a dead letter that is expected")
    parser.add_argument("ledgers", nargs="+", type=Path)
    given = parser.parse_args(arguments)
    settings = load_settings(bootstrap=given.bootstrap, prefix=given.prefix)
    topics = Topics(settings.prefix)

    def whole(topic: str) -> Iterable[Record]:
        with TopicReader(settings, topic) as reader:
            yield from reader.read({number: reader.bounds(number) for number in reader.partitions()})

    verdict = judge(
        [read_ledger(path) for path in given.ledgers],
        read_events(whole(topics.events)),
        Counter(dict(record.headers).get("dl_reason", b"").decode() for record in whole(topics.deadletters)),
        damaged=given.damaged,
        expected_letters=dict(Counter(given.letter)),
    )
    print(msgspec.json.encode(verdict).decode())
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
