"""One worker on a real broker when something inside it breaks: it ends with a clear word, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from producers.pacing import Fps
from producers.publish import publish
from producers.sources import Source, open_source
from streamproc.broker.ports import choose_ports
from streamproc.demo import EventLog
from streamproc.model import Codec, Frame, Grid
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.provision import wait_for_group
from streamproc.reader import TopicReader
from streamproc.settings import Settings, child_environment
from streamproc.supervise import Workers, WorkerSpec
from streamproc.topics import Topics
from tests.cli import Running, started
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

HUNG = """
import sys, time
from streamproc.agents.extract import Extractor
Extractor.__call__ = lambda self, batch: time.sleep(600)
from streamproc.__main__ import main
sys.argv = ["streamproc", "worker", "--role", "extract"]
main()
"""

# The tile in the corner waits: its partition lags behind the others by more than a frame's deadline.
UNEVEN = """
import sys, time
from streamproc.agents.extract import Extractor
sound = Extractor.__call__
def late(self, batch):
    if any(event.message.partition == 7 for event in batch.events):
        time.sleep(5)
    return sound(self, batch)
Extractor.__call__ = late
from streamproc.__main__ import main
sys.argv = ["streamproc", "worker", "--role", "all", "--threads", "4"]
main()
"""

# Ten tiles a second, however many wait.
SLOW = """
import sys, time
from streamproc.agents.extract import Extractor
sound = Extractor._handle
def slow(self, batch, message):
    time.sleep(0.1)
    return sound(self, batch, message)
Extractor._handle = slow
from streamproc.__main__ import main
sys.argv = ["streamproc", "worker", "--role", "extract"]
main()
"""

FRAGILE = r"""
import sys
import streamproc.decoding.decoder as decoder
CHILD = '''
import os, ctypes
import streamproc.decoding.child as child
sound = child.decode_picture
def decode_picture(payload, codec, shape):
    pixels = sound(payload, codec, shape)
    if pixels[0, 0].max() == 7: os.abort()
    if pixels[0, 0].max() == 8: ctypes.CDLL(None).sleep(600)
    return pixels
child.decode_picture = decode_picture
child.main()
'''
decoder.COMMAND = (sys.executable, "-c", CHILD)
from streamproc.__main__ import main
sys.argv = ["streamproc", "worker", "--role", "all"]
main()
"""


@contextmanager
def worker(settings: Settings, program: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with something broken into it."""
    with log.open("wb") as output, _process(settings, program, output) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=10)


