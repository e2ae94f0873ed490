"""A whole system on a real broker, each process with an exporter, and a real Prometheus that scrapes them."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producers.changed_only import ChangedOnly
from producers.publish import publish
from producers.sources import Source
from producers.sources.synthetic import synthetic_frame
from streamproc import __version__
from streamproc.broker.ports import choose_ports
from streamproc.exporter import Exporter
from streamproc.metrics import Metrics
from streamproc.model import Frame, Grid
from streamproc.provision import wait_for_group
from streamproc.publisher import Publisher
from streamproc.settings import Settings
from streamproc.topics import Topics
from tests.cameras.mjpeg import MjpegCamera
from tests.certificates import certificate
from tests.cli import Running, started
from tests.dashboards.asking import Prometheus, prometheus

PROCESSES = ("extract-1", "aggregate-1", "gate", "yard", "ingest", "sink", "archive", "replay", "rerun")
FPS = 6.0
PIPELINE = 'name = "edges"\n[[step]]\noperator = "canny"\nname = "edges"\n'


class Yard(Source):
    """Endless frames; all of each moves, or a corner of it."""

    name, fps = "yard", 25.0

    def __init__(self, *, moves: bool) -> None:
        self._moves = moves

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        still = synthetic_frame(0, width=320, height=192)
        for number in itertools.count():
            pixels = moving = synthetic_frame(number, width=320, height=192)
            if not self._moves:
                pixels = still.copy()
                pixels[:64, :64] = moving[:64, :64]
            yield Frame(pixels=pixels, captured_ns=time.time_ns())


@dataclass
class LiveSystem:
    """What runs.

    Attributes:
        ports: Of the exporters, by process.
        replayed: What `streamproc replay --json` has told, of each that has ended.
    """

    settings: Settings
    folder: Path
    ports: dict[str, int]
    asked: Prometheus
    begun_s: float
    camera: MjpegCamera
    door: MjpegCamera
    stop_producers: Callable[[], None]
    replayed: list[dict[str, Any]] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)

    def command(self, name: str, *arguments: str | Path) -> AbstractContextManager[Running]:
        """A command with its exporter, until the block is left."""
        return started(*arguments, "--metrics-port", str(self.ports[name]), cwd=None, **self.variables)

    @property
    def variables(self) -> dict[str, str]:
        """Settings of its processes."""
        return {"STREAMPROC_BOOTSTRAP": self.settings.bootstrap, "STREAMPROC_PREFIX": self.settings.prefix}

    def check(self) -> None:
        """Fail if a process that should run has ended."""
        for one in self.running:
            one.check()

    def replay(self, *, limit: int) -> None:
        """Send the first frames of the gate again, at the pace they had."""
        frames = ("--camera", "gate", "--limit", str(limit))
        with self.command("replay", "replay", *frames, "--json") as running:
            done, _ = running.ended(timeout_s=60 + limit / FPS)
        assert done.code == 0, done.err
        self.replayed.append(json.loads(done.out))

    @contextmanager
    def rerunning(self, name: str) -> Iterator[None]:
        """Run what there is of the gate through an own worker, and wait for its end."""
        what = ("--camera", "gate", "--workers", "1", "--pipeline", self.folder / "edges.toml")
        out = ("--out", self.folder / name, "--name", name)
        with self.command("rerun", "rerun", *what, *out, "--json") as running:
            yield
            done, _ = running.ended(timeout_s=120)
        assert done.code == 0, done.err

    def make_dark(self) -> None:
        """The live camera loses its power."""
        self.camera.kill()

    def make_light(self) -> None:
        """It is back, at the same port."""
        self.camera = MjpegCamera("chunked", fps=FPS, port=self.camera.port)

    def spoil(self) -> None:
        """Something writes a record into the topic of tiles that is no tile."""
        with Publisher(self.settings, client_id="stranger") as publisher:
            publisher.send(
                topic=Topics(self.settings.prefix).tiles, partition=0, key=b"x", value=b"not a tile", headers=[]
            )


@contextmanager
def live_system(settings: Settings, folder: Path) -> Iterator[LiveSystem]:
    """Start all of it; two cameras are published, one is ingested, a sink and an archive follow."""
    ports = dict(zip(PROCESSES, choose_ports(0, len(PROCESSES)), strict=True))
    (folder / "edges.toml").write_text(PIPELINE)
    certificate_file, _ = certificate(folder)
    with ExitStack() as stack:
        asked = stack.enter_context(prometheus(folder, ports))
        stop, threads = threading.Event(), list[threading.Thread]()

        door = MjpegCamera("chunked", fps=FPS)

        def stop_producers() -> None:
            stop.set()
            door.kill()
            for thread in threads:
                thread.join(30)

        system = LiveSystem(
            settings, folder, ports, asked, time.time(), MjpegCamera("chunked", fps=FPS), door, stop_producers
        )
        stack.callback(system.make_dark)
        stack.callback(stop_producers)
        pipeline = ("--pipeline", folder / "edges.toml")
        running = system.running
        running += [
            stack.enter_context(system.command("extract-1", "worker", "--role", "extract", *pipeline)),
            stack.enter_context(system.command("aggregate-1", "worker", "--role", "aggregate", *pipeline)),
        ]
        cameras = folder / "cameras.toml"
        urls = {"dock": system.camera.url, "door": door.url}
        cameras.write_text("".join(f'[[camera]]\nname = "{name}"\nsource = "{url}"\n' for name, url in urls.items()))
        archive = ("archive", "run", folder / "archive", "--rotate-s", "5")
        with_certificate = {**system.variables, "STREAMPROC_SECURITY_CA_FILE": str(certificate_file)}
        port = ("--metrics-port", str(ports["archive"]))
        running += [
            stack.enter_context(system.command("ingest", "ingest", cameras)),
            stack.enter_context(system.command("sink", "sink", f"jsonl:{folder / 'events.jsonl'}")),
            stack.enter_context(started(*archive, *port, cwd=None, **with_certificate)),
        ]
        wait_for_group(settings, members=2, timeout_s=90, check=system.check)
        for name, changed in (("gate", None), ("yard", ChangedOnly())):
            threads.append(_producing(system, name, changed, stop, stack))
        yield system
        system.check()


def _producing(
    system: LiveSystem, camera: str, changed: ChangedOnly | None, stop: threading.Event, stack: ExitStack
) -> threading.Thread:
    """A producer of this process: its exporter stays when its frames end, so that the last count is scraped."""
    metrics = Metrics()
    metrics.build_info.labels(__version__).set(1)
    exporter = Exporter(metrics, host="127.0.0.1", port=system.ports[camera])
    stack.callback(exporter.close)

    def produce() -> None:
        with Yard(moves=changed is None) as source:
            publish(
                source,
                system.settings,
                camera=camera,
                partitions=system.settings.partitions,
                grid=Grid(2, 2),
                fps=FPS,
                pipeline_halo=2,
                changed=changed,
                metrics=metrics,
                stop=stop,
            )

    thread = threading.Thread(target=produce, name=f"produce {camera}", daemon=True)
    thread.start()
    return thread
