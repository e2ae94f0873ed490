"""What each browser still has to get, and how much of it may wait: a slow one loses pictures, never memory.

Time is an argument; nothing is sent here. One `Browser` for each connection; `Hub` tells all of them. Messages are
made once and shared by all browsers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from streamproc.view.cameras import MAX_CAMERAS
from streamproc.view.shown import PICTURE_KINDS, Picture, Shown, encoded

MAX_EVENTS: Final = 1000
MAX_EVENT_BYTES: Final = 4 * 2**20
MAX_PICTURE_BYTES: Final = 32 * 2**20  # waiting; shared with the other browsers
MAX_NEWEST_BYTES: Final = 128 * 2**20  # of all cameras together
MAX_AWAY: Final = 64
MAX_AWAY_BYTES: Final = 8 * 2**20  # of one picture at least, however large
EVENTS_TO_A_PICTURE: Final = 20
SKIPPED_EVERY_S: Final = 1.0
PLAIN_PER_S: Final = 10.0
PLAIN_BURST: Final = 5.0

_json = msgspec.json.Encoder()
PictureKey: TypeAlias = tuple[str, str]
"""Camera and kind."""


class Message(NamedTuple):
    """What is to be sent next.

    Attributes:
        kind: What it is; of `event` and `picture` one each.
        data: Text if it is not a picture.
        emitted_ms: Of an event.
    """

    kind: Literal["event", "picture", "news"]
    data: bytes
    emitted_ms: float = 0.0


def news(kind: str, **values: Any) -> bytes:
    """A message that is neither event nor picture."""
    return _json.encode({"type": kind, **values})


@dataclass(slots=True)
class _Plain:
    """The newest plain event of a camera, and how many more may go at once."""

    message: Message | None = None
    tokens: float = PLAIN_BURST
    at_s: float = float("-inf")

    def ready_s(self) -> float:
        """When the next may go."""
        return self.at_s + max(0.0, 1.0 - self.tokens) / PLAIN_PER_S

    def take(self, now_s: float) -> Message | None:
        if self.message is None or self.ready_s() > now_s + 1e-9:
            return None
        self.tokens = min(PLAIN_BURST, self.tokens + (now_s - max(self.at_s, now_s - 60)) * PLAIN_PER_S) - 1
        self.at_s = now_s
        message, self.message = self.message, None
        return message


@dataclass(slots=True, eq=False)
class Browser:
    """What one browser still has to get.

    Attributes:
        wake: Called when there may be something to send.
        events_skipped, pictures_skipped: Since the connection began.
        picture_bytes: Of pictures that wait here; they are shared with other browsers.
    """

    wake: Callable[[], None]
    events_skipped: int = 0
    pictures_skipped: int = 0
    picture_bytes: int = 0
    _told_skipped: tuple[int, int] = (0, 0)
    _tell_skipped_s: float = float("-inf")
    _news: dict[str, bytes] = field(default_factory=dict)
    _events: deque[Message] = field(default_factory=deque)
    _event_bytes: int = 0
    _plain: dict[str, _Plain] = field(default_factory=dict)
    _pictures: dict[PictureKey, Picture] = field(default_factory=dict)  # the next first
    _away: deque[int] = field(default_factory=deque)
    _cameras: frozenset[str] | None = None
    _kinds: frozenset[str] = frozenset(PICTURE_KINDS)
    _seen: set[str] = field(default_factory=set)
    _events_running: int = 0

    @property
    def event_bytes(self) -> int:
        """Of events that wait here."""
        return self._event_bytes

    def tell(self, kind: str, message: bytes) -> None:
        """Something of which only the newest counts: the state of all cameras, of the broker."""
        self._news[kind] = message
        self.wake()

    def event(self, event: Shown, message: Message) -> None:
        """An event; the oldest go if too many wait."""
        if event.is_plain:
            if len(self._plain) > MAX_CAMERAS:
                self._plain = {name: plain for name, plain in self._plain.items() if plain.message is not None}
            if len(self._plain) <= MAX_CAMERAS or event.camera in self._plain:
                self._plain.setdefault(event.camera, _Plain()).message = message
        else:
            self._events.append(message)
            self._event_bytes += len(message.data)
            while len(self._events) > MAX_EVENTS or (self._event_bytes > MAX_EVENT_BYTES and len(self._events) > 1):
                self._event_bytes -= len(self._events.popleft().data)
                self.events_skipped += 1
        self.wake()

    def picture(self, picture: Picture) -> None:
        """A picture; it takes the place of an older one of its camera and kind."""
        if not self._wants(picture):
            return
        key = (picture.camera, picture.kind)
        before = self._pictures.get(key)
        self._pictures[key] = picture  # in the place of the older one, so that each camera has its turn
        self._seen.add(picture.camera)
        self.picture_bytes += len(picture.message) - (len(before.message) if before else 0)
        self.pictures_skipped += before is not None
        while self.picture_bytes > MAX_PICTURE_BYTES and len(self._pictures) > 1:
            longest = next(iter(self._pictures))
            self.picture_bytes -= len(self._pictures.pop(longest).message)
            self.pictures_skipped += 1
        self.wake()

    def watch(self, cameras: Iterable[str] | None, kinds: Iterable[str]) -> None:
        """From now on pictures of these alone; None: of all cameras."""
        self._cameras = None if cameras is None else frozenset(cameras)
        self._kinds = frozenset(kinds)
        self._seen = {name for name in self._seen if self._cameras is None or name in self._cameras}
        self._pictures = {key: picture for key, picture in self._pictures.items() if self._wants(picture)}
        self.picture_bytes = sum(len(picture.message) for picture in self._pictures.values())

    def got(self, count: int) -> None:
        """So many pictures were shown."""
        for _ in range(min(count, len(self._away))):
            self._away.popleft()
        self.wake()

    def next(self, now_s: float) -> Message | None:
        """What is to be sent now; None if nothing is."""
        for kind in tuple(self._news):
            return Message("news", self._news.pop(kind))
        skipped = (self.events_skipped, self.pictures_skipped)
        if skipped != self._told_skipped and now_s >= self._tell_skipped_s:
            events, pictures = (now - told for now, told in zip(skipped, self._told_skipped, strict=True))
            self._told_skipped, self._tell_skipped_s = skipped, now_s + SKIPPED_EVERY_S
            return Message("news", news("skipped", events=events, pictures=pictures))
        may_show = self._room_for_picture()
        if not (may_show and self._events_running >= EVENTS_TO_A_PICTURE):
            event = self._next_event(now_s)
            if event is not None:
                self._events_running += 1
                return event
        self._events_running = 0
        if not may_show:
            return None
        key = next(iter(self._pictures))
        picture = self._pictures.pop(key)
        self.picture_bytes -= len(picture.message)
        self._away.append(len(picture.message))
        return Message("picture", picture.message)

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until a plain event that waits for its turn may be sent; None if none does."""
        ready = [plain.ready_s() for plain in self._plain.values() if plain.message is not None]
        return max(0.0, min(ready) - now_s) if ready else None

    def _next_event(self, now_s: float) -> Message | None:
        if self._events:
            message = self._events.popleft()
            self._event_bytes -= len(message.data)
            return message
        for camera in list(self._plain):
            plain = self._plain[camera].take(now_s)
            if plain is not None:
                self._plain[camera] = self._plain.pop(camera)  # the others are next
                return plain
        return None

    def _room_for_picture(self) -> bool:
        if not self._pictures:
            return False
        size = len(next(iter(self._pictures.values())).message)
        most = min(MAX_AWAY, max(2, 2 * len(self._seen)))
        return not self._away or (len(self._away) < most and sum(self._away) + size <= MAX_AWAY_BYTES)

    def _wants(self, picture: Picture) -> bool:
        return picture.kind in self._kinds and (self._cameras is None or picture.camera in self._cameras)


