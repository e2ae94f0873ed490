"""A viewer without Kafka: the real web server over synthetic cameras; pictures, events and outages are a test's.

Frame `number` of a camera is known beforehand: `box_of` says where its bright square is. Runs on a thread of its own.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import cv2
import numpy as np

from streamproc.cloudevents import event_id
from streamproc.metrics import Metrics
from streamproc.model import FrameKey, Outcome
from streamproc.settings import load_settings
from streamproc.view.access import Access
from streamproc.view.bounded import Desk, Gone, NotThere
from streamproc.view.hub import Browser
from streamproc.view.past import Query
from streamproc.view.server import Viewer, serve
from streamproc.view.shown import Picture, Shown, ShownObject, about_frame
from streamproc.view.state import CAMERAS_EVERY_S, State

WIDTH: Final = 1280
HEIGHT: Final = 720
SMALL: Final = 4  # frame pixels in one of the preview's
SIDE: Final = 160
_KEPT: Final = 3000
_T = TypeVar("_T")


def box_of(number: int) -> tuple[int, int, int, int]:
    """Where the bright square of a frame is: x1, y1, x2, y2 in pixels of the frame."""
    x, y = 40 + number * 24 % 1040, 200 + number * 8 % 320
    return x, y, x + SIDE, y + SIDE


def pixels_of(camera: str, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The preview of a frame, BGR: a quiet ground in a shade of the camera, a bright square."""
    small = (HEIGHT // SMALL, WIDTH // SMALL, 3)
    shade = 20 + sum(camera.encode()) % 60
    picture = np.full(small, (shade, 40, 100 - shade), np.uint8)
    picture[small[0] // 2 :: 12] += 10
    x1, y1, x2, y2 = (side // SMALL for side in box_of(number))
    picture[y1:y2, x1:x2] = (235, 235, 235)
    return picture


def _encoded(suffix: str, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return data.tobytes()


class FakeState(State):
    """A state whose broker a test breaks, and whose page hears what a test says."""

    broken: str = ""

    def broker(self) -> dict[str, Any]:
        """Well unless a test says otherwise."""
        return {"ok": not self.broken, "told": self.broken or "reading from a stand-in"}


@dataclass(eq=False)
class FakePast:
    """A log in memory: answers as the real one does."""

    log: list[Shown] = field(default_factory=list)
    frames: list[tuple[str, int, int]] = field(default_factory=list)  # camera, number, published ms
    gone: set[str] = field(default_factory=set)  # events whose pixels are gone
    asked: list[Query] = field(default_factory=list)

    def events(self, query: Query) -> tuple[list[Shown], bool]:
        """Newest first."""
        self.asked.append(query)
        first, last = query.from_ms or 0, query.to_ms or 2**60
        fits = [event for event in reversed(self.log) if first <= event.at_ms <= last and query.fits(event)]
        return fits[: query.limit], len(fits) > query.limit

    def event(self, identity: str, *, camera: str | None, near_ms: int | None) -> dict[str, Any]:
        """A CloudEvent as the log would have it, in the main."""
        found = self._find(identity)
        data = {
            "camera": found.camera,
            "run": found.run,
            "sequence": found.sequence,
            "captured_ns": int(found.captured_ns),
            "outcome": found.outcome,
            "width": WIDTH,
            "height": HEIGHT,
            "objects": [{"label": one.label, "score": one.score, "box": one.box} for one in found.objects],
            "evidence": {
                "topic": "streamproc.tiles",
                "offsets": {"0": [found.sequence * 4, found.sequence * 4 + 3], "3": [17, 17]},
                "pipeline": "7f0c2a9be4d1",
                "operators": {"canny": 3, "orb": 1},
            },
            "latency_ms": {"total": found.latency_ms},
        }
        return {"specversion": "1.0", "id": identity, "type": f"io.streamproc.{found.type}.v1", "data": data}

    def picture(self, identity: str, *, camera: str | None, near_ms: int | None, edges: bool) -> tuple[bytes, str]:
        """The preview, as PNG."""
        found = self._find(identity)
        if found.type == "camera":
            raise NotThere("this event tells of a camera, not of a frame")
        if identity in self.gone:
            raise Gone(f"the pixels of frame {found.camera}/{found.run}/{found.sequence} are gone: retention")
        return _encoded(".png", pixels_of(found.camera, found.sequence)), "as a stand-in has them"

    def _find(self, identity: str) -> Shown:
        for event in reversed(self.log):
            if event.id == identity:
                return event
        raise NotThere(f"event {identity} is not in streamproc.events")

    def picture_at(self, camera: str, at_ms: int, kind: str) -> Picture:
        """The last at a moment or before."""
        for name, number, published_ms in reversed(self.frames):
            if name == camera and published_ms <= at_ms:
                return picture_of(camera, number, kind, published_ms)
        raise NotThere(f"camera {camera} has no {kind} picture at that time or shortly before")

    def frame_at(self, camera: str, at_ms: int) -> tuple[bytes, bytes]:
        """Never there: previews are all there is."""
        raise NotThere(f"camera {camera} has no frame event at that time or shortly before")


def picture_of(camera: str, number: int, kind: str, published_ms: int, *, captured_ago_s: int = 0) -> Picture:
    """A picture as the follower would hand it on."""
    pixels = pixels_of(camera, number)
    data = (
        _encoded(".jpg", pixels) if kind == "preview" else _encoded(".png", cv2.Canny(pixels, 50, 150).astype(np.uint8))
    )
    content_type = "image/jpeg" if kind == "preview" else "image/png"
    about = about_frame(
        camera=camera,
        run="run-1",
        sequence=number,
        kind=kind,
        captured_ns=(published_ms - captured_ago_s * 1000) * 10**6,
        published_ms=published_ms,
        content_type=content_type,
    )
    return Picture(
        camera=camera,
        kind=kind,
        published_ms=published_ms,
        about=about,
        content_type=content_type,
        message=len(about).to_bytes(4, "big") + about + data,
    )


def event_of(camera: str, number: int, **change: Any) -> Shown:
    """A frame's event, complete, with the square as an object; `change` names what is to be otherwise."""
    now_ms = int(time.time() * 1000)
    key = FrameKey(camera, "run-1", number)
    outcome: Outcome = change.get("outcome", "complete")
    values: dict[str, Any] = {
        "id": event_id(key, pipeline="p", kind=f"{change.get('type', 'frame')}{change.get('what', '')}"),
        "type": "frame",
        "camera": camera,
        "run": "run-1",
        "sequence": number,
        "captured_ns": f"{now_ms - 85}{123456}",
        "captured_ms": now_ms - 85,
        "emitted_ms": now_ms,
        "at_ms": now_ms,
        "what": outcome,
        "outcome": outcome if change.get("type", "frame") == "frame" else None,
        "text": f"frame {number} is {outcome}",
        "objects": [ShownObject(label="square", score=0.9, box=box_of(number), track="0-1")],
        "width": WIDTH,
        "height": HEIGHT,
        "latency_ms": 60.0 + number * 7 % 40,
    }
    return Shown(**{**values, **change})


class StandIn:
    """The server. `cameras` are those that `play` gives frames of; a context manager that always stops."""

    def __init__(self, cameras: list[str] | None = None, *, token: str | None = None) -> None:
        self.cameras = cameras if cameras is not None else ["gate", "yard"]
        self.past = FakePast()
        self.state = FakeState(load_settings(), Metrics())
        self.port = 0
        self.number = 0
        self._token = token
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-in")
        self._stop_serving: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def browsers(self) -> list[Browser]:
        """What the server holds for each page."""
        return list(self.state.hub._browsers)

    def __enter__(self) -> Self:
        self._thread.start()
        self.serve()
        self._do(self._every(CAMERAS_EVERY_S / 2, self.state.tick))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_serving()

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        future: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(20)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        async def start() -> None:
            self._tasks.add(asyncio.get_running_loop().create_task(work))

        self._run(start())

    async def _every(self, seconds: float, work: Callable[[int], None]) -> None:
        number = 0
        while True:
            work(number)
            number += 1
            await asyncio.sleep(seconds)

    def serve(self) -> None:
        """Listen; after `stop_serving` on the same port."""
        access = Access(self._token, local=True)
        viewer = Viewer(self.state, self.past, Desk(), access)  # type: ignore[arg-type]  # answers as Past does
        runner, self.port = self._run(serve(viewer.application(), host="127.0.0.1", port=self.port))
        self._stop_serving = runner.cleanup

    def stop_serving(self) -> None:
        """As a server that ends: all connections are closed."""
        if self._stop_serving is not None:
            self._run(self._stop_serving())
            self._stop_serving = None

    def play(self, *, fps: float = 5.0) -> None:
        """Frames of all cameras from now on."""
        self._do(self._every(1 / fps, lambda _number: self._frames()))

    def _frames(self) -> None:
        for camera in self.cameras:
            self._frame(camera, self.number)
        self.number += 1

    def frame(self, camera: str, number: int, *, captured_ago_s: int = 0) -> None:
        """One frame: its event and its two pictures, of what was to be seen so long ago."""
        self._loop.call_soon_threadsafe(self._frame, camera, number, captured_ago_s)

    def _frame(self, camera: str, number: int, captured_ago_s: int = 0) -> None:
        self._event(event_of(camera, number))
        now_ms = int(time.time() * 1000)
        self.past.frames.append((camera, number, now_ms))
        del self.past.frames[:-_KEPT]
        for kind in ("preview", "edges"):
            picture = picture_of(camera, number, kind, now_ms, captured_ago_s=captured_ago_s)
            self.state.cameras.picture(picture)
            self.state.hub.picture(picture)

    def event(self, event: Shown) -> None:
        """An event of its own."""
        self._loop.call_soon_threadsafe(self._event, event)

    def _event(self, event: Shown) -> None:
        self.past.log.append(event)
        del self.past.log[:-_KEPT]
        self.state.cameras.event(event, self.state.now_ms())
        self.state.hub.event(event)

    def break_broker(self, told: str) -> None:
        """The broker is gone, as this line says; "": it is back."""
        self.state.broken = told
