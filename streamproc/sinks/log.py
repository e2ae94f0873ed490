"""The events topic, read by one member of a consumer group that keeps its name: two of one name never read at once.

Static membership: a process that is killed and started again has its partitions back at once; one that is started
beside another of the same name takes over, and the other is told and ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamproc.client import client_config, unreachable
from streamproc.errors import BrokerError
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.words import Line, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANSWER_S: Final = 10.0
_COORDINATOR_S: Final = 30.0  # a cluster that has just started reads its offsets first
_POLL_S: Final = 0.2
_QUEUE_KBYTES: Final = 16 * 1024
_NEVER_MS: Final = 86_400_000  # a target may be away for long; the group hears of us from the client's own thread
_PASSING: Final = (
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError._WAIT_COORD,
    KafkaError._MAX_POLL_EXCEEDED,
)
_FENCED: Final = (KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED)


@dataclass(frozen=True, slots=True)
class Reached:
    """A partition was read to its present end: the next offset."""

    partition: int
    offset: int


class Log(Protocol):
    """Where events come from; `KafkaLog`, and lists in tests."""

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First offset kept and the one after the last, of each partition."""

    def committed(self) -> dict[int, int]:
        """Next offset as the group has it, of the partitions for which it has one."""

    def begin(self, positions: Mapping[int, int]) -> None:
        """Start to read there, or go there; partitions that are not named begin at their first record."""

    def read(self, most: int, *, timeout_s: float) -> Sequence[Record | Reached]:
        """What has come, at most so many; empty if nothing came for `timeout_s`."""

    def commit(self, positions: Mapping[int, int]) -> None:
        """Tell the group, without waiting."""

    def behind(self, positions: Mapping[int, int]) -> int:
        """Records of the log behind these positions, as far as is known without asking."""

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last of those of which the broker tells it, without asking; none while it is away."""

    def close(self, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Tell the group for the last time, and leave; whether that was done in time."""


