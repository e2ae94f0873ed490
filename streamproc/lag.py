"""How long records of a log have waited to be read, from what a reader knows without asking the broker."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far one partition is read. All times are Unix time in seconds, of the caller's clock.

    Attributes:
        next: The offset to be read next.
        end: The offset after the last record, as heard last; below `next` if nothing was heard for long.
        heard_s: When that was heard.
        since_s: A time before which the record at `next` was not written: its own, or that of the one before it; None
            if neither was read.
        first: The offset of the oldest record that is kept, as the broker told it last; None if it was not asked.
    """

    next: int
    end: int
    heard_s: float
    since_s: float | None = None
    first: int | None = None

    @property
    def unread(self) -> int:
        """Records that wait."""
        return max(0, self.end - self.next)

    @property
    def unread_of_kept(self) -> float:
        """Share of the records kept that wait, 0 to 1; 1 if some were deleted unread and others are kept.

        0 if nothing is kept, and while nobody knows from where on records are kept.
        """
        if self.first is None or self.first == self.end:
            return 0.0
        if self.next < self.first:
            return 1.0
        return self.unread / (self.end - self.first) if self.unread else 0.0


def most_of_kept(standings: Iterable[Standing]) -> float:
    """`Standing.unread_of_kept` of the partition that is nearest to a loss; 0 if there is none."""
    return max((one.unread_of_kept for one in standings), default=0.0)


@dataclass(slots=True)
class _Seen:
    """What was seen of a partition: when nothing waited last, and when records were found to wait after that."""

    next: int
    empty_s: float | None = None
    found_s: float | None = None


class Lag(Generic[_K]):
    """The age of the oldest unread record of each partition, as closely as it is known.

    It is not older than the moment at which the partition last had nothing unread, nor than the record read before it:
    after a pause, the first of a burst does not look as old as the pause is long. Of a partition of which nothing was
    read yet it counts from the look at which records were found.
    """

    def __init__(self) -> None:
        self._seen: dict[_K, _Seen] = {}

    def look(self, standings: Mapping[_K, Standing], now_s: float) -> dict[_K, float]:
        """Seconds by partition, 0 where nothing waits; once something was read, not less than the true age.

        Args:
            standings: All partitions that are read now; others are forgotten, and so is one that is read anew from
                further back.
            now_s: Unix time.
        """
        before, self._seen = self._seen, {}
        for key, one in standings.items():
            seen = before.get(key)
            self._seen[key] = seen if seen is not None and seen.next <= one.next else _Seen(one.next)
        return {key: _late_s(self._seen[key], one, now_s) for key, one in standings.items()}


def _late_s(seen: _Seen, one: Standing, now_s: float) -> float:
    seen.next = one.next
    if not one.unread:
        seen.found_s = None
        if one.end == one.next:
            seen.empty_s = one.heard_s
        return 0.0
    if seen.found_s is None:
        seen.found_s = now_s
    known = [moment_s for moment_s in (seen.empty_s, one.since_s) if moment_s is not None]
    return max(0.0, now_s - max(known, default=seen.found_s))
