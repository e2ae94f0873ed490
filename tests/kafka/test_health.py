"""Probes of real processes while real things break: they tell the truth, soon, and come back."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamproc.broker import LocalCluster, ephemeral
from streamproc.broker.ports import choose_ports
from streamproc.provision import create_topics
from streamproc.settings import Settings, load_settings
from streamproc.topics import Topics
from tests.cli import Running, started
from tests.kafka.test_worker import HUNG, produce, worker
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

SOON_S = 40.0  # a bound for busy machines; two to ten seconds are usual


class Probed:
    """A process, and what its probes say."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)
        except OSError:
            return 0, {"status": "", "reasons": []}

    def becomes(self, code: int, *words: str, timeout_s: float = SOON_S) -> dict[str, Any]:
        """Wait until it is ready, or not, for a reason that says all the words."""
        last: tuple[int, dict[str, Any]] = (0, {})

        def so() -> bool:
            nonlocal last
            last = self.ask("/readyz")
            return last[0] == code and all(word in " ".join([last[1]["status"], *last[1]["reasons"]]) for word in words)

        try:
            wait_until(so, f"readyz {code} {words}", timeout_s=timeout_s)
        except AssertionError as late:
            raise AssertionError(f"{late}; it said {last}") from None
        return last[1]

    def counts(self, name: str) -> float:
        """A counter without labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0)

    @property
    def lives(self) -> bool:
        return self.ask("/healthz") == (200, {"status": "ok", "role": self.ask("/readyz")[1]["role"], "reasons": []})


@contextmanager
def process(settings: Settings, *command: str) -> Iterator[tuple[Probed, Running]]:
    port = choose_ports(0, 1)[0]
    known = {name: getattr(settings, name) for name in settings.model_fields_set}
    given = {f"STREAMPROC_{name.upper()}": str(value) for name, value in known.items()}
    with started(*command, "--metrics-port", str(port), cwd=None, **given) as running:
        yield Probed(port), running


def test_a_broker_that_goes_and_comes_makes_processes_unready_and_ready_again_and_kills_none() -> None:
    with ephemeral() as status:
        assert status.bootstrap is not None
        cluster, port = LocalCluster(status.folder), int(status.bootstrap.rpartition(":")[2])
        settings = load_settings(bootstrap=status.bootstrap, prefix="t.", partitions=2)
        create_topics(settings)
        with (
            process(settings, "worker") as (worker_probe, running),
            process(settings, "produce", "synthetic:128x96", "--camera", "gate", "--fps", "5") as (camera, producing),
        ):
            for probed in (worker_probe, camera):
                assert probed.becomes(200)["reasons"] == []
                assert probed.lives
            cluster.stop(graceful_s=0)
            for probed, role in ((worker_probe, "worker-all"), (camera, "produce")):
                told = probed.becomes(503, "no answer from the Kafka broker at", status.bootstrap)
                assert (told["status"], told["role"]) == ("failing", role)
                assert probed.lives, "nobody may kill it for that"
            cluster.start(port=port)
            for probed in (worker_probe, camera):
                assert probed.becomes(200)["status"] == "ok"
            running.check()
            producing.check()


def test_a_spare_worker_stands_by_and_takes_over(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=1)
    extract = ("worker", "--role", "extract")
    with process(settings, *extract) as (first, running), process(settings, *extract) as (second, other):
        wait_until(
            lambda: sorted(one.ask("/readyz")[1]["status"] for one in (first, second)) == ["ok", "standby"],
            "one works, one stands by",
            timeout_s=30,
        )
        spare, busy = (first, other) if first.ask("/readyz")[1]["status"] == "standby" else (second, running)
        told = spare.becomes(200, "holds no partition of group", Topics(settings.prefix).group)
        assert told["status"] == "standby"
        busy.send(signal.SIGTERM)
        assert spare.becomes(200, "ok")["reasons"] == []


def test_a_step_that_hangs_and_a_worker_that_drains_are_told(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    port = choose_ports(0, 1)[0]
    settings = topics_ready(stall_timeout_s=9, shutdown_s=3, metrics_port=port)
    quiet = settings.model_copy(update={"metrics_port": 0})
    produce(quiet, 4)
    probed = Probed(port)
    with worker(settings, HUNG, tmp_path / "worker.log") as hung:
        told = probed.becomes(503, "stalled: partition", Topics(settings.prefix).tiles)
        assert told["status"] == "failing"
        assert probed.lives, "it ends itself, later"
        hung.send_signal(signal.SIGTERM)
        assert probed.becomes(503, "told to stop")["status"] == "stopping"
        assert probed.lives
        assert hung.wait(timeout=10) == 70


def test_a_decoder_that_is_stopped_is_told(topics_ready: Callable[..., Settings]) -> None:
    settings = topics_ready(partitions=1)
    with process(settings, "worker", "--role", "extract") as (probed, running):
        probed.becomes(200)
        produce(settings, 1)
        children = psutil.Process(running.pid).children
        wait_until(lambda: probed.counts("streamproc_tiles_extracted_total") == 4, "all is decoded", timeout_s=60)
        (decoder,) = children()
        os.kill(decoder.pid, signal.SIGSTOP)
        probed.becomes(503, f"decoder process {decoder.pid} is stopped: kill -CONT {decoder.pid}")
        os.kill(decoder.pid, signal.SIGCONT)
        probed.becomes(200)
        os.kill(decoder.pid, signal.SIGKILL)
        running.check()
        probed.becomes(503, f"decoder process {decoder.pid} has died")
        produce(settings, 1)
        probed.becomes(200)
        running.check()


def test_ingest_and_sink_tell_what_they_wait_for(topics_ready: Callable[..., Settings], tmp_path: Path) -> None:
    settings = topics_ready(partitions=1)
    cameras = tmp_path / "cameras.toml"
    cameras.write_text('[[camera]]\nname = "gate"\nsource = "http://127.0.0.1:1/no"\n')
    redis = f"redis://127.0.0.1:{choose_ports(0, 1)[0]}/events"
    with (
        process(settings, "ingest", str(cameras)) as (ingest, running),
        process(settings, "sink", redis) as (sink, _),
    ):
        assert ingest.becomes(200)["role"] == "ingest", "a camera that is away is the camera's fault"
        assert sink.becomes(503, redis)["status"] == "failing"
        assert ingest.lives
        assert sink.lives
        running.send(signal.SIGTERM)
        done, _ = running.ended(timeout_s=20)
        assert done.code == 128 + signal.SIGTERM
