"""All cameras of a list together: one that dies does not touch the others, and the list may change meanwhile."""

from __future__ import annotations

import itertools
import json
import resource
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from producers.cameras_file import CameraSpec, read_cameras, signature
from producers.ingest import CameraReport, Ingest, IngestReport
from producers.ingest_camera import Thinning
from producers.ingest_crew import Crew
from producers.ingest_events import Outbox
from producers.ingest_run import Counts, Outlet
from producers.sources import open_source
from producers.sources.source import Source
from streamproc.cli.ingest import ingest
from streamproc.cloudevents import CameraEvent, emitted, encode_camera_event
from streamproc.ledger import LedgerWriter, read_ledger
from streamproc.metrics import Metrics
from streamproc.model import FrameKey
from streamproc.publisher import LastingPublisher
from tests.cameras.mjpeg import MjpegCamera
from tests.producers.many_cameras import judge
from tests.producers.staged import SECRET, SETTINGS, Stage, StagedBroker, Theatre, spec
from tests.test_publisher import mortal
from tests.waiting import wait_until


def states(theatre: Theatre) -> dict[str, str]:
    return {one.camera: one.state for one in theatre.ingest.reports()}


def published(theatre: Theatre, camera: str) -> int:
    return sum(len(numbers) for numbers in theatre.broker.frames(camera).values())


def all_online(theatre: Theatre, *names: str) -> None:
    wait_until(lambda: all(states(theatre).get(name) == "online" for name in names), "online", timeout_s=10)


def test_a_camera_that_dies_and_returns_is_told_and_the_others_never_feel_it(tmp_path: Path) -> None:
    stages = {name: Stage() for name in "abcd"}
    with Theatre(tmp_path / "cameras.toml", stages, gap_s=0.5) as theatre:
        all_online(theatre, *"abcd")
        stages["b"].mode = "ended"
        wait_until(lambda: states(theatre)["b"] == "offline", "b is offline", timeout_s=5)
        others = {name: published(theatre, name) for name in "acd"}
        assert theatre.figure("camera_up", camera="b") == 0
        stages["b"].mode = "alive"
        wait_until(lambda: states(theatre)["b"] == "online", "b is back", timeout_s=5)
        assert theatre.figure("camera_up", camera="b") == 1
        for name, before in others.items():
            assert published(theatre, name) >= before + 10, "50 frames a second went on for at least 1 s"
    assert theatre.broker.story("b") == ["online", "offline ended", "online", "gap", "offline stopped"]
    (gap,) = [event for event in theatre.broker.events("b") if event["what"] == "gap"]
    assert 1 <= gap["data"]["length_s"] < 5
    assert theatre.broker.story("a") == ["online", "offline stopped"]
    (run,) = theatre.broker.frames("b")
    assert run == gap["run"], "the same pictures as before: the run goes on"
    assert theatre.figure("camera_reconnects_total", camera="b") == 1
    assert theatre.figure("camera_lost_total", camera="b", reason="ended") == 1
    report = theatre.ended
    assert report.problem is None
    assert report.total.balanced
    assert report.events_lost == 0
    assert all(one.counts.balanced and one.state == "ended" for one in report.cameras)


def test_frozen_stalled_hanging_and_broken_cameras_are_told_with_their_reason(tmp_path: Path) -> None:
    stages = {name: Stage() for name in ("frozen", "stalled", "hangs", "broken")}
    keys: dict[str, Any] = {"frozen_s": 1.0, "read_timeout_s": 0.5, "open_timeout_s": 0.5}
    with Theatre(tmp_path / "cameras.toml", stages, **keys) as theatre:
        all_online(theatre, *stages)
        for name, stage in stages.items():
            stage.mode = name
        wait_until(lambda: "online" not in states(theatre).values(), "all are offline", timeout_s=5)
        wait_until(lambda: stages["frozen"].opened >= 2, "the frozen one is opened anew", timeout_s=5)
        time.sleep(0.2)
        assert states(theatre)["frozen"] != "online", "its picture is still the same"
        for stage in stages.values():
            stage.mode = "alive"
        all_online(theatre, *stages)
    told = {name: theatre.broker.story(name)[1] for name in stages}
    assert told == {
        "frozen": "offline frozen",
        "stalled": "offline stalled",
        "hangs": "offline stalled",
        "broken": "offline failed",
    }
    assert SECRET not in f"{theatre.notices} {theatre.broker.events()} {theatre.ended}"