class KafkaLog:
    """The events topic in a consumer group of its own.

    Args:
        topic: Of the events.
        group: Name of the group; one for each sink.
        told: Takes lines for a person.

    Raises:
        BrokerError: The broker does not answer, the topic does not exist, or another process took over.
    """

    def __init__(self, settings: Settings, topic: str, *, group: str, told: Callable[[str], None]) -> None:
        self._settings, self._topic, self._group, self._told = settings, topic, group, told
        self._next: dict[int, int] = {}
        self._begun = False
        self._unnoted: dict[int, int] = {}  # where it begins, until the group was told
        self._quiet = True  # whether a broker that is away was not told of
        self._consumer = Consumer(
            {
                **client_config(settings, client_id="streamproc-sink"),
                "group.id": group,
                "group.instance.id": group,
                "session.timeout.ms": int(settings.session_timeout_s * 1000),
                "max.poll.interval.ms": _NEVER_MS,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "queued.max.messages.kbytes": _QUEUE_KBYTES,
                "fetch.queue.backoff.ms": 10,
                "fetch.wait.max.ms": 100,
                "error_cb": self._heard,
            }
        )

    def bounds(self) -> dict[int, tuple[int, int]]:
        """First offset kept and the one after the last, of each partition."""
        with TopicReader(self._settings, self._topic) as reader:
            return {partition: reader.bounds(partition) for partition in reader.partitions()}

    def committed(self) -> dict[int, int]:
        """Next offset as the group has it, of the partitions for which it has one."""
        asked = [TopicPartition(self._topic, partition) for partition in self.bounds()]
        by_s = time.monotonic() + _COORDINATOR_S
        while True:
            try:
                found = self._consumer.committed(asked, timeout=_ANSWER_S)
                problem = next((place.error for place in found if place.error is not None), None)
            except KafkaException as error:
                problem = error.args[0]
            if problem is None:
                return {place.partition: place.offset for place in found if place.offset >= 0}
            if problem.code() not in _PASSING or time.monotonic() > by_s:
                raise BrokerError(unreachable(self._settings, problem))
            time.sleep(_POLL_S)

    def begin(self, positions: Mapping[int, int]) -> None:
        """Start to read there, or go there."""
        self._next, self._unnoted = dict(positions), dict(positions)
        if self._begun:
            self._assign([place.partition for place in self._consumer.assignment()])
        else:
            self._begun = True
            self._consumer.subscribe(
                [self._topic],
                on_assign=lambda _, places: self._assign([place.partition for place in places]),
                on_revoke=lambda _, __: None,
            )

    def read(self, most: int, *, timeout_s: float) -> list[Record | Reached]:
        """What has come, at most so many."""
        try:
            messages = self._consumer.consume(most, timeout=timeout_s)
        except KafkaException as error:
            raise self._refused(error.args[0]) from None
        if self._unnoted and self._consumer.assignment():
            self.commit(self._unnoted)
            self._unnoted = {}
        return [item for message in messages if (item := self._item(message)) is not None]

    def commit(self, positions: Mapping[int, int]) -> None:
        """Tell the group, without waiting; what is not heard is told with the next one."""
        try:
            self._consumer.commit(offsets=self._places(positions), asynchronous=True)
        except KafkaException as error:
            if error.args[0].code() in _FENCED:
                raise self._refused(error.args[0]) from None

    def behind(self, positions: Mapping[int, int]) -> int:
        """Records of the log behind these positions, as far as is known without asking."""
        missing = 0
        for partition, offset in positions.items():
            place = TopicPartition(self._topic, partition)
            _, high = self._consumer.get_watermark_offsets(place, cached=True)
            missing += max(0, high - offset)
        return missing

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """The offset after the last of those of which the broker tells it, without asking; none while it is away."""
        if not self._quiet:
            return {}
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        found = {one.partition: self._consumer.get_watermark_offsets(one, cached=True)[1] for one in places}
        return {partition: high for partition, high in found.items() if high >= 0}

    def close(self, positions: Mapping[int, int], *, timeout_s: float) -> bool:
        """Tell the group for the last time, and leave; whether that was done in time."""
        told = threading.Event()

        def end() -> None:
            try:
                if positions:
                    self._consumer.commit(offsets=self._places(positions), asynchronous=False)
                told.set()
            except KafkaException:
                pass  # the next start reads a little again
            finally:
                self._consumer.close()

        thread = threading.Thread(target=end, name="sink-close", daemon=True)
        thread.start()
        thread.join(timeout_s)
        return told.is_set()

    def _assign(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._next.setdefault(partition, OFFSET_BEGINNING)
        self._consumer.assign(self._places({partition: self._next[partition] for partition in partitions}))

    def _places(self, positions: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition, offset in positions.items()]

    def _item(self, message: Message) -> Record | Reached | None:
        error = message.error()
        partition, offset = message.partition() or 0, message.offset() or 0
        if error is None:
            self._quiet = True
            self._next[partition] = offset + 1
            return _record(message)
        if error.code() == KafkaError._PARTITION_EOF:
            self._next[partition] = offset
            return Reached(partition, offset)
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._skip(partition)
        elif error.fatal() or error.code() not in _PASSING:
            raise self._refused(error)
        return None

    def _heard(self, error: KafkaError) -> None:
        """What the client says beside records, while these are read."""
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION) and self._quiet:
            self._quiet = False
            why = "" if error.code() == KafkaError._ALL_BROKERS_DOWN else f" ({error.str()})"
            said = f"no Kafka broker answers at {self._settings.bootstrap}{why}; waiting for it"
            self._told(Line(said, broker=self._settings.bootstrap))

    def _skip(self, partition: int) -> None:
        """Go on where the log begins, when retention was faster than the target."""
        low, high = self.bounds()[partition]
        at = self._next.get(partition, OFFSET_BEGINNING)
        check_position(partition, at, (low, high), topic=self._topic, told=self._told)
        self._next[partition] = low
        self._assign([place.partition for place in self._consumer.assignment()])

    def _refused(self, error: KafkaError) -> BrokerError:
        if error.code() in _FENCED or "fenced" in error.str():  # as a fatal error it has another code
            return BrokerError(
                f"another process reads as {self._group} and has taken over: run one for each --name, or another --name"
            )
        if error.code() in (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION):
            return BrokerError(
                f"topic {self._topic} is gone from {self._settings.bootstrap}: run streamproc topics create"
            )
        return BrokerError(f"topic {self._topic}: {error.str()}")


def check_position(partition: int, at: int, bounds: tuple[int, int], *, topic: str, told: Callable[[str], None]) -> int:
    """Where to read on from `at`, and records between that are no longer in the log, which is told.

    Returns:
        How many records are missing.

    Raises:
        BrokerError: The position lies beyond the end: the topic was made anew, or has lost records.
    """
    low, high = bounds
    if at > high:
        raise BrokerError(
            f"{topic}[{partition}] ends at {high}, but was read to {at}: it was made anew or has lost records;"
            " begin with another --name and another target"
        )
    missing = max(0, low - at) if at >= 0 else 0
    if missing:
        records = counted(missing, "record")
        said = f"{topic}[{partition}]: retention has removed {records} before they were read ({at} to {low - 1})"
        told(Line(said, topic=topic, partition=partition, offset=at))
    return missing


def _record(message: Message) -> Record:
    headers: Any = message.headers() or []
    value: Any = message.value()
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp_ms=message.timestamp()[1],
        key=b"",
        value=value or b"",
        headers=[(name, held or b"") for name, held in headers],
    )