class Hub:
    """Tells all browsers; remembers the newest picture of each camera and kind for who comes next."""

    def __init__(self) -> None:
        self._browsers: set[Browser] = set()
        self._newest: dict[PictureKey, Picture] = {}
        self._newest_bytes = 0

    def __len__(self) -> int:
        return len(self._browsers)

    @property
    def waiting_bytes(self) -> int:
        """Of the newest pictures, which wait for browsers, and of events for each."""
        return self._newest_bytes + sum(browser.event_bytes for browser in self._browsers)

    def join(self, browser: Browser) -> None:
        """A browser that gets everything from now on, and the newest pictures at once."""
        self._browsers.add(browser)
        self.resend(browser)

    def resend(self, browser: Browser) -> None:
        """The newest picture of each camera, to one browser: it watches others than before."""
        for picture in self._newest.values():
            browser.picture(picture)

    def leave(self, browser: Browser) -> None:
        """A browser that is gone."""
        self._browsers.discard(browser)

    def tell(self, kind: str, **values: Any) -> None:
        """News for all."""
        message = news(kind, **values)
        for browser in self._browsers:
            browser.tell(kind, message)

    def event(self, event: Shown) -> None:
        """An event for all."""
        if self._browsers:
            message = Message("event", b'{"type":"event","event":' + encoded(event) + b"}", event.emitted_ms)
            for browser in self._browsers:
                browser.event(event, message)

    def picture(self, picture: Picture) -> None:
        """A picture for all who want it."""
        key = (picture.camera, picture.kind)
        before = self._newest.pop(key, None)
        self._newest[key] = picture
        self._newest_bytes += len(picture.message) - (len(before.message) if before else 0)
        while len(self._newest) > 2 * MAX_CAMERAS or self._newest_bytes > MAX_NEWEST_BYTES:
            oldest = next(iter(self._newest))
            self._newest_bytes -= len(self._newest.pop(oldest).message)
        for browser in self._browsers:
            browser.picture(picture)
