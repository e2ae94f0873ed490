"""Facts of this machine, gathered; nothing is judged here."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from streamproc.broker.java import find_java
from streamproc.doctor.machine import OTHER_OPENCV, PINS, Disk, Machine
from streamproc.errors import StreamprocError

_CGROUP: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")
_NO_LIMIT: Final = 2**60


def look_at_machine(folders: tuple[Path, ...] = ()) -> Machine:
    """All of it.

    Args:
        folders: That are written to, beside the one for temporary files.
    """
    opencv, whole = _opencv()
    try:
        java, java_told = str(find_java()), ""
    except StreamprocError as error:
        java, java_told = None, str(error)
    return Machine(
        python=sys.version_info[:3],
        packages={name: _version(name) for name in (*PINS, *OTHER_OPENCV)},
        opencv=opencv,
        opencv_whole=whole,
        java=java,
        java_told=java_told,
        memory_bytes=min(_memory_bytes(), cgroup_memory()),
        cores=min(len(os.sched_getaffinity(0)), cgroup_cores()),
        descriptors=_descriptors(),
        disks=tuple(_disk(folder) for folder in dict.fromkeys([Path(tempfile.gettempdir()), *folders])),
    )


def cgroup_memory(root: Path = _CGROUP) -> int:
    """Bytes that the control group allows (cgroup v2, memory.max); a very large number if it sets no bound."""
    text = _read(root / "memory.max")
    return int(text) if text.isdecimal() else _NO_LIMIT


def cgroup_cores(root: Path = _CGROUP) -> float:
    """Cores that the control group allows (cgroup v2, cpu.max: quota and period); a large number without a bound."""
    quota, _, period = _read(root / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else float(_NO_LIMIT)


def port_taken(host: str, port: int) -> str | None:
    """Why a port cannot be listened on; None if it can, or none is set."""
    if not port:
        return None
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def workers_named(name: str | None, *, proc: Path = _PROC) -> list[int]:
    """Processes of this machine that are workers with a name in their group, as far as we may see.

    Args:
        name: `STREAMPROC_INSTANCE_ID`; None finds none.
        proc: Where processes are.
    """
    if name is None:
        return []
    wanted, found = f"STREAMPROC_INSTANCE_ID={name}".encode(), []
    for folder in proc.glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"worker" in command and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _opencv() -> tuple[str | None, bool]:
    try:
        import cv2
    except ImportError:
        return None, False
    return str(cv2.__version__), hasattr(cv2, "CascadeClassifier") and hasattr(cv2, "HOGDescriptor")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else _NO_LIMIT


def _disk(folder: Path) -> Disk:
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(there).free
    except OSError:
        return Disk(path=str(folder), free_bytes=None, writable=False)
    return Disk(path=str(folder), free_bytes=free, writable=_writable(there))


def _writable(folder: Path) -> bool:
    """Try it: rights say little on a read-only mount, or to root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
