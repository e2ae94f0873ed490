"""The dead letters topic: looking through it, and sending records back to where they came from."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from streamproc import cloudevents
from streamproc.deadletters.letter import Letter, Place, newer, read_letter, why_not
from streamproc.errors import BadMessage, BrokerError, DeliveryError, UsageError
from streamproc.letterhead import redrive_headers
from streamproc.model import FrameKey
from streamproc.publisher import Publisher
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition

Wanted: TypeAlias = Callable[[Letter], bool]

MAX_LETTERS = 100_000  # held at once by one redrive, about 100 MB
_MARGIN_MS = 600_000  # a frame's event may be older than its last tile, and clocks differ
_FLUSH_S = 0.5


@dataclass(slots=True, kw_only=True)
class Found:
    """Letters of one look.

    Attributes:
        letters: The newest, oldest first.
        matching: How many there are in all.
        reasons: Of all that match.
    """

    letters: list[Letter]
    matching: int
    reasons: Counter[str]


@dataclass(slots=True, kw_only=True)
class Redriven:
    """What became of letters that were to go back.

    Attributes:
        sent: Letter, and the offset its record has now; None in a dry run.
        refused: Letter, and why its record was not sent.
        older: Letters passed over because the same record has a newer one.
    """

    sent: list[tuple[Letter, int | None]] = field(default_factory=list)
    refused: list[tuple[Letter, str]] = field(default_factory=list)
    older: int = 0


def wanted(*, camera: str | None, reason: str | None) -> Wanted:
    """A filter of letters; None takes all."""

    def judge(letter: Letter) -> bool:
        return (camera is None or letter.camera == camera) and (reason is None or letter.reason == reason)

    return judge


def find_letters(settings: Settings, choose: Wanted, *, limit: int) -> Found:
    """The newest `limit` letters that match; memory goes with `limit` alone.

    Raises:
        BrokerError: The broker does not answer, or there is no such topic.
    """
    newest: list[tuple[tuple[int, Place], Letter]] = []
    reasons: Counter[str] = Counter()
    for record in _read(settings):
        letter = read_letter(record)
        if choose(letter):
            reasons[letter.reason if len(reasons) < 1000 else "other"] += 1
            heapq.heappush(newest, ((letter.time_ms, letter.place), letter))
            if len(newest) > limit:
                heapq.heappop(newest)
    return Found(letters=[letter for _, letter in sorted(newest)], matching=reasons.total(), reasons=reasons)


def read_letter_at(settings: Settings, place: Place) -> Record:
    """One dead letter, value and all.

    Raises:
        UsageError: There is none.
        BrokerError: The broker does not answer.
    """
    (record,) = _read_places(settings, [place])
    return record


def redrive(
    settings: Settings, choose: Wanted | Sequence[Place], *, max_attempts: int, dry_run: bool = False
) -> Redriven:
    """Send the untouched records of letters back to the topics and partitions they came from.

    Of several letters of one record only the newest counts. A record whose frame has its event already stays where it
    is: nothing would change.

    Args:
        settings: Broker, topics, delivery time.
        choose: Which letters: a filter, or places.
        max_attempts: Most times a record is tried in all.
        dry_run: Send nothing, say what would be sent.

    Raises:
        UsageError: A named letter does not exist, or there are more than `MAX_LETTERS`.
        BrokerError: The broker does not answer.
        DeliveryError: Records were not acknowledged; says how many were.
    """
    done = Redriven()
    letters = _chosen(settings, choose, done)
    closed = closed_frames(settings, letters)
    sending: dict[Place, Letter] = {}
    for letter in sorted(letters, key=lambda one: (one.time_ms, one.place)):
        reason = why_not(letter, max_attempts=max_attempts, topics=Topics(settings.prefix), closed=closed)
        if reason is None:
            sending[letter.place] = letter
        else:
            done.refused.append((letter, reason))
    if dry_run:
        done.sent = [(letter, None) for letter in sending.values()]
    elif sending:
        _send(settings, sending, done)
    return done


def closed_frames(settings: Settings, letters: Iterable[Letter]) -> dict[FrameKey, str]:
    """Which of the letters' frames have their event already, with the outcome it tells.

    Raises:
        BrokerError: The broker does not answer.
    """
    since_ms: dict[FrameKey, int] = {}
    for letter in letters:
        if letter.frame is not None:
            since_ms[letter.frame] = min(letter.first_ms, since_ms.get(letter.frame, letter.first_ms))
    closed: dict[FrameKey, str] = {}
    if not since_ms:
        return closed
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        count = len(reader.partitions())
        earliest: dict[int, int] = {}
        for frame, first_ms in since_ms.items():
            number = camera_partition(frame.camera, count)
            earliest[number] = min(first_ms, earliest.get(number, first_ms))
        ranges = {
            number: (reader.offset_at(number, since_ms=first_ms - _MARGIN_MS), reader.bounds(number)[1])
            for number, first_ms in earliest.items()
        }
        for record in reader.read(ranges):
            key = cloudevents.event_key(record.headers)
            if key in since_ms:
                closed[key] = _outcome(record)
    return closed


def _outcome(record: Record) -> str:
    try:
        return cloudevents.decode_frame_event(record.value).outcome
    except BadMessage:
        return "unreadable"


def _chosen(settings: Settings, choose: Wanted | Sequence[Place], done: Redriven) -> list[Letter]:
    """The newest letter of each record that was asked for; the others are counted."""
    newest: dict[str, Letter] = {}
    records = _read(settings) if callable(choose) else _read_places(settings, choose)
    for record in records:
        letter = read_letter(record)
        if callable(choose) and not choose(letter):
            continue
        known = newest.get(letter.lineage)
        if known is not None:
            done.older += 1
            letter = newer(known, letter)
        newest[letter.lineage] = letter
        if len(newest) > MAX_LETTERS:
            raise UsageError(f"more than {MAX_LETTERS} dead letters match: narrow them with --camera or --reason")
    return list(newest.values())


def _send(settings: Settings, sending: Mapping[Place, Letter], done: Redriven) -> None:
    offsets: dict[Place, int] = {}
    problems: list[Exception] = []

    def reporter(place: Place) -> Callable[[Exception | None, int | None], None]:
        def report(error: Exception | None, offset: int | None) -> None:
            if error is not None:
                problems.append(error)
            else:
                offsets[place] = offset or 0

        return report

    with Publisher(settings, client_id="streamproc-redrive") as publisher:
        for record in _read_places(settings, list(sending)):
            place = Place(record.partition, record.offset)
            try:
                _send_back(publisher, record, sending[place], reporter(place), timeout_s=settings.delivery_timeout_s)
            except DeliveryError as error:
                problems.append(error)
                break
        deadline_s = time.monotonic() + settings.delivery_timeout_s
        while publisher.flush(_FLUSH_S) and time.monotonic() < deadline_s:
            pass
    if len(offsets) < len(sending):
        why = str(problems[0]) if problems else "no report came in time"
        raise DeliveryError(
            f"{len(offsets)} of {len(sending)} dead letters were sent back and acknowledged ({why});"
            " those that were not may be sent again: a record that comes twice counts once"
        )
    done.sent = [(letter, offsets[place]) for place, letter in sending.items()]


def _send_back(
    publisher: Publisher,
    record: Record,
    letter: Letter,
    report: Callable[[Exception | None, int | None], None],
    *,
    timeout_s: float,
) -> None:
    """Hand a letter's record to the publisher, as it was: what was null is null again."""
    if letter.origin is None:
        raise ValueError(f"dead letter {letter.place} has no origin")
    headers = [(name, None if at in record.nulls else value) for at, (name, value) in enumerate(record.headers)]
    publisher.send(
        topic=letter.origin.topic,
        partition=letter.origin.partition,
        key=None if "key" in record.nulls else record.key,
        value=None if "value" in record.nulls else record.value,
        headers=redrive_headers(headers),
        on_delivery=report,
        timeout_s=timeout_s,
    )


