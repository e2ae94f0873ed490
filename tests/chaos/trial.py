"""One system under test: topics of its own, cameras, workers, an eye on its events, and a verdict from outside."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from streamproc import cloudevents
from streamproc.errors import StreamprocError
from streamproc.provision import create_topics
from streamproc.reader import TopicReader
from streamproc.settings import Settings, child_environment, load_settings
from streamproc.topics import Topics, camera_partition
from tests.chaos.cameras import Camera
from tests.chaos.cluster import Cluster
from tests.chaos.fleet import ROOT, Fleet, Member
from tests.chaos.judge import Verdict

JUDGE_S = 300.0
LONG_OUTAGE_S = 120.0  # frames wait so long for their tiles
WAIT_S = 180.0
_LOOK_S = 0.05


@dataclass(slots=True)
class Tail:
    """Follows the events topic on a thread of its own, through outages too; a context manager.

    Attributes:
        times: (captured, emitted) of each frame's first event by camera, ns since 1970, in log order.
    """

    settings: Settings
    times: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    _next: dict[int, int] = field(default_factory=dict)
    _seen: set[Any] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._next = dict.fromkeys(range(self.settings.partitions), 0)
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(10)

    def count(self, camera: str) -> int:
        """Frames of a camera that were told of."""
        return len(self.times.get(camera, ()))

    def first_after(self, camera: str, at_ns: int) -> int | None:
        """When the first event of a frame captured after `at_ns` was emitted, ns since 1970."""
        times = self.times.get(camera, [])
        return next((emitted for captured, emitted in times[self._index(times, at_ns) :] if captured > at_ns), None)

    @staticmethod
    def _index(times: Sequence[tuple[int, int]], at_ns: int) -> int:
        """Somewhere before the first frame captured after `at_ns`: looked for from the end."""
        index = len(times)
        while index and times[index - 1][0] > at_ns:
            index -= 1
        return index

    def _run(self) -> None:
        topic = Topics(self.settings.prefix).events
        while not self._over.is_set():
            with contextlib.suppress(StreamprocError), TopicReader(self.settings, topic) as reader:
                for record in reader.follow(self._next, stop=self._over.is_set):
                    if record is not None:
                        self._note(record)
            self._over.wait(0.5)

    def _note(self, record: Any) -> None:
        self._next[record.partition] = record.offset + 1
        key = cloudevents.event_key(record.headers)
        if key is not None and key not in self._seen:
            self._seen.add(key)
            event = cloudevents.decode_frame_event(record.value)
            self.times.setdefault(key.camera, []).append((event.captured_ns, event.emitted_ns))


@dataclass(slots=True, kw_only=True)
class Trial:
    """What a test holds in its hands.

    Attributes:
        settings: Of cameras and the judge, who talk to the brokers themselves.
        folder: Of everything that is kept if the verdict is red.
    """

    cluster: Cluster
    settings: Settings
    folder: Path
    fleet: Fleet
    tail: Tail
    cameras: list[Camera]
    damaged: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)

    def wait_for(self, true: Callable[[], bool], what: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait for a fact.

        Raises:
            AssertionError: Not in time, or a worker could not be kept alive.
        """
        deadline_s = time.monotonic() + timeout_s
        while not true():
            self.fleet.check()
            for camera in self.cameras:
                assert camera.problem is None, f"camera {camera.name}: {camera.problem}"
            assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}; see {self.folder}"
            time.sleep(_LOOK_S)

    def wait_for_deaths(self, count: int, *, timeout_s: float) -> None:
        """Wait until so many workers have ended by themselves, whether they could be started again or not."""
        deadline_s = time.monotonic() + timeout_s
        while len(self.fleet.deaths) < count:
            assert time.monotonic() < deadline_s, f"no worker ended within {timeout_s:g} s; see {self.folder}"
            time.sleep(_LOOK_S)

    def flows(self, at_ns: int) -> bool:
        """Whether each camera that is on has an event of a frame captured after `at_ns`."""
        return all(camera.done or self.tail.first_after(camera.name, at_ns) for camera in self.cameras)

    def wait_for_flow(self, what: str, *, timeout_s: float = WAIT_S) -> float:
        """Wait until all cameras flow again; returns how long it took, s."""
        at_ns = time.time_ns()
        self.wait_for(lambda: self.flows(at_ns), f"events of all cameras after {what}", timeout_s=timeout_s)
        return (time.time_ns() - at_ns) / 1e9

    def wait_until_steady(self, what: str, *, timeout_s: float = WAIT_S) -> None:
        """Wait until all workers have joined and all cameras flow."""
        self.wait_for(self.fleet.all_joined, f"all workers joined after {what}", timeout_s=timeout_s)
        self.wait_for_flow(what, timeout_s=timeout_s)

    def wait_for_events(self, *, timeout_s: float = WAIT_S) -> None:
        """Wait until each frame sent by cameras that are done has an event."""
        for camera in self.cameras:
            camera.join(timeout_s=timeout_s)
        self.wait_for(
            lambda: all(self.tail.count(camera.name) >= camera.sent for camera in self.cameras),
            "an event of each frame",
            timeout_s=timeout_s,
        )

    def settle(self, *, timeout_s: float, quiet_s: float) -> None:
        """Wait for an event of each frame, or until nothing has come for `quiet_s`: for trials that must fail."""
        deadline_s = time.monotonic() + timeout_s
        last, since_s = -1, time.monotonic()
        while time.monotonic() < deadline_s and time.monotonic() - since_s < quiet_s:
            count = sum(self.tail.count(camera.name) for camera in self.cameras)
            if count != last:
                last, since_s = count, time.monotonic()
            if all(camera.done and self.tail.count(camera.name) >= camera.sent for camera in self.cameras):
                return
            time.sleep(_LOOK_S)

    def verdict(self) -> Verdict:
        """Let a process of its own read the log and judge."""
        command = ["-m", "tests.chaos.judge", "--bootstrap", self.cluster.bootstrap, "--prefix", self.settings.prefix]
        command += [word for frame in self.damaged for word in ("--damaged", frame)]
        command += [word for reason in self.letters for word in ("--letter", reason)]
        done = self._ask(*command)
        assert done.returncode in (0, 1), done.stderr.decode(errors="replace")[-2000:]
        (self.folder / "verdict.json").write_bytes(done.stdout)
        verdict = msgspec.json.decode(done.stdout, type=Verdict)
        if verdict.faults:
            self.cluster.keep_logs(self.folder / "brokers")
        return verdict

    def verify(self) -> str:
        """What `streamproc verify` finds wrong, the pixels in the log included; nothing if all is well."""
        done = self._ask("-m", "streamproc", "verify", "--json")
        (self.folder / "verify.json").write_bytes(done.stdout)
        if done.returncode == 0:
            return ""
        return (done.stderr or done.stdout).decode(errors="replace")[-2000:]

    def _ask(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program on all ledgers."""
        own = {"STREAMPROC_BOOTSTRAP": self.cluster.bootstrap, "STREAMPROC_PREFIX": self.settings.prefix}
        return subprocess.run(
            [sys.executable, *words, *(str(camera.ledger) for camera in self.cameras)],
            cwd=ROOT,
            env=child_environment({**own, "PYTHONPATH": str(ROOT)}),
            capture_output=True,
            timeout=JUDGE_S,
            check=False,
        )

    def require_all_well(self) -> Verdict:
        """Judge; fail with what is wrong and where the artefacts are."""
        self.fleet.check()
        verdict = self.verdict()
        assert not verdict.faults, f"{verdict}; artefacts: {self.folder}"
        wrong = self.verify()
        assert not wrong, f"streamproc verify: {wrong}; artefacts: {self.folder}"
        return verdict


@contextmanager
def trial(
    cluster: Cluster,
    folder: Path,
    members: Sequence[Member],
    cameras: Sequence[str] = ("gate",),
    *,
    frames: int,
    fps: float,
    through_proxy: bool = False,
    camera: Callable[[str], dict[str, Any]] = lambda _name: {},
    **options: Any,
) -> Iterator[Trial]:
    """Topics, workers that start, cameras that publish.

    Args:
        cluster: Where.
        folder: For ledgers, logs and verdicts.
        members: The fleet; None of its settings means those of `options`.
        cameras: Their names.
        frames: Of each camera.
        fps: Of each camera; 0 is as fast as possible.
        through_proxy: Workers and cameras are clients behind the proxies.
        camera: More about a camera, by its name.
        **options: Settings.
    """
    prefix = f"{folder.name}-{time.time_ns() % 10**9}."
    options = {"prefix": prefix, "session_timeout_s": 6, "frame_deadline_s": LONG_OUTAGE_S, **options}
    settings = load_settings(bootstrap=cluster.bootstrap, **options)
    theirs = settings.model_copy(update={"bootstrap": cluster.proxied}) if through_proxy else settings
    create_topics(settings)
    publishing = [Camera(name, theirs, folder, frames, fps, **camera(name)) for name in cameras]
    with ExitStack() as stack:
        tail = stack.enter_context(Tail(settings))
        fleet = stack.enter_context(Fleet(theirs, list(members), folder))
        for one in publishing:
            stack.enter_context(one)
        yield Trial(cluster=cluster, settings=settings, folder=folder, fleet=fleet, tail=tail, cameras=publishing)


def one_camera_for_each_partition(settings_partitions: int = 8) -> list[str]:
    """Names of cameras whose events stand in different partitions, one for each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < settings_partitions:
        name = f"cam{number}"
        found.setdefault(camera_partition(name, settings_partitions), name)
        number += 1
    return [found[partition] for partition in sorted(found)]
