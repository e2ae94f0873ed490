"""A broker in memory as archiving sees it, and archiving on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from streamproc.archive import run
from streamproc.archive.storage import Storage
from streamproc.archive.writer import Rules
from streamproc.errors import BrokerError
from streamproc.reader import Record
from streamproc.settings import load_settings
from tests.archive.material import TOPIC, Log
from tests.waiting import wait_until


class Broker:
    """A log that can be away, say no, lose its beginning or be made anew, as `TopicReader` and `TopicIds` see it.

    Attributes:
        away: What every question and every poll is answered with.
        gone: There is no such topic.
        asked: Times that the topic's id was asked for.
        polls: Times that records were asked for.
    """

    def __init__(self, log: Log) -> None:
        self.log = log
        self.topic_id = "one"
        self.away: Exception | None = None
        self.gone = False
        self.asked = 0
        self.polls = 0

    def check(self) -> None:
        """Answer, or not."""
        if self.away is not None:
            raise self.away

    def check_topic(self) -> None:
        """The same for a question about the topic."""
        self.check()
        if self.gone:
            raise BrokerError(f"topic {TOPIC} does not exist")

    def of(self, _topic: str) -> str:
        """The topic's id."""
        self.asked += 1
        self.check()
        return "" if self.gone else self.topic_id


class Reader:
    """What `TopicReader` is to a real broker."""

    broker: Broker

    def __init__(self, *_settings: object, **_options: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def partitions(self) -> list[int]:
        self.broker.check_topic()
        return sorted(self.broker.log.records)

    def known_end(self, partition: int) -> int:
        return self.bounds(partition)[1]

    def bounds(self, partition: int) -> tuple[int, int]:
        self.broker.check_topic()
        return self.broker.log.bounds()[partition]

    def read(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        for one in self.broker.log.from_({partition: first for partition, (first, _) in ranges.items()}):
            self.broker.check_topic()
            if one.offset < ranges[one.partition][1]:
                yield one

    def follow(self, starts: Mapping[int, int], *, stop: Callable[[], bool]) -> Iterator[Record | None]:
        """As the client does: who asks for an offset that is not there gets the log from its beginning."""
        at = dict(starts)
        while not stop():
            self.broker.check_topic()
            self.broker.polls += 1
            for partition, (low, end) in self.broker.log.bounds().items():
                if partition in at and at[partition] > end:
                    at[partition] = low
            came = self.broker.log.from_(at)
            for one in came:
                at[one.partition] = one.offset + 1
                yield one
            if not came:
                yield None


class Archiving:
    """A run on a thread of its own."""

    def __init__(self, broker: Broker, storage: Storage, **options: Any) -> None:
        self.told: list[str] = []
        self.stop = threading.Event()
        self.error: Exception | None = None
        rules = options.pop("rules", Rules())
        self.run = run.ArchiveRun(
            load_settings(), storage.url, [TOPIC], rules=rules, stop=self.stop, told=self.told.append, **options
        )
        self.one = self.run.topics[0]
        self.broker = broker
        self._thread = threading.Thread(target=self._archive)
        self._thread.start()

    def _archive(self) -> None:
        try:
            self.run.run()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def wait_until_taken(self, count: int) -> None:
        wait_until(lambda: self.one.written.taken == count or not self._thread.is_alive(), "records", timeout_s=5)
        assert (self.one.written.taken, self.error) == (count, None)

    def wait_until_told(self, count: int) -> None:
        wait_until(lambda: len(self.told) >= count or not self._thread.is_alive(), f"{count} lines", timeout_s=5)
        assert self.error is None

    def ended(self) -> Exception | None:
        """How it ended by itself."""
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop.set()
        self._thread.join(5)
