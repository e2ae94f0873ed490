"""Freed picture buffers stay in the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from streamproc.memory import keep_freed_memory

PROGRAM = """
import resource, sys
from streamproc.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    return [bytes(700_000) and bytearray(700_000) for _ in range(3)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_work_on_large_buffers_faults_no_pages_in_again() -> None:
    assert 100 * _faults("kept") < _faults("given back")


def test_it_says_whether_it_could() -> None:
    assert isinstance(keep_freed_memory(), bool)
