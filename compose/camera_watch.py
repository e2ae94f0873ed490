"""What `make up` tells of its cameras: which show pictures, which do not and why, and whether workers keep up.

Pure: what the viewer answered, and the time, are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from streamproc.view.words import reason_words

BEHIND_MS: Final = 5_000.0
BEHIND_EVERY_S: Final = 30.0
_MAX_NAMES: Final = 5


def last_happening(events: Iterable[Mapping[str, Any]], since_ms: float) -> tuple[str, str] | None:
    """What the newest camera event since a moment says: `online` or `offline`, and why; None if there is none.

    Args:
        events: Of one camera, newest first, as `/api/events` has them.
        since_ms: Milliseconds since 1970.
    """
    for event in events:
        if event["what"] in ("online", "offline") and event["emitted_ms"] >= since_ms:
            return str(event["what"]), str(event.get("subject") or "")
    return None


class CameraWatch:
    """Lines about the cameras of the list.

    Args:
        names: Of the cameras that are watched.
        begun_ms: When they were started, milliseconds since 1970; what is older is of a former run.
    """

    def __init__(self, names: Collection[str], begun_ms: float) -> None:
        self.begun_ms = begun_ms
        self._offline: dict[str, str] = {}
        self._waiting = dict.fromkeys(names)
        self._names = frozenset(names)
        self._behind_s: float | None = None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Cameras of which no picture has come yet, and nothing was told either."""
        return tuple(name for name in self._waiting if name not in self._offline)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Cameras of which no picture has come yet."""
        return tuple(self._waiting)

    def to_ask(self, cameras: Iterable[Mapping[str, Any]]) -> list[str]:
        """Cameras whose newest event is of interest: those that give no frames, or did not when asked last."""
        return [
            one["name"]
            for one in cameras
            if one["name"] in self._names and (one["online"] is False or one["name"] in self._offline)
        ]

    def to_look_at(self, cameras: Iterable[Mapping[str, Any]]) -> list[str]:
        """Cameras without a picture so far that may have one now: something was published since the start."""
        return [
            one["name"]
            for one in cameras
            if one["name"] in self._waiting and (one["last_picture_ms"] or 0) >= self.begun_ms
        ]

    def shown(self, name: str) -> None:
        """A picture of this run came."""
        self._waiting.pop(name, None)

    def happened(self, name: str, happening: tuple[str, str] | None) -> str | None:
        """Take what the newest camera event says; the line to tell, if it is news."""
        if happening is None or name not in self._names:
            return None
        what, why = happening
        if what == "offline":
            if self._offline.get(name) == why:
                return None
            self._offline[name] = why
            return f"camera {name}: {reason_words(why) or 'gives no frames'}"
        return f"camera {name}: gives frames" if self._offline.pop(name, None) is not None else None

    def behind(self, cameras: Iterable[Mapping[str, Any]], now_s: float) -> str | None:
        """That frames wait, at most every half minute, with what helps.

        Args:
            cameras: Of `/api/state`.
            now_s: Monotonic.
        """
        late = [
            one
            for one in cameras
            if one["name"] in self._names
            and (one["latency_ms"]["p50"] or 0.0) > BEHIND_MS
            and one["name"] not in self._offline
        ]
        if not late or (self._behind_s is not None and now_s - self._behind_s < BEHIND_EVERY_S):
            return None
        self._behind_s = now_s
        worst_ms = max(one["latency_ms"]["p50"] for one in late)
        # What comes out now is what they can do: a little less leaves room to catch up.
        fps = max(1, math.floor(0.9 * min(one["fps"] for one in late)))
        which = ", ".join(one["name"] for one in late[:_MAX_NAMES]) + (" ..." if len(late) > _MAX_NAMES else "")
        return f"workers are {worst_ms / 1000:.0f} s behind ({which}): FPS={fps} or fewer pixels would let them keep up"
