"""What becomes of the frames of a rerun: its events, written down as they come; and how much is under way."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamproc.cloudevents import Emitted, emitted, structured_event
from streamproc.errors import StreamprocError
from streamproc.metrics import Metrics
from streamproc.model import FrameKey
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics

MOST_FRAMES = 256  # replayed and without an outcome
MOST_BYTES = 128 * 2**20  # of their tiles; so no tile is deleted by retention before it was worked on
_READY_S = 15.0


class Outcomes:
    """Events of a rerun's own topics, from their beginning on; a context manager that follows them in a thread.

    Events go into one file for each camera and run, in the order in which they were emitted; memory goes with the
    number of runs, and of the frames under way.

    Args:
        settings: Of the rerun.
        folder: For these files; must not exist.
        metrics: Counts outcomes there too.

    Attributes:
        outcomes: Frames by outcome.
        occurrences: Events of what happened on frames.
        done: Of the frames that were told of by `begin`, those that have their outcome.
    """

    def __init__(self, settings: Settings, folder: Path, metrics: Metrics) -> None:
        self._by_outcome = metrics.rerun_frames
        self._by_outcome.expect()
        metrics.rerun_open.set_function(lambda: len(self._under_way))
        self._settings = settings
        self._folder = folder
        self._topic = Topics(settings.prefix).events
        self._changed = threading.Condition()
        self._under_way: dict[FrameKey, int] = {}
        self._streams: set[tuple[str, str]] = set()  # cameras and runs of the rerun; safe as file names
        self._bytes = 0
        self._last: dict[tuple[str, str], int] = {}  # sequence of the newest frame event
        self._since: dict[tuple[str, str], set[str]] = {}  # ids of what happened after it
        self._problem: StreamprocError | None = None
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="outcomes", daemon=True)
        self.outcomes: Counter[str] = Counter()
        self.occurrences = 0
        self.done = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._thread.start()
        self._ready.wait(_READY_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def under_way(self) -> int:
        """Frames that were begun and have no outcome."""
        return len(self._under_way)

    @property
    def has_room(self) -> bool:
        """Whether another frame may be begun."""
        return not self._under_way or (len(self._under_way) < MOST_FRAMES and self._bytes < MOST_BYTES)

    def begin(self, key: FrameKey) -> None:
        """A frame is about to be replayed."""
        with self._changed:
            self._under_way[key] = 0
            self._streams.add((key.camera, key.run))

    def add(self, key: FrameKey, size: int) -> None:
        """A tile of it was sent."""
        with self._changed:
            if key in self._under_way:
                self._under_way[key] += size
                self._bytes += size

    def wait(self, timeout_s: float) -> None:
        """Wait until something has changed, but not longer than that.

        Raises:
            StreamprocError: Reading events, or writing them down, failed.
        """
        with self._changed:
            if self._problem is None:
                self._changed.wait(timeout_s)
        if self._problem is not None:
            raise self._problem

    def write(self, file: Path) -> None:
        """All events so far into one file: camera by camera, in it run by run, in the order they were emitted.

        Raises:
            OSError: It cannot be written.
        """
        unfinished = file.with_name(f".{file.name}.partial")
        with self._changed, unfinished.open("wb") as out:
            for part in sorted(self._folder.glob("*/*.jsonl")):
                with part.open("rb") as events:
                    shutil.copyfileobj(events, out)
        unfinished.replace(file)

    def _follow(self) -> None:
        try:
            with TopicReader(self._settings, self._topic) as reader:
                starts = dict.fromkeys(reader.partitions(), 0)
                self._ready.set()
                for record in reader.follow(starts, stop=self._stop.is_set):
                    found = None if record is None else emitted(record.headers)
                    if record is not None and found is not None:
                        self._take(found, structured_event(record.headers, record.value))
        except (StreamprocError, OSError) as error:
            with self._changed:
                self._problem = (
                    error
                    if isinstance(error, StreamprocError)
                    else StreamprocError(f"{self._folder.parent} cannot be written: {error.strerror}")
                )
                self._changed.notify_all()
        finally:
            self._ready.set()

    def _take(self, found: Emitted, event: dict[str, Any]) -> None:
        """Write an event of the rerun down, unless it was there before (a run's events are in order)."""
        stream, sequence = (found.key.camera, found.key.run), found.key.sequence
        since = self._since.setdefault(stream, set())
        if stream not in self._streams or sequence <= self._last.get(stream, -1) or found.id in since:
            return
        with self._changed:
            folder = self._folder / stream[0]
            folder.mkdir(exist_ok=True)
            with (folder / f"{stream[1]}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
            if not found.is_frame:
                since.add(found.id)
                self.occurrences += 1
                return
            since.clear()
            self._last[stream] = sequence
            self.outcomes[str(event["data"]["outcome"])] += 1
            self._by_outcome.labels(str(event["data"]["outcome"])).inc()
            size = self._under_way.pop(found.key, None)
            if size is not None:
                self._bytes -= size
                self.done += 1
            self._changed.notify_all()


class Patience:
    """Notices that nothing has changed for too long.

    Args:
        seconds: How long that is.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = -1
        self._since_s = time.monotonic()

    def look(self, count: int, *, under_way: int) -> None:
        """Look at a count that grows as long as all is well.

        Raises:
            StreamprocError: It has not grown for too long.
        """
        now_s = time.monotonic()
        if count != self._last:
            self._last, self._since_s = count, now_s
        elif now_s - self._since_s > self._seconds:
            raise StreamprocError(
                f"{under_way} frames have no outcome and nothing has moved for {self._seconds:.0f} s:"
                " see the workers' logs, and streamproc doctor"
            )
