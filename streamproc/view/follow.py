"""Threads that read `events` and `edges` as they come while the viewer runs, whatever becomes of the broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from streamproc.errors import BadMessage, BrokerError
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings

log = logging.getLogger(__name__)

_T = TypeVar("_T")
SILENT_S: Final = 4.0  # without an answer the broker counts as gone
REFUSED_S: Final = 2.0  # a refusal comes sooner
PROBE_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 4.0
QUEUE_BYTES: Final = 16 * 2**20
_START: Final = "start one with: streamproc broker start"
_LIBRDKAFKA: Final = "streamproc.librdkafka"
_TELLING: Final = ("authentication", "ssl handshake", "certificate")


class Pulse:
    """Whether the broker answers and has what is needed; told by one thread, asked by others. Time is an argument.

    Attributes:
        partitions: Of each topic, as the broker said last.
    """

    def __init__(self, bootstrap: str, *, now_s: float) -> None:
        self._bootstrap = bootstrap
        self._answered_s = now_s
        self._any = False
        self._problem: str | None = None
        self._unread: dict[str, str] = {}
        self.partitions: dict[str, int] = {}

    def answered(self, partitions: Mapping[str, int], now_s: float) -> None:
        """The broker said how many partitions the topics have."""
        self.partitions = dict(partitions)
        self._answered_s, self._problem, self._any = now_s, None, True

    def failed(self, told: str) -> None:
        """It did not, or something is missing."""
        self._problem = told

    def unread(self, topic: str, told: str) -> None:
        """A topic cannot be followed, though the broker may answer."""
        self._unread[topic] = told

    def reads(self, topic: str) -> None:
        """A topic is followed."""
        self._unread.pop(topic, None)

    def state(self, now_s: float) -> tuple[bool, str]:
        """Whether all is well, and one line."""
        if self._problem is not None:
            return False, self._plainly(self._problem)
        silent_s = now_s - self._answered_s
        if silent_s > SILENT_S:
            return False, self._gone
        if not self._any:
            return False, f"asking the broker at {self._bootstrap}"
        for told in tuple(self._unread.values()):
            return False, self._plainly(told)
        return True, f"reading from {self._bootstrap}"

    @property
    def _gone(self) -> str:
        """The same line through an outage, whoever notices it, and whatever the client calls it."""
        return f"no Kafka broker answers at {self._bootstrap}: check STREAMPROC_BOOTSTRAP, or {_START}"

    def _plainly(self, told: str) -> str:
        return self._gone if told.startswith("no Kafka broker answers at ") and told.endswith(_START) else told


class LastWords(logging.Handler):
    """The last line in which the Kafka client said why it was turned away: its calls only say that nobody answered."""

    def __init__(self) -> None:
        super().__init__()
        self.said: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line that matters."""
        line = record.getMessage()
        if any(word in line.lower() for word in _TELLING):
            self.said = line.rsplit("]: ", maxsplit=1)[-1][:300]

    def __enter__(self) -> LastWords:
        logging.getLogger(_LIBRDKAFKA).addHandler(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        logging.getLogger(_LIBRDKAFKA).removeHandler(self)


def pauses(number: int) -> float:
    """Seconds before try `number` (from 1)."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(number - 1, 10))


def probe(settings: Settings, topics: tuple[str, ...], pulse: Pulse, *, stop: threading.Event) -> None:
    """Ask the broker about the topics again and again, until `stop`."""
    tries = 0
    while not stop.is_set():
        try:
            with LastWords() as words:
                _ask_on_and_on(settings, topics, pulse, words, stop=stop)
        except BrokerError as error:
            tries += 1
            pulse.failed(_why(str(error), words.said))
            stop.wait(pauses(tries))


def _ask_on_and_on(
    settings: Settings, topics: tuple[str, ...], pulse: Pulse, words: LastWords, *, stop: threading.Event
) -> None:
    readers = [TopicReader(settings, topic, max_queue_bytes=2**20) for topic in topics]
    first = readers[0]
    try:
        while not stop.is_set():
            try:
                counts = {reader.topic: len(reader.partitions()) for reader in readers}
            except BrokerError:
                _let_it_say_why(first, words)
                raise
            words.said = None
            pulse.answered(counts, time.monotonic())
            stop.wait(PROBE_S)
    finally:
        for reader in readers:
            reader.__exit__()


def _let_it_say_why(reader: TopicReader, words: LastWords) -> None:
    """The client hands over its log lines, or an error, when it is polled."""
    polls = iter((False, False, True))
    try:
        for _ in reader.follow({}, stop=lambda: next(polls, True)):
            pass
    except BrokerError as error:
        words.said = words.said or str(error)


def _why(told: str, words: str | None) -> str:
    """One line of what the broker or its client said."""
    line = " ".join(told.split())
    if "authorization failed" in line.lower():
        line += ": the viewer's user needs the rights DESCRIBE and READ on this topic"
    said = " ".join((words or "").split())
    return f"{line} (the client says: {said})" if said and said not in line else line


@dataclass(slots=True, kw_only=True)
class Back:
    """How far before the end reading begins.

    Attributes:
        seconds: Record time.
        records: At most so many of all partitions together.
    """

    seconds: float
    records: int


@dataclass(kw_only=True)
class Follower(Generic[_T]):
    """Reads one topic from shortly before its end, on and on, and goes on where it stopped after an outage.

    Attributes:
        read: What a record is.
        take: Given that, with the record; may wait.
        passed: Told of a record that is none of ours.
        missed: Told how many records were passed over after an outage, because there were more than `back.records`.
    """

    settings: Settings
    topic: str
    back: Back
    pulse: Pulse
    read: Callable[[Record], _T]
    take: Callable[[_T, Record], None]
    passed: Callable[[], None]
    missed: Callable[[int], None]
    stop: threading.Event
    _reached: dict[int, int] = field(default_factory=dict)

    def run(self) -> None:
        """Until `stop`. The pulse tells what is wrong with the broker; here it is tried again."""
        tries = 0
        while not self.stop.is_set():
            try:
                self._follow()
                tries = 0
            except BrokerError as error:
                tries += 1
                self.pulse.unread(self.topic, _why(str(error), None))
                log.info("%s is opened again: %s", self.topic, " ".join(str(error).split()))
                self.stop.wait(pauses(tries))

    def _follow(self) -> None:
        """Until `stop`, or until the topic has other partitions.

        Raises:
            BrokerError: The topic is not there, may not be read, or the broker does not answer.
        """
        with TopicReader(self.settings, self.topic, max_queue_bytes=QUEUE_BYTES) as reader:
            numbers = reader.partitions()
            starts = self._starts(reader, numbers)

            def over() -> bool:
                return self.stop.is_set() or self.pulse.partitions.get(self.topic, len(numbers)) > len(numbers)

            began_s = time.monotonic()
            for record in reader.follow(starts, stop=over):
                if record is not None or time.monotonic() - began_s > REFUSED_S:
                    self.pulse.reads(self.topic)
                if record is None:
                    continue
                self._reached[record.partition] = record.offset + 1
                try:
                    thing = self.read(record)
                except BadMessage:
                    self.passed()
                    continue
                self.take(thing, record)

    def _starts(self, reader: TopicReader, numbers: list[int]) -> dict[int, int]:
        since_ms = int((time.time() - self.back.seconds) * 1000)
        each = max(1, self.back.records // len(numbers))
        starts = {}
        for number in numbers:
            low, high = reader.bounds(number)
            reached = self._reached.get(number)
            if reached is None or reached > high:  # the first time, or the topic is another than before
                starts[number] = max(
                    low, high - each, reader.offset_at(number, since_ms=since_ms) if high > low else low
                )
                continue
            starts[number] = max(low, high - each, reached)
            self.missed(starts[number] - reached)
        return starts
