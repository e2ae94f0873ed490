"""The broker's disk is full for a while: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster, cluster_for_chaos
from tests.chaos.fleet import members
from tests.chaos.trial import trial

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

DISK_MB = 192
LEFT_BYTES = 2 * 2**20
FULL_S = 3.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in a file, mounted."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK_MB * 2**20)
    made = _run("mkfs.ext4", "-q", "-m", "0", str(image)) or _run("mount", "-o", "loop", str(image), str(disk))
    if made:
        pytest.skip(f"NOT TESTED: a full disk needs root, mkfs.ext4 and loop mounts: {made}")
    try:
        yield disk
    finally:
        for _ in range(20):
            if not _run("umount", str(disk)):
                break
            time.sleep(0.5)


def _run(*command: str) -> str:
    """Run a program; what went wrong, or nothing."""
    program = shutil.which(command[0])
    if program is None:
        return f"{command[0]} is not here"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


@pytest.fixture
def cluster_on_it(small_disk: Path) -> Iterator[Cluster]:
    """One broker whose records stand there."""
    with cluster_for_chaos(data=lambda _node: small_disk / "data") as cluster:
        yield cluster


def test_a_broker_whose_disk_was_full_comes_back_and_nothing_acknowledged_is_lost(
    cluster_on_it: Cluster, small_disk: Path, tmp_path: Path
) -> None:
    filler = small_disk / "filler"
    with trial(cluster_on_it, tmp_path / "trial", members(1), frames=10_000, fps=15, delivery_timeout_s=120) as one:
        one.wait_for_flow("the start")
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        _fill(filler, free - LEFT_BYTES)
        one.wait_for(lambda: cluster_on_it.nodes == [], "the broker ends, its disk is full", timeout_s=60)
        time.sleep(FULL_S)
        filler.unlink()
        cluster_on_it.restore()
        one.wait_for_flow("room on the disk")
        for camera in one.cameras:
            camera.stop.set()
        one.wait_for_events()
        verdict = one.require_all_well()
    assert verdict.acked > 50


def _fill(file: Path, size: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
