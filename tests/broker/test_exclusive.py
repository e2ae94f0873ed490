from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamproc.broker.exclusive import exclusive
from streamproc.errors import BrokerError


def test_a_second_one_waits_no_longer_than_said(tmp_path: Path) -> None:
    lock = tmp_path / "made" / "lock"
    with (
        exclusive(lock, wait_s=1, doing="testing"),
        pytest.raises(BrokerError, match=r"has been testing for more than 0\.2 s"),
        exclusive(lock, wait_s=0.2, doing="testing"),
    ):
        pass
    with exclusive(lock, wait_s=0.2, doing="testing"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-u", "-c", hold, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BrokerError), exclusive(lock, wait_s=0.1, doing="testing"):
            pass
        holder.kill()
    with exclusive(lock, wait_s=5, doing="testing"):
        pass


def test_a_lock_file_deleted_by_its_holder_keeps_the_next_ones_apart(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, wait_s=1, doing="testing"):
        lock.unlink()
        with (
            exclusive(lock, wait_s=1, doing="testing"),
            pytest.raises(BrokerError),
            exclusive(lock, wait_s=0.1, doing="testing"),
        ):
            pass