def _process(settings: Settings, program: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
    variables = {f"STREAMPROC_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set}
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=output, stderr=output, env=child_environment(variables)
    )


def produce(
    settings: Settings, frames: int, *, fps: Fps = "max", source: str = "synthetic:128x96", codec: Codec = "png"
) -> None:
    """Publish some frames of four tiles."""
    with open_source(source, settings) as opened:
        report = publish(
            opened,
            settings,
            camera="gate",
            run="run-1",
            codec=codec,
            grid=Grid(2, 2),
            fps=fps,
            limit=frames,
            pipeline_halo=default_pipeline().halo,
            partitions=settings.partitions,
        )
    assert report.frames_published == frames


def committed(settings: Settings, topic: str) -> int:
    """Sum of the group's committed offsets of a topic."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    group = Topics(settings.prefix).group
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    request = [ConsumerGroupTopicPartitions(group, partitions)]
    found = admin.list_consumer_group_offsets(request)[group].result(timeout=10)
    return sum(max(0, partition.offset) for partition in found.topic_partitions or [])


def test_a_worker_that_makes_no_progress_ends_and_says_so(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(stall_timeout_s=5, shutdown_s=3)
    log = tmp_path / "worker.log"
    produce(settings, 4)
    with worker(settings, HUNG, log) as process:
        assert process.wait(timeout=60) == 70  # the thread that hangs cannot be ended otherwise
    text = log.read_text()
    assert "made no progress for 5 s although" in text
    assert Topics(settings.prefix).tiles in text
    assert committed(settings, Topics(settings.prefix).tiles) == 0
    with Workers(settings, [WorkerSpec()], folder=tmp_path), EventLog(settings, camera="gate", run="run-1") as events:
        assert events.wait_for(4, timeout_s=60)
    assert set(events.seen.values()) == {1}


class Poisoned(Source):
    """Black frames; one has a tile that kills the decoder, one a tile that hangs it."""

    name = "poisoned"
    length = 30

    def describe(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Frame]:
        for number in range(30):
            pixels = np.zeros((96, 128), np.uint8)
            pixels[0, 0] = {10: 7, 20: 8}.get(number, 0)
            yield Frame(pixels=pixels, captured_ns=time.time_ns())


def test_tiles_that_crash_or_hang_the_decoder_cost_their_frames_alone(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(decode_timeout_s=2)
    with worker(settings, FRAGILE, tmp_path / "worker.log") as process:
        wait_for_group(settings, members=1, timeout_s=60, check=lambda: None)
        with EventLog(settings, camera="gate", run="run-1") as log:
            publish(
                Poisoned(),
                settings,
                camera="gate",
                run="run-1",
                codec="png",
                grid=Grid(2, 2),
                fps="max",
                pipeline_halo=default_pipeline().halo,
                partitions=settings.partitions,
            )
            assert log.wait_for(30, timeout_s=90)
        assert process.poll() is None
    outcomes = {event["data"]["sequence"]: event["data"]["outcome"] for event in log.events()}
    assert {sequence for sequence, outcome in outcomes.items() if outcome != "complete"} == {10, 20}
    with TopicReader(settings, Topics(settings.prefix).deadletters) as reader:
        letters = list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))
    assert Counter(dict(letter.headers)["dl_detail"].decode() for letter in letters) == {
        "png: not decoded within 2 s": 4,  # the halo of the built-in pipeline shows that pixel to all four tiles
        "png: the decoder died of it, 2 times (signal SIGABRT)": 4,
    }


def test_no_frame_expires_while_its_tiles_lie_in_a_backlog(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(frame_deadline_s=1)
    with (
        worker(settings, UNEVEN, tmp_path / "worker.log"),
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        wait_for_group(settings, members=1, timeout_s=60, check=lambda: None)
        produce(settings, 24)
        assert log.wait_for(24, timeout_s=90)
    outcomes = [event["data"]["outcome"] for event in log.events()]
    assert outcomes == ["complete"] * 24
    waits = [event["data"]["latency_ms"]["gather"] + event["data"]["latency_ms"]["wait"] for event in log.events()]
    assert max(waits) > 3000, "there was a backlog longer than the deadline"


def test_a_frozen_worker_that_comes_back_doubles_no_event(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    """A zombie: SIGSTOP past the session timeout in the middle of emitting, while another takes over, then SIGCONT."""
    settings = topics_ready(session_timeout_s=6)
    with (
        Workers(settings, [WorkerSpec(), WorkerSpec()], folder=tmp_path) as workers,
        EventLog(settings, camera="gate", run="run-1") as log,
    ):
        wait_for_group(settings, members=2, timeout_s=60, check=workers.check)
        producer = threading.Thread(target=produce, args=(settings, 400), kwargs={"fps": 20})
        producer.start()
        for number in (0, 1):
            wait_until(lambda: len(log.seen) > 40 * (1 + number), "events flow", timeout_s=60)  # noqa: B023
            os.kill(workers.pids[number], signal.SIGSTOP)
            time.sleep(8)
            os.kill(workers.pids[number], signal.SIGCONT)
        producer.join(timeout=120)
        assert log.wait_for(400, timeout_s=120)
        time.sleep(2)  # a second event for a frame would come now
        workers.check()
    assert set(log.seen.values()) == {1}
    assert [event["data"]["outcome"] for event in log.events()] == ["complete"] * 400
    assert [event["data"]["sequence"] for event in log.events()] == list(range(400))


def test_a_slow_worker_lets_its_backlog_lie_on_the_broker(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    """400 MB of raw tiles wait for a worker that does ten a second: its memory stays where it was."""
    settings = topics_ready(buffer_bytes=2**23)
    with worker(settings, SLOW, tmp_path / "worker.log") as process:
        wait_for_group(settings, members=1, timeout_s=60, check=lambda: None)
        before = psutil.Process(process.pid).memory_info().rss
        produce(settings, 160, source="synthetic:1024x800", codec="raw")
        most = 0
        for _ in range(40):
            time.sleep(0.25)
            most = max(most, psutil.Process(process.pid).memory_info().rss)
        assert process.poll() is None
    assert most - before < 150 * 2**20, f"{(most - before) / 2**20:.0f} MiB"


def test_a_worker_that_cannot_drain_is_ended_in_time_without_committing(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(shutdown_s=3)
    log = tmp_path / "worker.log"
    produce(settings, 4)
    with worker(settings, HUNG, log) as process:
        wait_for_group(settings, members=1, timeout_s=60, check=lambda: None)
        time.sleep(1)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 70
        assert time.monotonic() - started < 10
    assert "did not stop in time" in log.read_text()
    assert committed(settings, Topics(settings.prefix).tiles) == 0


def test_a_stopped_worker_has_committed_all_it_did_and_left_its_group(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready()
    group = Topics(settings.prefix).group
    produce(settings, 20)
    with Workers(settings, [WorkerSpec()], folder=tmp_path), EventLog(settings, camera="gate", run="run-1") as events:
        assert events.wait_for(20, timeout_s=60)
        time.sleep(settings.commit_interval_s / 2)
    assert committed(settings, Topics(settings.prefix).tiles) == 80
    assert committed(settings, Topics(settings.prefix).features) == 80
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    found = admin.describe_consumer_groups([group])[group].result(timeout=10)
    assert found.members == []


def test_a_named_worker_comes_back_to_its_partitions_without_a_rebalance(
    topics_ready: Callable[..., Settings],
) -> None:
    settings = topics_ready(session_timeout_s=30)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    group = Topics(settings.prefix).group

    def members() -> dict[str | None, str]:
        found = admin.describe_consumer_groups([group])[group].result(timeout=10)
        return {member.group_instance_id: member.member_id for member in found.members}

    def rebalances() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return float(
            next(line for line in text.splitlines() if line.startswith("streamproc_rebalances_total")).split()[1]
        )

    port = choose_ports(0, 1)[0]
    with _named(settings, "gate-2", "--metrics-port", str(port)) as other:
        with _named(settings, "gate-1") as first:
            wait_for_group(settings, members=2, timeout_s=60, check=other.check)
            _let_settle(rebalances)
            first.check()
        assert set(members()) == {"gate-1", "gate-2"}, "a named worker keeps its place while it is away"
        before, member = rebalances(), members()["gate-1"]
        with _named(settings, "gate-1") as back:
            wait_until(lambda: members()["gate-1"] != member, "the named worker is back", timeout_s=30)
            with EventLog(settings, camera="gate", run="run-1") as events:
                produce(settings, 8)
                assert events.wait_for(8, timeout_s=60)
            back.check()
        assert rebalances() == before


@contextmanager
def _named(settings: Settings, name: str, *options: str) -> Iterator[Running]:
    """A worker with a name in its group; it is told to end when the block is left."""
    with started(
        *("worker", "--bootstrap", settings.bootstrap, *options),
        STREAMPROC_PREFIX=settings.prefix,
        STREAMPROC_SESSION_TIMEOUT_S=str(settings.session_timeout_s),
        STREAMPROC_INSTANCE_ID=name,
    ) as running:
        yield running
        running.send(signal.SIGTERM)
        running.ended(timeout_s=30)


def _let_settle(count: Callable[[], float]) -> None:
    """Wait until no rebalance came for three seconds."""
    known, since_s = count(), time.monotonic()
    while time.monotonic() - since_s < 3:
        time.sleep(0.2)
        if (now := count()) != known:
            known, since_s = now, time.monotonic()
