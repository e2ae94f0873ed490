"""A pipeline of real processes, a real Prometheus with the rules, and what a test does to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from dashboards.prometheus import Timing
from dashboards.rules import text
from streamproc.broker.ports import choose_ports
from streamproc.settings import Settings, child_environment
from tests.dashboards.asking import READY_S, Prometheus
from tests.waiting import wait_until

TIMING = Timing(interval_s=2, settle_s=15, balance_s=150, scale=1 / 120, storm=4, within_s=10.0, behind_s=8, few=20)
"""The shipped rules, with windows of seconds: an hour is half a minute; late is ten seconds, for busy machines."""

# Two tiles a second, however many wait.
SLOW = """
import sys, time
from streamproc.agents.extract import Extractor
sound = Extractor._handle
def slow(self, batch, message):
    time.sleep(0.5)
    return sound(self, batch, message)
Extractor._handle = slow
from streamproc.__main__ import main
main()
"""

# Two camera events are kept, not ten thousand.
FORGETFUL = """
import functools
import producers.ingest as ingest
ingest.Outbox = functools.partial(ingest.Outbox, most=2)
from streamproc.__main__ import main
main()
"""
SOUND = "from streamproc.__main__ import main\nmain()\n"


@dataclass
class Crew:
    """Processes by name, each with an exporter at a port of its own that stays the same over restarts."""

    folder: Path
    ports: dict[str, int]
    _commands: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, settings: Settings, *arguments: str | Path, program: str = SOUND, **more: str) -> None:
        """Start `streamproc ARGUMENTS`, or something like it."""
        variables = {f"STREAMPROC_{one.upper()}": str(getattr(settings, one)) for one in settings.model_fields_set}
        command = [sys.executable, "-c", program, *map(str, arguments), "--metrics-port", str(self.ports[name])]
        self._commands[name] = command, {**variables, **more}
        self._spawn(name)

    def _spawn(self, name: str) -> None:
        command, variables = self._commands[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=child_environment(variables)
            )

    def restart(self, name: str, *, program: str = SOUND) -> None:
        """End it in good order, and start it anew, as another program if need be."""
        self.stop(name)
        self.again(name, program=program)

    def stop(self, name: str) -> None:
        """End it in good order."""
        self.send(name, signal.SIGTERM)
        self._running.pop(name).wait(60)

    def again(self, name: str, *, program: str = SOUND) -> None:
        """Start what has ended."""
        self._commands[name][0][2] = program
        self._spawn(name)

    def send(self, name: str, number: signal.Signals) -> None:
        """A signal to a process."""
        os.kill(self._running[name].pid, number)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self._running.pop(name)
        process.kill()
        process.wait(10)

    def check(self) -> None:
        """Fail if one has ended by itself."""
        for name, process in self._running.items():
            assert process.poll() is None, f"{name}: {self.log(name)}"

    def log(self, name: str) -> str:
        """The last of what it wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]

    def end(self) -> None:
        """Kill them all."""
        for name in list(self._running):
            with suppress(ProcessLookupError):
                self.send(name, signal.SIGCONT)
            self.kill(name)


class Target:
    """A webhook that answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(target.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class Alerts:
    """What a Prometheus has told."""

    def __init__(self, asked: Prometheus) -> None:
        self._asked = asked

    def names(self, *, since_s: float, state: str = "firing") -> set[str]:
        """Alerts that were in a state at some time since then; those of a role as `name/role`."""
        found = self._asked.range(
            f'ALERTS{{alertstate=~"{state}"}}', start_s=since_s, end_s=time.time(), step_s=TIMING.interval_s
        )
        return {"/".join(filter(None, (one.labels["alertname"], one.labels.get("role")))) for one in found}

    def summaries(self, name: str) -> set[str]:
        """What an alert that fires now says, each of its instances; fails if a text was not filled in."""
        found = [one for one in self._asked.ask("alerts")["alerts"] if one["state"] == "firing"]
        assert not [one for one in found if "<" in json.dumps(one["annotations"])], "<no value>, or <error>"
        return {one["annotations"]["summary"] for one in found if one["labels"]["alertname"] == name}

    def wait_for(self, *names: str, since_s: float, timeout_s: float) -> None:
        """Until each has fired since then."""
        wait_until(
            lambda: set(names) <= self.names(since_s=since_s),
            f"{', '.join(names)} fire",
            timeout_s=timeout_s,
        )

    def value(self, expr: str) -> float:
        """The one value of a query now; 0 if it has none."""
        return self._asked.value(expr) or 0.0


def watch(folder: Path, ports: Mapping[str, int]) -> None:
    """Have processes scraped from now on, in the place of others."""
    targets = [{"targets": [f"127.0.0.1:{number}"], "labels": {"instance": name}} for name, number in ports.items()]
    (folder / "targets.new").write_text(json.dumps(targets))
    (folder / "targets.new").replace(folder / "targets.json")


@contextmanager
def prometheus_with_rules(folder: Path, ports: Mapping[str, int]) -> Iterator[Alerts]:
    """Debian's Prometheus with the rules."""
    binary = shutil.which("prometheus")
    assert binary is not None
    (port,) = choose_ports(0, 1)
    (folder / "streamproc.rules.yml").write_text(text(TIMING))
    watch(folder, ports)
    every = f"{TIMING.interval_s}s"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": ["streamproc.rules.yml"],
        "scrape_configs": [{"job_name": "streamproc", "file_sd_configs": [{"files": ["targets.json"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, *options, f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            running = Prometheus(f"http://127.0.0.1:{port}")
            wait_until(running.is_ready, "Prometheus is ready", timeout_s=READY_S)
            yield Alerts(running)
        finally:
            process.terminate()
            process.wait(10)


def empty(settings: Settings, topic: str) -> None:
    """Delete all records of a topic, as its retention would."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    ends = [TopicPartition(topic, number, -1) for number in range(settings.partitions)]  # -1: up to the last
    for future in admin.delete_records(ends).values():
        future.result(10)


def limit_records(settings: Settings, topic: str, size_bytes: int) -> None:
    """Let a topic take no larger records."""
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    entry = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([change]).values():
        future.result(10)


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[Path | None]:
    """A disk of its own, of memory; None where that may not be had (it needs root)."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def cameras_file(file: Path, *cameras: Mapping[str, object]) -> None:
    """Write a list of cameras."""
    entries = [
        "[[camera]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in camera.items())
        for camera in cameras
    ]
    file.with_suffix(".new").write_text("\n".join(entries))
    file.with_suffix(".new").replace(file)
