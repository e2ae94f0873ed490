"""What is known of cameras, by hand-made events and a clock of our own."""

from __future__ import annotations

import msgspec
import pytest

from streamproc.cloudevents import CameraEventKind
from streamproc.view.cameras import HOUR_MS, Camera, Cameras, Series, quantile
from streamproc.view.sight import Sight
from tests.view.material import NOW_MS, camera_shown, frame_shown, picture

SECOND = 1000
MINUTE = 60 * SECOND


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        ([], 0.5, None),
        ([3.0], 0.95, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
    ],
)
def test_quantiles_are_values_that_were_there(values: list[float], share: float, wanted: float | None) -> None:
    assert quantile(values, share) == wanted


def test_a_camera_tells_its_speed_outcomes_latency_and_size() -> None:
    cameras = Cameras()
    for number in range(100):
        at_ms = NOW_MS - (99 - number) * 100
        outcome = "partial" if number == 50 else "complete"
        cameras.event(frame_shown(number, at_ms=at_ms, outcome=outcome, latency_ms=number), NOW_MS)
    cameras.picture(picture(at_ms=NOW_MS - 7))
    (told,) = cameras.told(NOW_MS)
    assert told["name"] == "gate"
    assert told["fps"] == 10
    assert told["outcomes"] == {"complete": 99, "partial": 1}
    assert told["latency_ms"] == {"p50": 49, "p95": 94}
    assert (told["last_event_ms"], told["last_picture_ms"]) == (NOW_MS, NOW_MS - 7)
    assert (told["width"], told["height"], told["online"], told["blind"]) == (640, 480, None, [])
    (later,) = cameras.told(NOW_MS + 2 * MINUTE)
    assert (later["fps"], later["latency_ms"]["p50"]) == (0, None)


Happening = tuple[CameraEventKind, int, dict[str, object]]


def blind(*happenings: Happening, now_ms: int = NOW_MS) -> list[tuple[float, float | None]]:
    """Seconds before now, of both ends."""
    camera = Camera("gate")
    for what, ago_s, data in happenings:
        camera.note(camera_shown(what, now_ms - ago_s * SECOND, **data), now_ms)
    spans = camera.blind(now_ms)
    return [((now_ms - start) / 1000, None if end is None else (now_ms - end) / 1000) for start, end in spans]


@pytest.mark.parametrize(
    ("happenings", "wanted"),
    [
        ([], []),
        ([("online", 100, {})], []),
        ([("online", 100, {"down_s": 20.0})], [(120, 100)]),
        ([("online", 100, {"down_s": 20.0, "again": False})], []),  # it was never there before
        ([("offline", 100, {"reason": "timeout"})], [(100, None)]),
        ([("offline", 100, {"reason": "timeout"}), ("online", 40, {})], [(100, 40)]),
        ([("online", 40, {}), ("offline", 100, {"reason": "timeout"})], [(100, 40)]),  # in whatever order
        ([("offline", 100, {"reason": "timeout"}), ("offline", 90, {"reason": "refused"})], [(100, None)]),
        ([("offline", 100, {"reason": "removed"})], []),
        ([("offline", 100, {"reason": "timeout"}), ("offline", 50, {"reason": "removed"})], []),
        (
            [("gap", 50, {"from_ns": (NOW_MS - 60_000) * 10**6, "to_ns": (NOW_MS - 50_000) * 10**6})],
            [(60, 50)],
        ),
        ([("offline", 5000, {"reason": "timeout"}), ("online", 4000, {})], []),  # more than an hour ago
        ([("offline", 5000, {"reason": "timeout"}), ("online", 3000, {})], [(3600, 3000)]),
        ([("fps-sag", 10, {}), ("clock-step", 5, {})], []),
        (
            [("offline", 100, {"reason": "timeout"}), ("online", 60, {}), ("online", 50, {"down_s": 30.0})],
            [(100, 50)],
        ),
    ],
)
def test_blindness_is_what_camera_events_say(
    happenings: list[Happening], wanted: list[tuple[float, float | None]]
) -> None:
    assert blind(*happenings) == wanted


