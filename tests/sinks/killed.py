"""A sink that is killed again and again: `python -m tests.sinks.killed URL NAME EVENTS KILLS SEED GROUP_FILE`.

Each child drives the real sink from a log in memory and is sent SIGKILL after a random time; the last one is left to
end. Children are forked, so that many kills take little time. What Kafka's group would keep stands in GROUP_FILE.
Prints how many were killed at work.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from streamproc.metrics import Metrics
from streamproc.settings import load_settings
from streamproc.sinks import Options, drive, open_sink, parse_address
from streamproc.sinks.sink import Limits
from tests.sinks.material import TOPIC, MemoryLog, log_of

BATCH = 16  # small, so that many batches are interrupted


class KeptLog(MemoryLog):
    """A log in memory whose group outlives the process."""

    file: Path

    def commit(self, positions: Mapping[int, int]) -> None:
        super().commit(positions)
        beside = self.file.with_suffix(".part")
        beside.write_text("".join(f"{number} {at}\n" for number, at in self.group.items()))
        beside.replace(self.file)


def write_all(url: str, name: str, log: KeptLog) -> None:
    """Write from where the group, or the target, says."""
    if log.file.exists():
        log.group = {
            int(number): int(at) for number, at in (line.split() for line in log.file.read_text().splitlines())
        }
    sink = open_sink(parse_address(url, visible=False), load_settings(), name=name, topic=TOPIC)
    sink.limits = Limits(events=BATCH, bytes=2**20, wait_s=0)
    options = Options(kind="test", topic=TOPIC, until_end=True)
    report = drive(log, sink, options, metrics=Metrics(), stop=lambda: False, told=print)
    assert report.problem is None


def child_of(url: str, name: str, log: KeptLog) -> int:
    """The process number of a child that writes."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        write_all(url, name, log)
        status = 0
    finally:
        os._exit(status)


def main(url: str, name: str, events: int, kills: int, seed: int, group: Path) -> int:
    """How many children were killed at work; fails if one failed."""
    chance, killed = random.Random(seed), 0
    log = KeptLog(log_of(events).partitions)
    log.file = group
    for _ in range(kills):
        pid = child_of(url, name, log)
        time.sleep(chance.uniform(0.01, 0.15))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert status in (0, signal.SIGKILL), status
        killed += status == signal.SIGKILL
    _, status = os.waitpid(child_of(url, name, log), 0)
    assert status == 0, status
    return killed


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), Path(sys.argv[6])))