def _read(settings: Settings) -> Iterator[Record]:
    with TopicReader(settings, Topics(settings.prefix).deadletters) as reader:
        yield from reader.read({number: reader.bounds(number) for number in reader.partitions()})


def _read_places(settings: Settings, places: Sequence[Place]) -> Iterator[Record]:
    """The letters at some places, each once, read in one pass over what lies between."""
    wanted_places = set(places)
    with TopicReader(settings, Topics(settings.prefix).deadletters) as reader:
        numbers = reader.partitions()
        ranges: dict[int, tuple[int, int]] = {}
        for place in wanted_places:
            low, high = reader.bounds(place.partition) if place.partition in numbers else (0, 0)
            if not low <= place.offset < high:
                held = f"partition {place.partition} holds {low} to {high - 1}" if low < high else "there is none there"
                raise UsageError(f"no dead letter {place}: {held} (streamproc deadletters list)")
            first, last = ranges.get(place.partition, (place.offset, place.offset + 1))
            ranges[place.partition] = (min(first, place.offset), max(last, place.offset + 1))
        left = set(wanted_places)
        for record in reader.read(ranges):
            place = Place(record.partition, record.offset)
            if place in left:
                left.remove(place)
                yield record
    if left:
        raise BrokerError(f"dead letter {min(left)} was deleted while it was read (retention)")