def test_a_camera_is_online_as_its_last_event_says_and_unknown_without_one() -> None:
    camera = Camera("gate")
    said = [camera.online()]
    for ago_s, what, data in [(30, "online", {}), (20, "offline", {"reason": "timeout"}), (10, "online", {})]:
        camera.note(camera_shown(what, NOW_MS - ago_s * SECOND, **data), NOW_MS)  # type: ignore[arg-type]  # literals
        said.append(camera.online())
    camera.note(camera_shown("offline", NOW_MS, reason="removed"), NOW_MS)
    assert [*said, camera.online()] == [None, True, False, True, None]


def test_a_reminder_shows_a_camera_that_was_lost_long_before_the_viewer_looks_back() -> None:
    """The very event of five hours ago stands in the log again, ten minutes ago."""
    lost = camera_shown("offline", NOW_MS - 5 * HOUR_MS, reason="unreachable")
    camera = Camera("gate")
    camera.note(lost, NOW_MS)
    assert camera.online() is None
    for ago_ms in (20 * MINUTE, 10 * MINUTE):
        camera.note(msgspec.structs.replace(lost, at_ms=NOW_MS - ago_ms), NOW_MS)
    assert (camera.online(), camera.blind(NOW_MS)) == (False, [(NOW_MS - HOUR_MS, None)])
    camera.note(camera_shown("online", NOW_MS - MINUTE), NOW_MS)
    assert (camera.online(), camera.blind(NOW_MS)) == (True, [(NOW_MS - HOUR_MS, NOW_MS - MINUTE)])


def test_frames_that_were_not_complete_are_counted_for_an_hour() -> None:
    camera = Camera("gate")
    for ago_s, outcome in ((4000, "expired"), (3000, "partial"), (10, "complete")):
        camera.add(frame_shown(at_ms=NOW_MS - ago_s * SECOND, outcome=outcome), NOW_MS)
    assert camera.told(NOW_MS)["not_complete"] == 1
    assert camera.told(NOW_MS + 1000 * SECOND)["not_complete"] == 0


def test_a_film_that_was_read_to_its_end_is_finished_and_not_blind() -> None:
    camera = Camera("film")
    camera.note(camera_shown("online", NOW_MS - 30 * SECOND), NOW_MS)
    camera.note(camera_shown("offline", NOW_MS - 20 * SECOND, reason="finished"), NOW_MS)
    told = camera.told(NOW_MS)
    assert (told["finished"], told["online"], told["why"], told["blind"]) == (True, None, None, [])
    camera.note(camera_shown("online", NOW_MS - 10 * SECOND), NOW_MS)
    assert (camera.finished, camera.online()) == (False, True)


def test_a_camera_that_gives_no_frames_at_all_is_shown_by_its_events() -> None:
    cameras = Cameras()
    cameras.note(camera_shown("offline", NOW_MS - 5, camera="dark", reason="unreachable"), NOW_MS)
    (told,) = cameras.told(NOW_MS)
    assert (told["name"], told["online"], told["blind"]) == ("dark", False, [(NOW_MS - 5, None)])


def test_happenings_told_twice_count_once_and_their_number_is_bounded() -> None:
    camera = Camera("gate")
    for number in range(2000):
        at_ms = NOW_MS - 2000 * SECOND + number * SECOND
        for _ in range(2):
            kind: CameraEventKind = "offline" if number % 2 == 0 else "online"
            camera.note(camera_shown(kind, at_ms, reason="timeout"), NOW_MS)
    assert len(camera.blind(NOW_MS)) <= 250


def seen(*ago_s: float) -> list[tuple[float, float]]:
    """Seconds before now, of both ends."""
    sight = Sight()
    for ago in ago_s:
        sight.add(NOW_MS - ago * SECOND)
    return [((NOW_MS - start) / 1000, (NOW_MS - end) / 1000) for start, end in sight.told(NOW_MS - HOUR_MS)]


