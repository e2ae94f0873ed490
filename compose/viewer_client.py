"""What `make up` asks the viewer: whether it is ready, how cameras are, what happened to one, what picture it has."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

_ASK_S: Final = 1.0
_PAUSE_S: Final = 0.1
_LOG_S: Final = 5.0  # for what is read from the log
_ANSWER_BYTES: Final = 4 * 2**20
_RUN: Final = re.compile(r"[a-z]+-(\d{8}T\d{6})Z-[0-9a-f]{4}")
_KINDS: Final = ("edges", "preview")
_FAILED: Final = (OSError, ValueError, KeyError, TypeError)


def answers(url: str) -> bool:
    """Whether a URL of ours answers with 200."""
    with suppress(OSError, ValueError), _opened(url, token=None) as answer:
        return bool(answer.status == 200)
    return False


def not_ready(
    urls: Mapping[str, str], *, timeout_s: float, stop: threading.Event, look: Callable[[], object]
) -> list[str]:
    """Wait until all have answered with 200.

    Args:
        urls: What to ask, by name.
        timeout_s: Longest wait.
        stop: Ends the wait.
        look: Called before each round of questions.

    Returns:
        Names of those that did not in time; none when it was stopped.
    """
    deadline_s, left = time.monotonic() + timeout_s, dict(urls)
    while left and not stop.is_set():
        look()
        left = {name: url for name, url in left.items() if not answers(url)}
        if left and time.monotonic() > deadline_s:
            return [*left]
        if left:
            stop.wait(_PAUSE_S)
    return []


def begun_since(run: str, since_ms: float) -> bool:
    """Whether a run of `ingest` began at a moment (ms since 1970) or later; its name says so, to the second."""
    found = _RUN.fullmatch(run)
    if found is None:
        return False
    begun = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return begun.timestamp() >= since_ms // 1000


@dataclass(frozen=True, slots=True)
class Viewer:
    """The viewer's answers; what it does not answer is nothing, not an error.

    Attributes:
        url: Of its page.
        token: File with its token, if it asks for one.
    """

    url: str
    token: Path | None = None

    def cameras(self) -> list[dict[str, Any]]:
        """Of `/api/state`."""
        with suppress(*_FAILED):
            cameras: list[dict[str, Any]] = self._asked("/api/state")["cameras"]
            return cameras
        return []

    def happenings(self, camera: str) -> list[dict[str, Any]]:
        """The newest events about a camera itself."""
        with suppress(*_FAILED):
            asked = urlencode({"camera": camera, "type": "camera", "limit": 10})
            events: list[dict[str, Any]] = self._asked(f"/api/events?{asked}", wait_s=_LOG_S)["events"]
            return events
        return []

    def shows(self, camera: str, since_ms: float) -> bool:
        """Whether it has a picture of this camera of a run that began since a moment, ms since 1970."""
        for kind in _KINDS:
            asked = urlencode({"camera": camera, "ms": int(time.time() * 1000) + 1000, "kind": kind})
            with suppress(*_FAILED), _opened(f"{self.url}/api/at?{asked}", self.token, wait_s=_LOG_S) as answer:
                if begun_since(str(json.loads(answer.headers["X-Frame"])["run"]), since_ms):
                    return True
        return False

    def _asked(self, path: str, *, wait_s: float = _ASK_S) -> Any:
        with _opened(f"{self.url}{path}", self.token, wait_s=wait_s) as answer:
            return json.loads(answer.read(_ANSWER_BYTES))


def _opened(url: str, token: Path | None, *, wait_s: float = _ASK_S) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own processes
    headers = {} if token is None else {"Authorization": f"Bearer {token.read_text().strip()}"}
    return direct.open(urllib.request.Request(url, headers=headers), timeout=wait_s)  # noqa: S310 - ours