def test_a_real_camera_whose_power_is_cut_is_noticed_and_seen_again_within_5_s(tmp_path: Path) -> None:
    with Theatre(tmp_path / "cameras.toml", {"staged": Stage()}) as theatre, MjpegCamera() as camera:
        theatre.write({"staged": {}, "real": {"source": camera.url, "codec": "jpeg"}})
        all_online(theatre, "real")
        camera.kill()
        wait_until(lambda: states(theatre)["real"] == "offline", "its loss is noticed", timeout_s=5)
        with MjpegCamera(port=camera.port):
            wait_until(lambda: states(theatre)["real"] == "online", "it is seen again", timeout_s=5)
        wait_until(lambda: states(theatre)["real"] == "offline", "its second loss is noticed", timeout_s=5)
    story = theatre.broker.story("real")
    assert story[0] == story[2] == "online"
    assert story[1].startswith("offline ")
    assert theatre.ended.total.balanced


def test_pictures_of_another_size_begin_a_new_run(tmp_path: Path) -> None:
    stages = {"a": Stage()}
    with Theatre(tmp_path / "cameras.toml", stages) as theatre:
        all_online(theatre, "a")
        stages["a"].size = (192, 128)
        wait_until(lambda: len(theatre.broker.frames("a")) == 2, "a second run", timeout_s=5)
    assert all(numbers == list(range(len(numbers))) for numbers in theatre.broker.frames("a").values())