@pytest.mark.parametrize(
    ("ago_s", "wanted"),
    [
        ([], []),
        ([50], [(50, 50)]),
        ([60, 55, 50], [(60, 50)]),
        ([60, 55, 17, 12], [(60, 55), (17, 12)]),  # 38 s without a frame
        ([17, 12, 60, 55], [(60, 55), (17, 12)]),  # in whatever order
        ([60, 42, 51], [(60, 42)]),  # what lies between brings both together
        ([3605, 3598, 3590], [(3600, 3590)]),
        ([4000, 3700], []),
    ],
)
def test_what_was_seen_is_spans_without_silence(ago_s: list[float], wanted: list[tuple[float, float]]) -> None:
    assert seen(*ago_s) == wanted


def test_spans_of_what_was_seen_are_bounded() -> None:
    assert len(seen(*range(3550, 0, -11))) == 200


def test_frames_of_the_past_are_seen_and_counted_nowhere() -> None:
    cameras = Cameras()
    cameras.note(frame_shown(1, at_ms=NOW_MS - MINUTE), NOW_MS)
    (told,) = cameras.told(NOW_MS)
    assert told["seen"] == [(NOW_MS - MINUTE, NOW_MS - MINUTE)]
    assert (told["outcomes"], told["fps"]) == ({}, 0)


def test_a_camera_says_since_when_no_frame_was_complete() -> None:
    cameras = Cameras()

    def told() -> tuple[object, object]:
        (one,) = cameras.told(NOW_MS)
        return one["not_complete_ms"], one["last_outcome"]

    said = []
    for ago_s, outcome in ((50, "complete"), (40, "expired"), (30, "partial"), (20, "complete")):
        cameras.event(frame_shown(at_ms=NOW_MS - ago_s * SECOND, outcome=outcome), NOW_MS)
        said.append(told())
    since = NOW_MS - 40 * SECOND
    assert said == [(None, "complete"), (since, "expired"), (since, "partial"), (None, "complete")]


def test_a_blind_camera_says_why_while_it_is_blind() -> None:
    camera = Camera("gate")
    said = [camera.why()]
    camera.note(camera_shown("offline", NOW_MS - 9000, reason="refused"), NOW_MS)
    said.append(camera.why())
    camera.note(camera_shown("online", NOW_MS), NOW_MS)
    assert [*said, camera.why()] == [None, "refuses the connection", None]


def test_series_have_their_steps_and_forget_after_an_hour() -> None:
    series = Series()
    for second in range(20):
        series.add(frame_shown(second, at_ms=NOW_MS + second * SECOND, latency_ms=second), NOW_MS + second * SECOND)
    told = series.told(NOW_MS + 19 * SECOND, minutes=1)
    assert len(told["times_ms"]) == 12
    assert told["times_ms"][-1] == NOW_MS + 15 * SECOND
    assert told["frames"] == [0] * 8 + [5, 5, 5, 5]
    assert told["p50"] == [None] * 8 + [2, 7, 12, 17]
    assert told["p95"][-1] == 19
    hour = NOW_MS + HOUR_MS
    series.add(frame_shown(1, at_ms=hour, outcome="partial", objects=(("face", 1.0),)), hour)
    told = series.told(hour, minutes=60)
    assert len(told["frames"]) == 720
    assert (told["frames"][-1], told["objects"][-1], told["not_complete"][-1]) == (1, 1, 1)
    assert told["frames"][0:3] == [5, 5, 5]  # 5 s later than an hour ago


def test_an_event_from_before_the_hour_or_from_the_future_does_no_harm() -> None:
    series = Series()
    series.add(frame_shown(at_ms=NOW_MS), NOW_MS)
    series.add(frame_shown(at_ms=NOW_MS - 2 * HOUR_MS), NOW_MS)
    series.add(frame_shown(at_ms=NOW_MS + HOUR_MS), NOW_MS)  # a clock that is wrong: counted as now
    assert series.told(NOW_MS, minutes=1)["frames"][-1] == 2


def test_cameras_are_bounded_and_the_one_silent_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamproc.view.cameras.MAX_CAMERAS", 20)
    cameras = Cameras()
    for number in range(21):
        cameras.picture(picture(camera=f"c{number}"))
        cameras.event(frame_shown(camera=f"c{number}", at_ms=NOW_MS + number), NOW_MS)
    assert len(cameras) == 20
    assert cameras.get("c0") is None
    assert cameras.get("c20") is not None
