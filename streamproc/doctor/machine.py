"""Checks of the machine and of what is installed on it: facts in, findings out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamproc.doctor.finding import Finding, ok, warning, wrong

GIB: Final = 2**30
PYTHON: Final = (3, 11)
PINS: Final[Mapping[str, tuple[tuple[int, ...], tuple[int, ...] | None]]] = {
    "faust-streaming": ((0, 15, 3), (0, 16)),
    "aiokafka": ((0, 14), None),
    "confluent-kafka": ((2, 13, 2), None),
    "opencv-python-headless": ((4, 14), (5,)),
    "numpy": ((2,), None),
}
"""Lowest version that will do, and the first that will not any more."""
OTHER_OPENCV: Final = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
"""All of them put their files into one folder, cv2: the one that was installed last is the one that is there."""

DISK_FREE_BYTES: Final = 2 * GIB
MEMORY_BYTES: Final = GIB  # a worker takes 250 MB, its decoder 100, and up to 384 MB of buffers by default
DESCRIPTORS: Final = 1024  # a connection to each broker for each client, decoders, log files


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A file system that is written to.

    Attributes:
        path: A folder on it.
        free_bytes: For a user without privileges; None if it cannot be looked at.
        writable: Whether a file can be made there.
    """

    path: str
    free_bytes: int | None
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is known of the machine.

    Attributes:
        python: Its version.
        packages: Versions by name; None for one that is not installed.
        opencv: The version that `import cv2` gives, None if it fails.
        opencv_whole: It has Haar cascades and HOG.
        java: Where a Java for the local broker is; None if nowhere.
        java_told: Why there is none.
        memory_bytes: That this process may use, by machine and cgroup.
        cores: The same, may be a part of one.
        descriptors: Files that it may have open.
        disks: That are written to.
    """

    python: tuple[int, int, int]
    packages: Mapping[str, str | None]
    opencv: str | None
    opencv_whole: bool
    java: str | None
    java_told: str = ""
    memory_bytes: int
    cores: float
    descriptors: int
    disks: tuple[Disk, ...] = field(default=())


def check_machine(machine: Machine, *, threads: int) -> Iterator[Finding]:
    """All of it.

    Args:
        machine: Facts.
        threads: Of a worker, as set.
    """
    told = ".".join(map(str, machine.python))
    if machine.python >= PYTHON:
        yield ok("Python", told)
    else:
        yield wrong("Python", f"{told} is too old: install 3.11 or newer, and streamproc into it")
    yield _opencv(machine)
    for package in PINS:
        if package != "opencv-python-headless":
            yield _package(package, machine.packages.get(package))
    if machine.java is not None:
        yield ok("Java for the local broker", machine.java)
    else:
        yield warning("Java for the local broker", machine.java_told)
    yield _memory(machine, threads=threads)
    yield _cores(machine, threads=threads)
    yield _descriptors(machine)
    for disk in machine.disks:
        yield _disk(disk)


def _opencv(machine: Machine) -> Finding:
    mend = "pip uninstall -y {}; pip install --force-reinstall 'opencv-python-headless>=4.14,<5'"
    others = [name for name in OTHER_OPENCV if machine.packages.get(name) is not None]
    if others:
        told = f"{' and '.join(others)} is installed beside opencv-python-headless, and both are the one folder cv2"
        return wrong("OpenCV", f"{told}: {mend.format(' '.join([*others, 'opencv-python-headless']))}")
    if machine.opencv is None:
        return wrong("OpenCV", "import cv2 fails: pip install --force-reinstall 'opencv-python-headless>=4.14,<5'")
    if version_of(machine.opencv) >= (5,) or not machine.opencv_whole:
        told = f"{machine.opencv} has no Haar cascades and no HOG"
        return wrong("OpenCV", f"{told}: {mend.format('opencv-python-headless')}")
    if version_of(machine.opencv) < PINS["opencv-python-headless"][0]:
        return wrong("OpenCV", f"{machine.opencv} is too old: pip install -U 'opencv-python-headless>=4.14,<5'")
    return ok("OpenCV", machine.opencv)


def _package(name: str, version: str | None) -> Finding:
    least, first_bad = PINS[name]
    wanted = f"{name}>={_text(least)}" + (f",<{_text(first_bad)}" if first_bad else "")
    if version is None:
        return wrong(name, f"not installed: pip install '{wanted}'")
    if version_of(version) < least or (first_bad is not None and version_of(version) >= first_bad):
        return wrong(name, f"{version} is not a version that streamproc was made for: pip install '{wanted}'")
    return ok(name, version)


def _memory(machine: Machine, *, threads: int) -> Finding:
    told = f"{machine.memory_bytes / GIB:.1f} GiB for this process"
    if machine.memory_bytes < MEMORY_BYTES:
        return warning(
            "memory",
            f"{told}, a worker of {threads} threads wants {MEMORY_BYTES / GIB:.0f} GiB: raise the container's limit, or"
            " lower STREAMPROC_BUFFER_BYTES, STREAMPROC_MAX_OPEN_BYTES and STREAMPROC_REFERENCES_BYTES",
        )
    return ok("memory", told)


def _cores(machine: Machine, *, threads: int) -> Finding:
    told = f"{machine.cores:g} for this process"
    if machine.cores < threads:
        return warning(
            "CPU",
            f"{told}, STREAMPROC_WORKER_THREADS is {threads}: threads wait for each other; set it to"
            f" {max(1, int(machine.cores))}, or raise the container's limit",
        )
    return ok("CPU", told)


def _descriptors(machine: Machine) -> Finding:
    told = f"{machine.descriptors} open files allowed"
    if machine.descriptors < DESCRIPTORS:
        return warning("open files", f"{told}, {DESCRIPTORS} are wanted: ulimit -n {DESCRIPTORS}, in the shell or unit")
    return ok("open files", told)


def _disk(disk: Disk) -> Finding:
    if disk.free_bytes is None:
        return wrong("disk", f"{disk.path} cannot be looked at: see that it is there, df {disk.path}")
    told = f"{disk.free_bytes / GIB:.1f} GiB free in {disk.path}"
    if not disk.writable:
        return wrong(
            "disk", f"nothing can be written in {disk.path}: see its rights (ls -ld {disk.path}) and its mount"
        )
    if disk.free_bytes < DISK_FREE_BYTES:
        return warning(
            "disk", f"{told}, {DISK_FREE_BYTES / GIB:.0f} GiB are wanted: make room, or set TMPDIR elsewhere"
        )
    return ok("disk", told)


def check_variables(names: Iterable[str], *, known: Iterable[str]) -> list[Finding]:
    """Variables that look like settings and are none: nobody reads them.

    Args:
        names: All STREAMPROC_ variables of the environment.
        known: Those that are read.
    """
    known = sorted(known)
    strangers = sorted(set(names) - set(known))
    found = []
    for name in strangers:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        meant = f"did you mean {near[0]}?" if near else "docs/settings.md lists what there is"
        found.append(warning("variables", f"{name} is no setting and has no effect: {meant} else unset {name}"))
    return found or [ok("variables", "every STREAMPROC_ variable is a setting")]


def check_port(host: str, port: int, *, taken_by: str | None) -> Finding:
    """The port of metrics and probes.

    Args:
        host: Address to listen on.
        port: 0 for none.
        taken_by: Why it cannot be listened on; None if it can.
    """
    if not port:
        return ok("port", "no metrics port is set: there are no probes (STREAMPROC_METRICS_PORT)")
    if taken_by is not None:
        return warning(
            "port",
            f"{host}:{port} cannot be listened on ({taken_by}): ss -ltnp 'sport = :{port}' says by whom; choose another"
            " with STREAMPROC_METRICS_PORT, unless it is the process that this is asked for",
        )
    return ok("port", f"{host}:{port} is free for metrics and probes")


def check_instance(name: str | None, pids: Iterable[int]) -> Finding:
    """Workers of one name: the group puts out the one that was there when another comes.

    Args:
        name: `STREAMPROC_INSTANCE_ID`.
        pids: Of worker processes of this machine that have it.
    """
    pids = sorted(pids)
    if name is not None and len(pids) > 1:
        told = (
            f"STREAMPROC_INSTANCE_ID={name} is that of {len(pids)} workers here (processes {', '.join(map(str, pids))})"
        )
        return wrong("instance", f"{told}: each puts the others out; give each a name of its own")
    return ok("instance", "no name is set (STREAMPROC_INSTANCE_ID)" if name is None else f"{name} is one worker's")


def version_of(text: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
