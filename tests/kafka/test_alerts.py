"""Each alert is made to fire by a real fault, and all are silent while a pipeline runs in health."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import pytest
from msgspec.structs import replace

from dashboards.alerts import alerts as made
from producers.sources.synthetic import synthetic_frame
from streamproc.broker.ports import choose_ports
from streamproc.model import TileHeader
from streamproc.provision import create_topics, wait_for_group
from streamproc.publisher import Publisher
from streamproc.reader import TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics
from streamproc.wire import read_tile_header, tile_headers
from tests.cameras.mjpeg import MjpegCamera
from tests.certificates import certificate
from tests.kafka.alerting import (
    FORGETFUL,
    SLOW,
    SOUND,
    TIMING,
    Alerts,
    Crew,
    Target,
    cameras_file,
    empty,
    limit_records,
    prometheus_with_rules,
    small_disk,
    watch,
)
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

HEALTH_S = 12.0
PROCESSES = ("extract", "aggregate", "ingest", "sink", "archive")
FPS = 5.0
UP = 'streamproc_camera_up{camera="gate"}'
START = 'process_start_time_seconds{instance="extract"}'
ON_DISK = {"StreamprocDiskFilling", "StreamprocDiskFull"}
DISK_BYTES = 4 * 2**20


class Pipeline:
    """What runs, and what can be done to it."""

    def __init__(self, settings: Settings, other: Settings, folder: Path, stack: ExitStack) -> None:
        self.settings, self.other, self.folder = settings, other, folder
        self.names = Topics(settings.prefix)
        self.crew = Crew(folder, dict(zip((*PROCESSES, "faulty"), choose_ports(0, len(PROCESSES) + 1), strict=True)))
        self.camera = MjpegCamera("chunked", fps=FPS)
        self.target = Target()
        self.disk = stack.enter_context(small_disk(folder / "disk", size_bytes=DISK_BYTES))
        self.cameras, self.authority = folder / "cameras.toml", folder / "certificate.pem"
        stack.callback(self.darken)
        stack.callback(self.target.close)
        stack.callback(self.crew.end)

    def start(self) -> None:
        """All processes of a pipeline in health."""
        crew, settings = self.crew, self.settings
        certificate(self.folder, days=400)
        crew.start("extract", settings, "worker", "--role", "extract")
        crew.start("aggregate", settings, "worker", "--role", "aggregate")
        wait_for_group(settings, members=2, timeout_s=90, check=crew.check)
        refused = (self.disk or self.folder) / "refused.jsonl"
        crew.start("sink", settings, "sink", self.target.url, "--refused", refused)
        crew.start(
            "archive",
            settings,
            *("archive", "run", self.folder / "archive", "--rotate-s", "5"),
            STREAMPROC_SECURITY_CA_FILE=str(self.authority),
        )
        cameras_file(self.cameras, self.gate)
        crew.start("ingest", settings, "ingest", self.cameras)

    @property
    def gate(self) -> dict[str, object]:
        """The camera that is there from the beginning."""
        return {"name": "gate", "source": self.camera.url, "grid": "1x1", "codec": "raw"}

    def darken(self) -> None:
        """The camera's power fails."""
        self.camera.kill()

    def blink(self, told: Alerts) -> None:
        """The camera's power fails for a moment."""
        port = self.camera.port
        self.darken()
        wait_until(lambda: told.value(UP) == 0, "the camera is lost", timeout_s=30)
        self.camera = MjpegCamera("chunked", fps=FPS, port=port)
        wait_until(lambda: told.value(UP) == 1, "the camera is back", timeout_s=30)

    def lose_a_run(self, alerts: Alerts) -> None:
        """A short run is published while nobody extracts, and its tiles are deleted before anybody does."""
        pictures = self.folder / "tail"
        pictures.mkdir()
        for number in range(12):
            assert cv2.imwrite(str(pictures / f"{number:02}.png"), synthetic_frame(number, width=96, height=64))
        self.crew.stop("extract")
        self.crew.send("archive", signal.SIGSTOP)
        tail = {"name": "tail", "source": str(pictures), "grid": "1x1", "fps": 50.0}
        cameras_file(self.cameras, self.gate, tail)
        published = 'sum(streamproc_frames_published_total{camera="tail"})'
        wait_until(lambda: alerts.value(published) == 12, "twelve frames are published", timeout_s=60)
        empty(self.settings, self.names.tiles)
        self.crew.send("archive", signal.SIGCONT)
        self.crew.again("extract")

    def a_tile(self) -> TileHeader:
        """The header of one that was published."""
        with TopicReader(self.settings, self.names.tiles) as reader:
            ranges = {number: reader.bounds(number) for number in reader.partitions()}
            return read_tile_header(next(iter(reader.read(ranges))).headers)

    def send_strangers(self, tile: TileHeader) -> None:
        """A record that is no tile, and a tile whose pixels are noise."""
        header = replace(tile, run="noise", sequence=0, first=0)
        with Publisher(self.settings, client_id="stranger") as publisher:
            publisher.send(topic=self.names.tiles, partition=0, key=b"x", value=b"not a tile", headers=[])
            publisher.send(topic=self.names.tiles, partition=0, key=b"x", value=b"noise", headers=tile_headers(header))

    def start_faulty(self) -> None:
        """Cameras whose frames and events are too large for the topics, one of them too fast as well."""
        create_topics(self.other)
        names, file = Topics(self.other.prefix), self.folder / "faulty.toml"
        limit_records(self.other, names.tiles, 600)
        limit_records(self.other, names.events, 100)
        flood = {"source": "synthetic:1280x960", "fps": "max", "codec": "png", "drop": "drop-newest"}
        cameras_file(file, self.dock, {"name": "flood", **flood})
        self.crew.start("faulty", self.other, "ingest", file, program=FORGETFUL)

    def end_flood(self) -> None:
        """The camera that is too fast is taken away: it takes a processor for itself."""
        cameras_file(self.folder / "faulty.toml", self.dock)

    @property
    def dock(self) -> dict[str, object]:
        """The same camera, for the other topics."""
        return {"name": "dock", "source": self.camera.url, "grid": "1x1"}

    def fill_disk(self) -> None:
        """Bit by bit, in a dozen seconds."""
        assert self.disk is not None
        with (self.disk / "rest").open("wb", buffering=0) as file:
            file.write(bytes(DISK_BYTES // 2))
            for _ in range(12):
                file.write(bytes(DISK_BYTES * 48 // 100 // 12))
                time.sleep(1)


@pytest.fixture
def pipeline(
    topics_ready: Callable[..., Settings], new_settings: Callable[..., Settings], tmp_path: Path
) -> Iterator[Pipeline]:
    small = {
        "buffer_bytes": 2**20,
        "batch_tiles": 4,
        "window_batches": 1,
    }  # what is held here is read, and lags no more
    settings = topics_ready(partitions=4, frame_deadline_s=2, session_timeout_s=20, **small)
    other = new_settings(partitions=2, producer_queue_bytes=2**20)
    with ExitStack() as stack:
        made = Pipeline(settings, other, tmp_path, stack)
        made.start()
        yield made


@pytest.mark.alone
def test_each_alert_fires_by_a_real_fault_and_none_in_health(pipeline: Pipeline, tmp_path: Path) -> None:
    crew = pipeline.crew
    wait_until(lambda: "gate is online" in crew.log("ingest"), "the camera is there", timeout_s=90)
    with prometheus_with_rules(tmp_path, {name: crew.ports[name] for name in PROCESSES}) as told:
        wait_until(lambda: told.value('sum(streamproc_frames_total{outcome="complete"})') > 0, "events", timeout_s=60)
        steady_s = time.time() + 4 * TIMING.interval_s
        wait_until(lambda: time.time() > steady_s + HEALTH_S, "time goes by", timeout_s=2 * HEALTH_S)
        crew.check()
        assert told.names(since_s=steady_s, state="firing|pending") == set()
        faults_s = time.time()
        try:
            break_everything(pipeline, told, since_s=faults_s)
        finally:
            fired = told.names(since_s=faults_s)
            print(sorted(fired))
    known = {
        "/".join(filter(None, (one.name, one.labels.get("role")))) for group in made(TIMING).values() for one in group
    }
    assert fired == known - (ON_DISK if pipeline.disk is None else set())


def break_everything(pipeline: Pipeline, told: Alerts, *, since_s: float) -> None:
    """One fault after another, as many at once as go together."""
    crew = pipeline.crew

    def fires(*names: str, timeout_s: float = 60) -> None:
        told.wait_for(*names, since_s=since_s, timeout_s=timeout_s)
        print(f"{time.time() - since_s:5.1f} s", *names)

    if pipeline.disk is not None:
        threading.Thread(target=pipeline.fill_disk, daemon=True).start()
    pipeline.target.status = 503
    certificate(pipeline.folder, days=2)
    pipeline.start_faulty()
    watch(pipeline.folder, crew.ports)
    tile = pipeline.a_tile()
    pipeline.lose_a_run(told)
    pipeline.send_strangers(tile)
    fires("StreamprocSinkRetrying", "StreamprocCertificateEndsSoon", "StreamprocCertificateEnds")
    pipeline.target.status = 400
    fires("StreamprocDeadLetters", "StreamprocFramesIncomplete", "StreamprocArchiveMissing")
    fires("StreamprocFramesFailed", "StreamprocFramesDropped", "StreamprocNothingPublished", "StreamprocBufferFull")
    pipeline.end_flood()
    for _ in range(3):
        pipeline.blink(told)
    fires("StreamprocCameraUnstable", "StreamprocCameraEventsLost")
    fires("StreamprocFramesLost", "StreamprocSinkRefused", timeout_s=120)
    for program in (SOUND, SOUND, SLOW):
        start = told.value(START)
        crew.restart("extract", program=program)
        wait_until(lambda: told.value(START) > start, "it was scraped anew", timeout_s=60)  # noqa: B023 - asked in turn
    fires("StreamprocRestarts", "StreamprocRebalances", timeout_s=120)
    fires("StreamprocLagGrowing", "StreamprocLatencyBurnFast", "StreamprocLagNearRetention")
    fires("StreamprocLatencyBurnSlow")
    pipeline.darken()
    blind = 'ALERTS{alertname="StreamprocCameraDown", alertstate="firing", camera="gate"}'
    wait_until(lambda: told.value(blind) == 1, "the camera is told to be blind", timeout_s=30)
    assert told.summaries("StreamprocCameraDown") >= {"camera gate is blind"}
    for name in ("extract", "aggregate"):
        crew.kill(name)
    fires("StreamprocNoWorkers/extract", "StreamprocNoWorkers/aggregate", "StreamprocTargetDown")
    crew.check()  # the archive lives, and reads what nobody works on
    watch(pipeline.folder, {name: port for name, port in crew.ports.items() if name != "ingest"})
    crew.kill("ingest")
    fires("StreamprocIngestGone")
    if pipeline.disk is not None:
        fires(*sorted(ON_DISK))
