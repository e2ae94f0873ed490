"""What is told of cameras."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from compose.camera_watch import CameraWatch, last_happening
from compose.viewer_client import begun_since

BEGUN_MS = 1_000_000.0


def camera(name: str, *, p50: float | None = 100.0, fps: float = 5.0, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "online": True,
        "last_picture_ms": None,
        "latency_ms": {"p50": p50, "p95": p50},
        "fps": fps,
        **more,
    }


def test_a_run_before_the_start_is_none_of_this_one() -> None:
    since_ms = datetime(2026, 11, 22, 10, 35, 7, 400_000, tzinfo=UTC).timestamp() * 1000
    assert begun_since("live-20261122T103507Z-ab12", since_ms)
    assert begun_since("file-20261122T103600Z-ab12", since_ms)
    assert not begun_since("live-20261122T103506Z-ab12", since_ms)
    assert not begun_since("replay-of-something", since_ms)


def test_only_cameras_of_the_list_with_something_published_since_the_start_are_looked_at() -> None:
    watch = CameraWatch(["gate", "yard"], BEGUN_MS)
    cameras = [
        camera("gate", last_picture_ms=BEGUN_MS - 1),
        camera("yard", last_picture_ms=BEGUN_MS + 1),
        camera("of-another-list", last_picture_ms=BEGUN_MS + 1),
    ]
    assert watch.to_look_at(cameras) == ["yard"]
    watch.shown("yard")
    assert watch.to_look_at(cameras) == []
    assert watch.waiting == watch.unseen == ("gate",)


def test_a_camera_that_gives_nothing_is_told_once_with_the_reason_and_again_when_it_is_back() -> None:
    watch = CameraWatch(["gate"], BEGUN_MS)
    assert watch.to_ask([camera("gate", online=None), camera("other", online=False)]) == []
    assert watch.to_ask([camera("gate", online=False)]) == ["gate"]
    assert watch.happened("gate", None) is None
    refused = ("offline", "refused")
    assert watch.happened("gate", refused) == "camera gate: refuses the connection"
    assert watch.happened("gate", refused) is None
    assert watch.waiting == ()  # nobody needs to wait for it
    assert watch.unseen == ("gate",)
    assert watch.to_ask([camera("gate", online=True)]) == ["gate"]
    assert watch.happened("gate", ("online", "")) == "camera gate: gives frames"
    assert watch.happened("gate", ("online", "")) is None
    assert watch.happened("other", refused) is None


def test_the_newest_word_of_this_run_counts() -> None:
    def event(what: str, at_ms: float, why: str = "") -> dict[str, Any]:
        return {"what": what, "emitted_ms": at_ms, "subject": why}

    newest_first = [event("gap", 5), event("offline", 4, "away"), event("online", 3)]
    assert last_happening(newest_first, 3) == ("offline", "away")
    assert last_happening(newest_first, 4.5) is None
    assert last_happening([], 0) is None


def test_that_workers_are_behind_is_told_at_most_every_half_minute_with_what_helps() -> None:
    watch = CameraWatch(["gate", "yard"], BEGUN_MS)
    late = [camera("gate", p50=24_000, fps=7.0), camera("yard", p50=200)]
    assert watch.behind([camera("gate", p50=4_900), camera("yard", p50=None)], 0) is None
    assert watch.behind([camera("of-another-list", p50=24_000)], 0) is None
    assert watch.behind(late, 1) == "workers are 24 s behind (gate): FPS=6 or fewer pixels would let them keep up"
    assert watch.behind(late, 30) is None
    assert watch.behind([camera("gate", p50=50_000, fps=0.2)], 31) == (
        "workers are 50 s behind (gate): FPS=1 or fewer pixels would let them keep up"
    )
    watch.happened("gate", ("offline", "away"))
    assert watch.behind(late, 99) is None  # what it gave before is no news
