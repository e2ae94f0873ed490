"""Many cameras at once, and whether every frame is accounted for: `python -m tests.producers.many_cameras`.

    --cameras 16 --minutes 10 --fps 5 --workers 2 [--rtsp] [--pipeline FILE] [--folder DIR]

Fake cameras of 640x480 in processes of their own (MJPEG over HTTP; with `--rtsp` H.264 from GStreamer's RTSP server), a
local broker, `streamproc worker` processes and one `streamproc ingest`. At the end the cameras go away, all settles,
and the sums are printed: what was read was published, dropped or failed, and what was published has one event. Ends
with 0 if all is accounted for, else with 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import psutil

from producers.sources.builtin import BuiltinSource
from streamproc import cloudevents
from streamproc.broker import ephemeral
from streamproc.ledger import Ledger, read_ledger
from streamproc.model import FrameEvent, FrameKey
from streamproc.provision import create_topics, wait_for_group
from streamproc.reader import TopicReader
from streamproc.settings import Settings, load_settings
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics
from tests.cameras import rtsp
from tests.cameras.mjpeg import BOUNDARY, MjpegCamera
from tests.cli import Running, started

WIDTH, HEIGHT = 640, 480
_PICTURES = 50  # different ones, in turns
_EVERY_PICTURE = 5  # of the film they are of
_QUALITY = 90
_ONLINE_S = 60.0
_STILL_S = 60.0  # without a new event, then no more is waited for
_TELL_S = 30.0

_STARTED_S = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - _STARTED_S:7.1f} s  {line}", file=sys.stderr, flush=True)


# --- cameras ---------------------------------------------------------------------------------------------------------


class PhotoCamera(MjpegCamera):
    """Sends pictures that were encoded before, so that the camera itself costs next to nothing."""

    def __init__(self, parts: list[bytes], *, fps: float) -> None:
        self._parts = parts
        super().__init__(fps=fps, frames=10**9)

    def _part(self, number: int, _behaviour: str) -> bytes:
        return self._parts[number % len(self._parts)]


def photographs() -> list[bytes]:
    """Parts of a multipart answer, each with one picture."""
    film, parts = BuiltinSource(), []
    for number in range(_PICTURES):
        pixels = cv2.resize(film.frame(number * _EVERY_PICTURE), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        assert done
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg.tobytes() + b"\r\n")
    return parts


def serve(count: int, fps: float) -> None:
    """The child process: cameras until standard input ends; prints their addresses, one line of JSON."""
    parts = photographs()
    with ExitStack() as running:
        cameras = [
            running.enter_context(PhotoCamera(parts[number % _PICTURES :] + parts[: number % _PICTURES], fps=fps))
            for number in range(count)
        ]
        print(json.dumps([camera.url for camera in cameras]), flush=True)
        sys.stdin.read()


@dataclass(frozen=True)
class Cameras:
    """Fake cameras that run: their addresses, their processes, and how to switch them off."""

    urls: list[str]
    pids: list[int]
    switch_off: Callable[[], None]


@contextmanager
def cameras_over_http(count: int, fps: float) -> Iterator[Cameras]:
    """All in one child process."""
    command = [
        sys.executable,
        "-m",
        "tests.producers.many_cameras",
        "--serve",
        "--cameras",
        str(count),
        "--fps",
        str(fps),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield Cameras(json.loads(child.stdout.readline()), [child.pid], child.kill)
        finally:
            child.kill()


@contextmanager
def cameras_over_rtsp(count: int, fps: float) -> Iterator[Cameras]:
    """A process each."""
    with ExitStack() as running:
        before = {child.pid for child in psutil.Process().children()}
        servers = [
            running.enter_context(rtsp.RtspServer("--fps", str(round(fps)), "--size", f"{WIDTH}x{HEIGHT}"))
            for _ in range(count)
        ]
        pids = [child.pid for child in psutil.Process().children() if child.pid not in before]
        urls = [f"rtsp://127.0.0.1:{server.port}/camera" for server in servers]
        yield Cameras(urls, pids, running.close)


# --- what is measured ------------------------------------------------------------------------------------------------


def cpu_s(pids: list[int]) -> float:
    """Processor time so far of processes and their children, seconds."""
    used = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            used += times.user + times.system
    return used


def frame_events(settings: Settings) -> list[FrameEvent]:
    """The event of each frame, in the order of the log."""
    with TopicReader(settings, Topics(settings.prefix).events) as reader:
        records = list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))
    return [cloudevents.decode_frame_event(one.value) for one in records if cloudevents.event_key(one.headers)]


def judge(report: Mapping[str, Any], ledger: Ledger, told: Counter[FrameKey]) -> list[str]:
    """What is not accounted for, one line each; none if all is.

    Args:
        report: What `streamproc ingest --json` says.
        ledger: Of each frame that was read.
        told: How many events each frame has.
    """
    wrong = []
    read = report["frames_read"]
    ends = report["frames_published"] + report["frames_dropped"] + report["frames_failed"]
    counts = ledger.counts()
    acked = {key for key, frame in ledger.frames.items() if frame.status == "acked"}
    maybe = {key for key, frame in ledger.frames.items() if frame.status == "unknown"}
    if read == 0:
        wrong.append("no frame was read")
    if read != ends:
        wrong.append(f"{read} frames were read, {ends} were published, dropped or failed")
    if sum(counts.values()) != read:
        wrong.append(f"{read} frames were read, the ledger tells of {sum(counts.values())}")
    if counts["acked"] != report["frames_published"]:
        wrong.append(f"{report['frames_published']} frames were published, the ledger tells of {counts['acked']}")
    if silent := acked - told.keys():
        wrong.append(f"{len(silent)} published frames have no event, {min(silent)} is one")
    if twice := [key for key, times in told.items() if times > 1]:
        wrong.append(f"{len(twice)} frames have more than one event, {min(twice)} is one")
    if strange := told.keys() - acked - maybe:
        wrong.append(f"{len(strange)} events tell of frames that were not published, {min(strange)} is one")
    return wrong


def wait_for(true: Callable[[], bool], what: str, *, timeout_s: float, check: Callable[[], None]) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not true():
        check()
        if time.monotonic() > deadline_s:
            say(f"not within {timeout_s:g} s: {what}")
            return
        time.sleep(0.5)


class Run:
    """One measurement: all processes from here on, until the figures are there."""

    def __init__(self, given: argparse.Namespace, settings: Settings, folder: Path) -> None:
        self._given, self._settings, self._folder = given, settings, folder
        self._ledger = folder / "ledger"

    def figures(self, cameras: Cameras, workers: Workers, broker: list[int]) -> dict[str, Any]:
        """Run the cameras for their time."""
        file = self._folder / "cameras.toml"
        entries = [{"name": f"camera-{number:02}", "source": url} for number, url in enumerate(cameras.urls)]
        file.write_bytes(msgspec.toml.encode({"camera": entries}))
        where: dict[str, Any] = {
            "STREAMPROC_BOOTSTRAP": self._settings.bootstrap,
            "STREAMPROC_PREFIX": self._settings.prefix,
        }
        with started("ingest", file, "--ledger", self._ledger, "--json", **where) as ingest:

            def check() -> None:
                ingest.check()
                workers.check()

            wait_for(self._all_give, "a frame of each camera", timeout_s=_ONLINE_S, check=check)
            say(f"{len(cameras.urls)} cameras are online")
            groups = {"ingest": [ingest.pid], "workers": workers.pids, "broker": broker, "cameras": cameras.pids}
            began_s, before = time.monotonic(), {name: cpu_s(pids) for name, pids in groups.items()}
            self._pass_time(check)
            seconds = time.monotonic() - began_s
            used = {name: round(100 * (cpu_s(pids) - before[name]) / seconds, 1) for name, pids in groups.items()}
            cameras.switch_off()
            say("the cameras are switched off")
            report = self._end(ingest)
            self._settle(report, check=workers.check)
        return {"seconds": round(seconds, 1), "CPU, % of a core": used, **self._sums(report)}

    def _all_give(self) -> bool:
        if not self._ledger.exists():
            return False
        wanted: int = self._given.cameras
        return len({key.camera for key in read_ledger(self._ledger).frames}) == wanted

    def _pass_time(self, check: Callable[[], None]) -> None:
        until_s = time.monotonic() + 60 * self._given.minutes
        tell_s = time.monotonic() + _TELL_S
        while (left_s := until_s - time.monotonic()) > 0:
            check()
            if time.monotonic() > tell_s:
                tell_s += _TELL_S
                say(f"{left_s:.0f} s to go")
            time.sleep(min(1.0, left_s))

    def _end(self, ingest: Running) -> dict[str, Any]:
        time.sleep(2)  # what the cameras sent last is read
        ingest.interrupt()
        done, _ = ingest.ended(timeout_s=60)
        say(f"ingest has ended with {done.code}")
        found: dict[str, Any] = json.loads(done.out)
        return found

    def _settle(self, report: Mapping[str, Any], *, check: Callable[[], None]) -> None:
        """Wait for an event of each published frame, as long as more events come."""
        published, before, moved_s = report["frames_published"], -1, time.monotonic()
        wanted = published + report["events_acked"]
        while (records := self._event_records()) < wanted or len(frame_events(self._settings)) < published:
            check()
            if records != before:
                before, moved_s = records, time.monotonic()
            elif time.monotonic() - moved_s > _STILL_S:
                say(f"no event came for {_STILL_S:g} s")
                return
            time.sleep(0.5)
        say("all has settled")

    def _event_records(self) -> int:
        with TopicReader(self._settings, Topics(self._settings.prefix).events) as reader:
            return sum(reader.bounds(number)[1] for number in reader.partitions())

    def _sums(self, report: Mapping[str, Any]) -> dict[str, Any]:
        events = frame_events(self._settings)
        took_ms = [(event.emitted_ns - event.captured_ns) / 1e6 for event in events]
        p50, p95 = (round(float(np.percentile(took_ms, share)), 1) for share in (50, 95)) if took_ms else (None, None)
        names = ("frames_read", "frames_published", "frames_dropped", "frames_failed", "frames_unknown", "events_acked")
        return {
            **{name: report[name] for name in names},
            "frames/s": round(report["frames_read"] / report["seconds"], 1),
            "MB published": round(report["bytes"] / 1e6, 1),
            "events by outcome": dict(Counter(event.outcome for event in events)),
            "capture to event, ms": {"p50": p50, "p95": p95},
            "wrong": judge(report, read_ledger(self._ledger), Counter(event.key for event in events)),
        }


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start everything, and stop it again."""
    kind = cameras_over_rtsp if given.rtsp else cameras_over_http
    specs = [WorkerSpec(pipeline=given.pipeline)] * given.workers
    with ephemeral(progress=say) as cluster, kind(given.cameras, given.fps) as cameras:
        settings = load_settings(bootstrap=cluster.bootstrap, prefix="many-cameras.")
        create_topics(settings)
        with Workers(settings, specs, folder=folder) as workers:
            wait_for_group(settings, members=given.workers, timeout_s=_ONLINE_S, check=workers.check)
            say(f"{given.workers} workers are ready")
            return Run(given, settings, folder).figures(cameras, workers, [node.pid for node in cluster.nodes])


def main(arguments: list[str]) -> int:
    """0 if all is accounted for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rtsp", action="store_true", help="H.264 over RTSP; needs GStreamer's RTSP server")
    parser.add_argument("--pipeline", type=Path, help="pipeline file; default: the built-in")
    parser.add_argument("--folder", type=Path, help="for the list, the ledger and the workers' logs; kept")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        serve(given.cameras, given.fps)
        return 0
    if given.rtsp and rtsp.missing():
        parser.error(rtsp.missing())
    with tempfile.TemporaryDirectory(prefix="streamproc-many-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = measure(given, folder)
    print(json.dumps(figures, indent=2))
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
