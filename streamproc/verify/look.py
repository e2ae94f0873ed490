"""Reads what is to be judged: ledgers, the log, and the counters of running processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from streamproc.deadletters import read_letter
from streamproc.errors import LedgerError
from streamproc.exporter import Sample, read_counters
from streamproc.ledger import Ledger, LedgerFrame, UnsentFrame, read_ledger
from streamproc.model import FrameKey
from streamproc.reader import Record, TopicReader
from streamproc.references import fetch_from
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.verify.counters import Compared, Read, compare
from streamproc.verify.judge import EventJudge, LetterCount, LogStart, conclude, see_event
from streamproc.verify.pixels import PixelCheck, PixelReport, Ranges, check_all
from streamproc.verify.verdict import Verdict

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called now and then: what is read, records done, records in all."""

_POLL_S = 0.5
_TOLD_EVERY = 500  # records


def read_ledgers(paths: Sequence[Path]) -> Ledger:
    """Several ledgers as one.

    Raises:
        LedgerError: One cannot be read, or two tell of the same frame.
    """
    frames: dict[FrameKey, LedgerFrame] = {}
    dropped: list[UnsentFrame] = []
    unsent: list[UnsentFrame] = []
    for path in paths:
        one = read_ledger(path)
        for key in one.frames:
            if key in frames:
                raise LedgerError(
                    f"ledger {path} tells of frame {key.camera}/{key.run}/{key.sequence}, as another does"
                )
        frames.update(one.frames)
        dropped += one.dropped
        unsent += one.unsent
    return Ledger(frames=frames, dropped=tuple(dropped), unsent=tuple(unsent))


def verify(
    settings: Settings,
    ledger: Ledger,
    *,
    wait_s: float = 0,
    pixels: bool = True,
    metrics: Iterable[str] = (),
    on_progress: OnProgress = lambda _what, _done, _total: None,
) -> Verdict:
    """Judge a ledger by the log.

    Args:
        settings: Broker and topics.
        ledger: What the producers noted; they must have ended.
        wait_s: Longest wait for the events of acknowledged frames.
        pixels: Put the frames together again from the tiles topic and compare them with the ledger.
        metrics: Exporters of all producers and workers, to compare their counters.
        on_progress: Told how far reading is.

    Raises:
        BrokerError: The broker does not answer, or a topic does not exist.
        SettingError: An exporter does not answer.
    """
    topics = Topics(settings.prefix)
    urls = list(metrics)
    for url in urls:
        read_counters(url)  # so that one which does not answer is told before the log is read
    seen, counted = EventJudge(ledger), LetterCount(ledger)
    with _Topic(settings, topics.events, "events", on_progress) as events:
        _see_events(events, seen, wait_s=wait_s)
        with _Topic(settings, topics.deadletters, "dead letters", on_progress) as letters:
            for record in letters.more():
                counted.add(read_letter(record))
            letters_cut = bool(letters.cut)
        report = _pixels(settings, ledger, on_progress) if pixels else None
        samples = [sample for url in urls for sample in read_counters(url)]
        _see_events(events, seen, wait_s=0)  # what came meanwhile
        start = LogStart(partitions=events.partitions, cut=events.cut)
    compared = None
    if urls:
        compared = _compare(settings, ledger, seen, counted, samples=samples, letters_cut=letters_cut)
    return conclude(ledger, seen, counted, pixels=report, start=start, compared=compared)


def _see_events(events: _Topic, seen: EventJudge, *, wait_s: float) -> None:
    """Read all events there are; again and again while acknowledged frames have none and time is left."""
    deadline_s = time.monotonic() + wait_s
    while True:
        for record in events.more():
            event = see_event(record)
            if event is not None:
                seen.add(event)
        left_s = deadline_s - time.monotonic()
        if not seen.lost_so_far or left_s <= 0:
            return
        time.sleep(min(_POLL_S, left_s))


def _pixels(settings: Settings, ledger: Ledger, on_progress: OnProgress) -> PixelReport:
    topic = Topics(settings.prefix).tiles
    with _Topic(settings, topic, "tiles", on_progress) as tiles, TopicReader(settings, topic) as named:
        check = PixelCheck(ledger, max_frame_pixels=settings.max_frame_pixels, fetch=fetch_from(named))
        return check_all(check, tiles.read, tiles.to_the_end(), cut=bool(tiles.cut))


def _compare(
    settings: Settings,
    ledger: Ledger,
    seen: EventJudge,
    counted: LetterCount,
    *,
    samples: Sequence[Sample],
    letters_cut: bool,
) -> Compared:
    with TopicReader(settings, Topics(settings.prefix).features) as reader:
        bounds = [reader.bounds(number) for number in reader.partitions()]
    refused = sum(count for (stage, _), count in counted.by_stage.items() if stage == "assemble")
    whole = not any(low for low, _ in bounds) and not letters_cut
    return compare(
        samples,
        ledger,
        Read(
            events=seen.by_camera,
            merged_tiles=None if seen.other_events else seen.merged_tiles,
            features=sum(high for _, high in bounds) - refused if whole else None,
            deadletters=None if letters_cut else counted.by_stage,
        ),
    )


class _Topic:
    """A topic read from its beginning to its end, and then what was added.

    Attributes:
        partitions: How many.
        cut: First offset of partitions whose beginning was deleted.
    """

    def __init__(self, settings: Settings, topic: str, what: str, on_progress: OnProgress) -> None:
        self._reader = TopicReader(settings, topic)
        self._what, self._on_progress = what, on_progress
        numbers = self._reader.partitions()
        self._next = {number: self._reader.bounds(number)[0] for number in numbers}
        self.partitions = len(numbers)
        self.cut = {number: low for number, low in self._next.items() if low > 0}

    def __enter__(self) -> _Topic:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._reader.__exit__()

    def to_the_end(self) -> Ranges:
        """What was not read yet."""
        return {number: (start, self._reader.bounds(number)[1]) for number, start in self._next.items()}

    def more(self) -> Iterator[Record]:
        """Records that were not read yet."""
        ranges = self.to_the_end()
        yield from self.read(ranges)
        self._next = {number: end for number, (_, end) in ranges.items()}

    def read(self, ranges: Ranges) -> Iterator[Record]:
        """Records of offset ranges."""
        total = sum(end - start for start, end in ranges.values())
        for done, record in enumerate(self._reader.read(ranges), start=1):
            if done % _TOLD_EVERY == 0 or done == total:
                self._on_progress(self._what, done, total)
            yield record
