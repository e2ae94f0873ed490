"""A worker that logs JSON, through its whole life: every line on its stderr is one object, and holds no secret."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamproc.broker import LocalCluster, ephemeral
from streamproc.provision import create_topics, wait_for_group
from streamproc.settings import Settings, load_settings
from tests.cli import Running, started, streamproc
from tests.kafka.test_worker import produce
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

CANARY = "canary-7781"


def lines_of(text: str) -> list[dict[str, Any]]:
    """All lines of stderr, each an object with what every line must have."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in found)
    return found


def says(running: Running, words: str) -> bool:
    """Whether a process under way has logged some words; all lines that it has ended are looked at."""
    text = running.err
    return any(words in line["event"] for line in lines_of(text[: text.rfind("\n") + 1]))


def test_a_worker_logs_json_from_start_to_end_through_rebalance_and_loss_of_its_broker() -> None:
    with ephemeral() as status:
        assert status.bootstrap is not None
        settings = load_settings(bootstrap=status.bootstrap, prefix="t.", partitions=2)
        create_topics(settings)
        variables = {
            "STREAMPROC_BOOTSTRAP": settings.bootstrap,
            "STREAMPROC_PREFIX": settings.prefix,
            "STREAMPROC_LOG_JSON": "1",
            "STREAMPROC_SINK_PASSWORD": CANARY,
            "STREAMPROC_SHUTDOWN_S": "5",
        }
        with started("worker", cwd=None, STREAMPROC_INSTANCE_ID="gate-1", **variables) as first:
            wait_for_group(settings, members=1, timeout_s=60, check=first.check)
            produce(settings, 4)
            wait_until(lambda: says(first, "read back"), "it works", timeout_s=60)
            with started("worker", cwd=None, STREAMPROC_LOG_LEVEL="WARNING", **variables) as second:
                wait_for_group(settings, members=2, timeout_s=60, check=second.check)
                second.send(signal.SIGTERM)
                done, _ = second.ended(timeout_s=60)
            assert done.code == 0
            assert all(line["level"] != "info" for line in lines_of(done.err)), "no less than was asked for"
            LocalCluster(status.folder).stop(graceful_s=0)
            wait_until(lambda: says(first, "Connect"), "its clients tell of the loss", timeout_s=60)
            first.send(signal.SIGTERM)
            ended, _ = first.ended(timeout_s=60)
    lines = lines_of(ended.err)
    (start,) = [line for line in lines if line["event"].startswith("worker starts")]
    assert (start["role"], start["worker"], start["group"], start["partitions"]) == (
        "worker-all",
        "gate-1",
        "t.workers",
        2,
    )
    told = [line for line in lines if line["event"].startswith("read back")]
    assert all({"topic", "partition", "events", "seconds"} <= line.keys() for line in told)
    assert any(line.get("signal") == "SIGTERM" for line in lines)
    assert all(line["role"] == "worker-all" for line in lines)
    assert CANARY not in ended.err + done.err


def test_ingest_tells_of_cameras_as_facts_and_of_no_password(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=1)
    cameras = tmp_path / "cameras.toml"
    cameras.write_text(f'[[camera]]\nname = "gate"\nsource = "http://admin:{CANARY}@127.0.0.1:1/s?token={CANARY}"\n')
    with started(
        *("--log-json", "ingest", cameras, "--bootstrap", settings.bootstrap), STREAMPROC_PREFIX=settings.prefix
    ) as running:
        wait_until(lambda: "is offline" in running.err, "the camera is away", timeout_s=30)
        running.send(signal.SIGTERM)
        done, _ = running.ended(timeout_s=30)
    offline = next(line for line in lines_of(done.err) if "is offline" in line["event"])
    assert (offline["camera"], offline["reason"], offline["logger"]) == ("gate", "refused", "streamproc.notice")
    assert CANARY not in done.err + done.out


def test_a_worker_that_cannot_start_says_so_in_one_object(new_settings: Callable[..., Settings]) -> None:
    settings = new_settings()
    done = streamproc("--log-json", "worker", "--bootstrap", settings.bootstrap, STREAMPROC_PREFIX=settings.prefix)
    (line,) = lines_of(done.err)
    assert (done.code, line["level"], line["exit_status"]) == (1, "critical", 1)
    assert "streamproc topics create" in line["event"]
