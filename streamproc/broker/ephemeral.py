"""A cluster for the length of a `with` block: free ports, a folder of its own, nothing left behind.

A guard process holds the other end of a pipe. However this program ends, by kill -9 too, the kernel closes
the pipe, and the guard kills the brokers and deletes their folder. (A child that this program forks without
running another program keeps the pipe open as well, so the guard then waits for that child too.)
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamproc.broker import processes
from streamproc.broker.cluster import READY_S, LocalCluster
from streamproc.broker.fetch import Progress, silent
from streamproc.broker.nodes import Amend, unchanged
from streamproc.broker.ports import PortInUseError
from streamproc.broker.state import ClusterStatus
from streamproc.errors import BrokerError

ATTEMPTS = 3
GUARD_S = 30.0


@contextmanager
def ephemeral(
    brokers: int = 1, *, progress: Progress = silent, ready_s: float = READY_S, amend: Amend = unchanged
) -> Iterator[ClusterStatus]:
    """Run a cluster and yield how it is; kill it and delete its records at the end.

    Args:
        brokers: 1 or 3.
        progress: Told in words what takes long.
        ready_s: Longest wait for an answer.
        amend: Changes the settings of each node.

    Raises:
        BrokerError: It could not be started.
    """
    folder = Path(tempfile.mkdtemp(prefix="streamproc-broker-"))
    with _guarded(folder):
        cluster = LocalCluster(folder, amend=amend)
        try:
            yield _start(cluster, brokers, progress, ready_s)
        finally:
            # Killed, not asked: nobody will read its records again.
            cluster.stop(graceful_s=0, delete_data=True)


def _start(cluster: LocalCluster, brokers: int, progress: Progress, ready_s: float) -> ClusterStatus:
    for _ in range(ATTEMPTS - 1):
        # Between choosing a free port and Kafka taking it, another program may be quicker.
        with contextlib.suppress(PortInUseError):
            return cluster.start(port=0, brokers=brokers, progress=progress, ready_s=ready_s).status
    return cluster.start(port=0, brokers=brokers, progress=progress, ready_s=ready_s).status


@contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    command = [sys.executable, "-I", "-S", processes.__file__, "guard", str(folder)]
    try:
        guard = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is not for the guard
        )
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BrokerError(f"cannot start the guard of the broker: {error}") from None
    with guard:
        try:
            yield
        finally:
            assert guard.stdin is not None  # noqa: S101 - it was asked for above
            guard.stdin.close()
            try:
                guard.wait(GUARD_S)
            except subprocess.TimeoutExpired:
                guard.kill()