def test_a_folder_of_pictures_is_read_once_and_masked(tmp_path: Path) -> None:
    for number, size in enumerate(((32, 64), (64, 96), (32, 64))):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((*size, 3), 200, np.uint8))
    stages = {"staged": Stage()}
    with Theatre(tmp_path / "cameras.toml", stages) as theatre:
        mask = [{"polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}]
        theatre.write({"staged": {}, "folder": {"source": str(tmp_path), "mask": mask, "drop": "block"}})
        wait_until(lambda: states(theatre).get("folder") == "ended", "the folder is read", timeout_s=10)
        all_online(theatre, "staged")
        wait_until(lambda: theatre.figure("camera_up", camera="folder") is None, "neither up nor down", timeout_s=5)
    assert theatre.broker.story("folder") == ["online", "offline finished"]
    assert theatre.figure("camera_up", camera="staged") is not None
    ((run, numbers),) = theatre.broker.frames("folder").items()
    assert (run[:5], numbers) == ("file-", [0, 1, 2])
    tiles = [one for one in theatre.broker.records if one.topic.endswith("tiles") and one.header.camera == "folder"]
    for tile in tiles:
        assert set(tile.value) == ({0} if tile.header.col == 0 else {0, 200})


def test_a_camera_that_stays_lost_is_told_again_with_the_same_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producers.ingest_camera.REMIND_S", 0.3)
    stages = {"a": Stage(), "b": Stage()}
    with Theatre(tmp_path / "cameras.toml", stages) as theatre:
        all_online(theatre, "a", "b")
        stages["b"].mode = "ended"
        wait_until(lambda: theatre.broker.story("b").count("offline ended") >= 3, "reminders", timeout_s=10)
        stages["b"].mode = "alive"
        wait_until(lambda: states(theatre)["b"] == "online", "b is back", timeout_s=10)
        told = theatre.broker.story("b").count("offline ended")
        time.sleep(1)
        assert theatre.broker.story("b").count("offline ended") == told
    offline = [event for event in theatre.broker.events("b") if event["what"] == "offline"]
    assert len({event["at_ns"] for event in offline}) == 2  # lost, and stopped at the end
    assert theatre.broker.story("a") == ["online", "offline stopped"]


def test_a_folder_in_play_is_up_and_its_last_frame_is_of_now(tmp_path: Path) -> None:
    for number in range(60):
        assert cv2.imwrite(str(tmp_path / f"{number:02}.png"), np.full((32, 64, 3), number, np.uint8))
    with Theatre(tmp_path / "cameras.toml", {"staged": Stage()}) as theatre:
        began_s = time.time()
        theatre.write({"staged": {}, "folder": {"source": str(tmp_path), "fps": 10}})
        wait_until(lambda: published(theatre, "folder") >= 5, "it plays", timeout_s=10)
        seen_s = theatre.figure("camera_last_frame_timestamp_seconds", camera="folder")
        assert seen_s is not None
        assert began_s <= seen_s <= time.time()
        assert theatre.figure("camera_up", camera="folder") == 1


def test_a_list_that_changes_while_ingest_starts_is_taken(tmp_path: Path) -> None:
    stages = {"a": Stage(), "b": Stage()}
    theatre = Theatre(tmp_path / "cameras.toml", {"a": stages["a"]})
    theatre.stages["b"] = stages["b"]
    seen, cameras = signature(theatre.file), theatre.read(theatre.file)
    theatre.write({"a": {}, "b": {}})
    theatre.ingest = Ingest(
        theatre.file, cameras, seen=seen, read=theatre.read, outlet=theatre.outlet, open_camera=theatre.open
    )
    with theatre:
        all_online(theatre, "a", "b")
    assert stages["a"].opened == 1


def test_the_command_looks_at_the_file_before_it_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text("[[camera]]\nname = 'a'\nsource = 'builtin'\n")
    before, given = signature(file), {}

    def read_and_change(path: Path, *, variable: Any) -> dict[str, CameraSpec]:
        found = read_cameras(path, variable=variable)
        file.write_text("[[camera]]\nname = 'another'\nsource = 'builtin'\n")
        return found

    monkeypatch.setattr("producers.cameras_file.read_cameras", read_and_change)
    monkeypatch.setattr("streamproc.cli.ingest._run", lambda *_args, **named: given.update(named))
    ingest(file)
    assert given["seen"] == before != signature(file)


def test_the_list_may_change_without_touching_other_cameras(tmp_path: Path) -> None:
    stages = {name: Stage() for name in "abcd"}
    with Theatre(tmp_path / "cameras.toml", stages) as theatre:
        all_online(theatre, *"abcd")
        theatre.write({"a": {}, "b": {"fps": 5}, "c": {"enabled": False}})
        wait_until(lambda: "gone" not in states(theatre) and len(theatre.broker.frames("b")) == 2, "b", timeout_s=8)
        wait_until(lambda: [states(theatre)[name] for name in "cd"] == ["ended"] * 2, "c and d left", timeout_s=5)
        assert theatre.figure("camera_up", camera="d") is None
        theatre.write({name: {} for name in "abcd"})
        all_online(theatre, *"abcd")
    assert (stages["a"].opened, stages["b"].opened, stages["c"].opened) == (1, 3, 2)
    assert len(theatre.broker.frames("a")) == 1
    assert theatre.broker.story("d") == ["online", "offline removed", "online", "offline stopped"]
    assert any("removed c, d; changed b" in line for line in theatre.notices)
    assert theatre.ended.total.balanced
    (report,) = [one for one in theatre.ended.cameras if one.camera == "d"]
    assert report.counts.runs == 2


def test_a_broken_new_list_is_refused_with_a_word_and_the_old_one_goes_on(tmp_path: Path) -> None:
    stages = {"a": Stage()}
    with Theatre(tmp_path / "cameras.toml", stages) as theatre:
        all_online(theatre, "a")
        for text, words in (
            ("", "names no camera"),
            ("[[camera]]\nname = 'a'\nsource = 'x'\nfsp = 3\n", "'a': fsp"),
            ("[[", "no TOML"),
        ):
            theatre.write_text(text)
            wait_until(lambda words=words: any(words in line for line in theatre.notices), words, timeout_s=5)  # type: ignore[misc] # bound now
        assert states(theatre) == {"a": "online"}
    assert stages["a"].opened == 1


def test_thinning_sends_as_many_as_are_wanted_and_counts_the_rest(tmp_path: Path) -> None:
    stages = {"a": Stage()}
    with Theatre(tmp_path / "cameras.toml", stages, fps=10) as theatre:
        wait_until(lambda: stages["a"].given >= 100, "100 frames", timeout_s=10)
    counts = theatre.ended.total
    assert counts.balanced
    assert 0.1 < counts.frames_published / counts.frames_read < 0.35
    assert theatre.figure("frames_dropped_total", camera="a", reason="fps") == counts.frames_dropped


@pytest.mark.parametrize(("given", "wanted"), [(25, 5), (30, 30), (25, 10), (5, 10), (1000, 7)])
def test_thinned_frames_come_evenly(given: int, wanted: int) -> None:
    thinning = Thinning(float(wanted))
    sent = [number / given for number in range(20 * given) if thinning.wants(number / given)]
    assert len(sent) == pytest.approx(20 * min(given, wanted), rel=0.02)
    assert max(b - a for a, b in itertools.pairwise(sent)) < 1.5 / min(given, wanted) + 1 / given


def test_events_are_kept_while_the_broker_takes_none_and_sent_again_with_the_same_id() -> None:
    broker, metrics = StagedBroker(away=True, fails=True), Metrics()
    outbox = Outbox(broker, prefix="t-", partitions=4, metrics=metrics, most=5)
    for number in range(3):
        outbox.put(CameraEvent(camera="a", run="r", sequence=number, at_ns=number, what="gap"))
    outbox.send()
    broker.report()
    assert (outbox.pending, outbox.acked) == (3, 0)
    broker.fails = broker.away = False
    outbox.send()
    assert (outbox.pending, outbox.acked, outbox.lost) == (0, 3, 0)
    broker.away = broker.fails = True
    for number in range(9):
        outbox.put(CameraEvent(camera="a", run="r", sequence=number, at_ns=number, what="gap"))
    assert (outbox.pending, outbox.lost) == (5, 4)
    assert outbox.give_up() == 5
    assert metrics.registry.get_sample_value("streamproc_camera_events_lost_total") == 9


def test_a_fatal_error_of_the_producer_ends_no_camera_and_all_is_counted(tmp_path: Path) -> None:
    """What happened before: each frame from then on failed, for ever."""
    stages, mortals = {"a": Stage(), "b": Stage()}, [mortal(40), mortal(10**6)]
    publisher = LastingPublisher(iter(mortals).__next__, notice=lambda _: None, stop=threading.Event()).start()
    with Theatre(tmp_path / "cameras.toml", stages, sender=publisher) as theatre:
        wait_until(lambda: mortals[1].acked > 40, "the second one is in use", timeout_s=10)
    publisher.close(timeout_s=0)
    report = theatre.ended
    assert report.problem is None
    assert report.total.balanced
    assert 0 < report.total.frames_failed <= 4
    assert sum(one.acked for one in mortals) == report.total.tiles_acked + report.events_acked
    assert all(one.reason == "stopped" and one.counts.runs <= 2 for one in report.cameras)


def test_the_same_event_has_the_same_id_and_tells_of_no_frame() -> None:
    event = CameraEvent(camera="a", run="r", sequence=3, at_ns=10**18, what="online", data={"again": True})
    headers, value = encode_camera_event(event)
    assert (headers, value) == encode_camera_event(event)
    assert emitted(headers) is None
    others: list[dict[str, Any]] = [{"at_ns": 1}, {"what": "offline"}, {"sequence": 4}, {"run": "s"}, {"camera": "b"}]
    made = [encode_camera_event(msgspec.structs.replace(event, **other))[0] for other in others]
    assert len({dict(one)["ce_id"] for one in (headers, *made)}) == 6


def test_200_dead_cameras_take_less_than_5_percent_of_a_core(tmp_path: Path) -> None:
    with socket.socket() as dead:  # bound and not listening: connections are refused at once
        dead.bind(("127.0.0.1", 0))
        source = f"http://127.0.0.1:{dead.getsockname()[1]}/stream.mjpg"
        cameras = {f"dead-{number}": spec(f"dead-{number}", source=source) for number in range(200)}
        file = tmp_path / "cameras.toml"
        file.touch()
        outlet = Outlet(
            settings=SETTINGS,
            sender=StagedBroker(),
            metrics=Metrics(),
            partitions=4,
            crew=Crew(2),
            notice=lambda _line: None,
        )
        tries = 0

        def open_camera(wanted: CameraSpec, /) -> Source:
            nonlocal tries
            tries += 1
            return open_source(wanted.source, SETTINGS)

        used: list[tuple[float, float]] = []

        def on_tick(_reports: object) -> None:
            own = resource.getrusage(resource.RUSAGE_SELF)
            used.append((time.monotonic(), own.ru_utime + own.ru_stime))
            if used[-1][0] - used[0][0] > 12:
                outlet.stop.set()

        report = Ingest(
            file, cameras, seen=signature(file), read=lambda _: cameras, outlet=outlet, open_camera=open_camera
        ).run(on_tick=on_tick)
    assert {one.reason for one in report.cameras} <= {"refused", "stopped"}
    assert tries > 600, "all are tried again and again"
    assert threading.active_count() < 100, "their threads have ended"
    shares = []  # over 5 s each: what else runs on a machine makes the same work dearer for a while
    for begun_s, begun_cpu_s in used:
        later = [(at_s - begun_s, cpu_s - begun_cpu_s) for at_s, cpu_s in used if at_s - begun_s > 5]
        if begun_s - used[0][0] > 2 and later:
            shares.append(later[0][1] / later[0][0])
    assert min(shares) < 0.05, f"{100 * min(shares):.1f} % of a core"


def test_the_figures_of_many_cameras_tell_of_each_frame_that_is_not_accounted_for(tmp_path: Path) -> None:
    with Theatre(tmp_path / "cameras.toml", {"a": Stage()}, ledger=LedgerWriter(tmp_path / "ledger")) as theatre:
        wait_until(lambda: published(theatre, "a") > 5, "frames", timeout_s=5)
    report, ledger = theatre.ended.as_json(), read_ledger(tmp_path / "ledger")
    told = Counter(ledger.frames.keys())
    first, strange = min(told), FrameKey("a", "another", 0)
    assert judge(report, ledger, told) == []
    assert judge(report, ledger, told - Counter([first])) == [f"1 published frames have no event, {first} is one"]
    assert judge(report, ledger, told + Counter([first])) == [f"1 frames have more than one event, {first} is one"]
    assert judge(report, ledger, told + Counter([strange])) == [
        f"1 events tell of frames that were not published, {strange} is one"
    ]
    assert len(judge({**report, "frames_read": report["frames_read"] + 1}, ledger, told)) == 2
    assert judge({**report, "frames_dropped": 1, "frames_published": report["frames_published"] - 1}, ledger, told)


@pytest.mark.parametrize("as_json", [True, False])
def test_what_happens_to_cameras_is_told_on_stderr_with_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text("[[camera]]\nname = 'gate'\nsource = 'http://ann:pw@127.0.0.1:1/x'\n")

    def run(self: Ingest, *, on_tick: Any) -> IngestReport:
        on_tick([])  # the loop turns; no table is drawn
        self._outlet.notice("camera gate is offline (unauthorized): check the password")
        return IngestReport(cameras=(), events_acked=1, events_lost=0, seconds=1.0)

    monkeypatch.setattr(Ingest, "run", run)
    monkeypatch.setattr("streamproc.provision.require_topics", lambda _settings: 4)
    monkeypatch.setattr("streamproc.publisher.LastingPublisher", lambda *_args, **_named: mortal(1))
    ingest(file, as_json=as_json)
    out, told = capsys.readouterr()
    assert told.splitlines() == [
        f"{file}: 1 camera; Ctrl-C ends",
        "camera gate is offline (unauthorized): check the password",
    ]
    assert (json.loads(out)["events_acked"] == 1) if as_json else out.startswith("0 of 0 frames of 0 cameras")


def test_one_of_a_kind_is_counted_in_the_singular() -> None:
    counts = Counts(frames_read=1, frames_published=1, tiles_acked=1, bytes=10**6)
    camera = CameraReport(camera="a", state="ended", reason=None, fps=None, reconnects=0, events=1, counts=counts)
    report = IngestReport(cameras=(camera,), events_acked=1, events_lost=0, seconds=1.0)
    assert report.summary() == "1 of 1 frame of 1 camera published: 1 tile, 1.0 MB in 1.0 s; 1 camera event"
