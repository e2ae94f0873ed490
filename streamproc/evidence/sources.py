"""Where records of a topic may still be: archives, the log. Opened once, asked in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Self, TypeAlias

from streamproc.errors import StreamprocError
from streamproc.reader import TopicReader
from streamproc.records import RecordSource
from streamproc.settings import Settings

Opener: TypeAlias = Callable[[str], AbstractContextManager[RecordSource]]
"""Opens one topic by its name.

Raises:
    StreamprocError: It cannot be had there.
"""


class Sources:
    """The places where a topic may be read, in the order in which they are asked. Use as a context manager.

    Args:
        places: Name ("the log", "the archive") and how a topic is opened there.
    """

    def __init__(self, places: Sequence[tuple[str, Opener]]) -> None:
        self._places = list(places)
        self._stack = ExitStack()
        self._opened: dict[tuple[str, str], RecordSource | str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def of(self, topic: str) -> list[tuple[str, RecordSource]]:
        """Name and reader of each place that has the topic."""
        found = [(name, self._open(name, opener, topic)) for name, opener in self._places]
        return [(name, source) for name, source in found if not isinstance(source, str)]

    def silent(self, topic: str) -> list[str]:
        """Of each place that does not have the topic, why; a line each."""
        found = [(name, self._open(name, opener, topic)) for name, opener in self._places]
        return [f"{name}: {why}" for name, why in found if isinstance(why, str)]

    def _open(self, name: str, opener: Opener, topic: str) -> RecordSource | str:
        if (name, topic) not in self._opened:
            self._opened[name, topic] = self._tried(opener, topic)
        return self._opened[name, topic]

    def _tried(self, opener: Opener, topic: str) -> RecordSource | str:
        try:
            source = self._stack.enter_context(opener(topic))
            source.partitions()  # a reader of the log is made without asking
        except StreamprocError as error:
            return " ".join(str(error).split())
        return source


def log_of(settings: Settings) -> tuple[str, Opener]:
    """The topics of a broker as a place."""
    return f"the log on {settings.bootstrap}", lambda topic: TopicReader(settings, topic)
