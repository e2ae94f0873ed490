"""From the log into an archive: a thread for each topic, its own reader, its own files; outages are waited out."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from streamproc.archive.patience import Away, Patience, span_text
from streamproc.archive.session import Session, TopicRun
from streamproc.archive.storage import Storage
from streamproc.archive.topic_id import TopicIds, says_no
from streamproc.archive.writer import Rules, Start, TopicWriter
from streamproc.errors import ArchiveError, BrokerError, StoreError
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.words import Line

log = logging.getLogger(__name__)

OUTAGE_S = 86_400.0
"""Longest outage of broker or store that is waited out, unless told otherwise."""

_QUEUE_BYTES = 64 * 2**20  # of all topics together
_LEAST_QUEUE_BYTES = 4 * 2**20
_WAIT_S = 0.2


class ArchiveRun:
    """Archives topics until told to stop, or until the end of the log as it was at the beginning.

    Once a topic was begun, broker and store may go away and come back: what could be completed is, and reading goes on
    behind the last complete file.

    Args:
        settings: Where the broker is.
        url: Where the archive is.
        topics: Names in Kafka.
        rules: When files end and go.
        start: For topics of which nothing is archived yet.
        until_end: Stop at the end of the log as it is when reading begins.
        outage_s: Longest outage that is waited out, seconds; 0 ends at the first error.
        stop: Set it to end the run: open files are completed.
        told: Told in one line what a person should know; from several threads.
        options: Of fsspec's file system.
    """

    def __init__(
        self,
        settings: Settings,
        url: str,
        topics: Sequence[str],
        *,
        rules: Rules,
        start: Start = "beginning",
        until_end: bool = False,
        outage_s: float = OUTAGE_S,
        stop: threading.Event | None = None,
        told: Callable[[str], None] = log.info,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._url = url
        self._rules = rules
        self._start: Start = start
        self._until_end = until_end
        self._outage_s = outage_s
        self._stop = stop or threading.Event()
        self._told = told
        self._options = options or {}
        self._queue_bytes = max(_LEAST_QUEUE_BYTES, _QUEUE_BYTES // len(topics))
        self.topics = [TopicRun(topic) for topic in topics]

    def run(self, *, every: Callable[[], None] = lambda: None) -> None:
        """Archive; returns when all is done.

        Args:
            every: Called a few times a second, on this thread.

        Raises:
            StreamprocError: A topic could not be read or a file not written, at the beginning or for longer than is
                waited; what was complete by then stays, and the other topics' files were completed.
        """
        storage = Storage(self._url, **self._options)  # a wrong URL is refused before anything begins
        threads = [
            threading.Thread(target=self._guarded, args=(one, storage), name=f"archive-{one.topic}", daemon=True)
            for one in self.topics
        ]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(_WAIT_S)
            every()
        for one in self.topics:
            if one.error is not None:
                raise one.error

    def _guarded(self, one: TopicRun, storage: Storage) -> None:
        try:
            self._keep_on(one, storage)
        except Exception as error:  # noqa: BLE001 - told and raised by `run`
            one.error = error
            self._stop.set()

    def _keep_on(self, one: TopicRun, storage: Storage) -> None:
        """Archive one topic, again and again as long as what fails may come back."""
        patience = Patience(self._outage_s, rotate_s=self._rules.rotate_s)
        ids = TopicIds(self._settings)
        while True:
            try:
                self._archive(one, ids, patience)
            except StoreError as error:
                after_s = self._after(one, patience, error, away="store", refused=storage.refuses(error))
            except BrokerError as error:
                after_s = self._after(one, patience, error, away="broker", refused=says_no(error))
            else:
                return
            if self._stop.wait(after_s):
                return

    def _after(
        self, one: TopicRun, patience: Patience, error: BrokerError | StoreError, *, away: Away, refused: bool
    ) -> float:
        """When to try again, seconds from now; raises the error if that is of no use."""
        if one.ends is None:
            raise error  # it never began: better told at once
        wait = patience.failed(away, time.monotonic(), chance=random.random(), refused=refused)
        what = f"topic {one.topic}: {' '.join(str(error).split())}"
        if wait is None:
            tried = "it refused again and again" if refused else f"it lasted {span_text(self._outage_s)}"
            raise type(error)(
                f"{what}: given up, {tried}; start it again, it goes on where complete files end"
            ) from error
        if wait.tell:
            said = f"{what}: trying again for up to {span_text(self._outage_s)}"
            self._told(Line(said, topic=one.topic, reason=away, retry_s=round(wait.after_s, 3)))
        return wait.after_s

    def _archive(self, one: TopicRun, ids: TopicIds, patience: Patience) -> None:
        storage = Storage(self._url, **self._options)
        with (
            storage.lock(one.topic),
            TopicReader(self._settings, one.topic, max_queue_bytes=self._queue_bytes) as reader,
        ):
            writer = TopicWriter(
                storage,
                one.topic,
                self._rules,
                low=lambda partition: reader.bounds(partition)[0],
                written=one.written,
                told=self._told,
            )
            session = Session(
                one,
                writer,
                reader,
                ids,
                patience=patience,
                start=self._start,
                until_end=self._until_end,
                stop=self._stop,
                told=self._told,
            )
            one.reading = True
            try:
                session.run()
            except ArchiveError:
                writer.abandon()
                raise
            except BaseException:
                writer.publish()  # what was read is good
                raise
            finally:
                one.reading = False
