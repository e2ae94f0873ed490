"""What a process leans on and nobody looks at until it is over: certificates that end, disks that fill.

A thread looks now and again, so that a file system that hangs delays no scrape. A file or folder that cannot be looked
at has no figure: none is better than an old one.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from streamproc.certificates import certificate_ends
from streamproc.errors import SettingError

if TYPE_CHECKING:
    from streamproc.metrics import Metrics
    from streamproc.settings import Settings

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
"""Between two looks; a certificate that is replaced counts from the next one on."""

_MAX_PEM_BYTES: Final = 4 * 2**20  # all public authorities together take a quarter of a megabyte
_END_S: Final = 1.0

Place: TypeAlias = Literal["archive", "broker", "ledger", "refused", "sink"]
"""What a process writes there."""


class Room(NamedTuple):
    """Of the file system that a folder stands on, in bytes, as a user without privileges has it."""

    free_bytes: int
    size_bytes: int


def certificates_of(settings: Settings) -> dict[str, Path]:
    """The files of certificates that settings name, by what they are."""
    files = {"ca": settings.security_ca_file, "client": settings.security_cert_file}
    return {what: file for what, file in files.items() if file is not None}


def certificate_end(file: Path, *, what: str) -> float:
    """When the certificate of a file ends, seconds since 1970.

    Of authorities the one that ends first; of a client the first in the file, which is its own: its chain follows.

    Raises:
        SettingError: The file cannot be read, or holds no certificate.
    """
    try:
        with file.open("rb") as opened:
            pem = opened.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise SettingError(f"certificate {file} cannot be read: {error.strerror}") from None
    try:
        ends = certificate_ends(pem)
    except SettingError as error:
        raise SettingError(f"certificate {file}: {error}") from None
    return min(ends) if what == "ca" else ends[0]


def local_path(url: str) -> Path | None:
    """The folder of a URL as fsspec has them, None if it is not on this machine."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    return Path(rest) if scheme in ("file", "local") else None


def room_at(path: Path) -> Room:
    """Room where a file or folder is, or will be: the nearest folder above it that is there.

    Raises:
        OSError: It cannot be looked at.
    """
    absolute = path.expanduser().absolute()
    there = next(folder for folder in (absolute, *absolute.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    return Room(free_bytes=usage.free, size_bytes=usage.total)


class Surroundings:
    """Looks at files and folders, and keeps the gauges of what it sees.

    Args:
        metrics: Where the gauges are.
        certificates: Files by what they are.
        places: Folders or files that the process writes to.
    """

    def __init__(self, metrics: Metrics, *, certificates: Mapping[str, Path], places: Mapping[Place, Path]) -> None:
        self._metrics, self._certificates, self._places = metrics, certificates, places
        self._told: set[str] = set()

    def look(self) -> None:
        """Set the gauges by what is there now."""
        for what, file in self._certificates.items():
            self._look_at_certificate(what, file)
        for place, path in self._places.items():
            self._look_at_place(place, path)

    def _look_at_certificate(self, what: str, file: Path) -> None:
        gauge = self._metrics.certificate_end
        try:
            end_s = certificate_end(file, what=what)
        except SettingError as error:
            with suppress(KeyError):
                gauge.remove(what)
            self._tell(f"{error}; nobody warns before it ends")
            return
        gauge.labels(what).set(end_s)

    def _look_at_place(self, place: Place, path: Path) -> None:
        free, size = self._metrics.disk_free, self._metrics.disk_size
        try:
            room = room_at(path)
        except OSError as error:
            for gauge in (free, size):
                with suppress(KeyError):
                    gauge.remove(place)
            self._tell(f"{path} cannot be looked at ({error.strerror}); nobody warns before its disk is full")
            return
        size.labels(place).set(room.size_bytes)
        free.labels(place).set(room.free_bytes)

    def _tell(self, line: str) -> None:
        """Once for each line."""
        if line not in self._told and len(self._told) < 2 * (len(self._certificates) + len(self._places)):
            self._told.add(line)
            log.warning("%s", line)


@contextmanager
def surroundings(
    metrics: Metrics, settings: Settings, *, places: Mapping[Place, Path | None] | None = None, every_s: float = LOOK_S
) -> Iterator[None]:
    """Keep the gauges of certificates and disks for as long as this lasts, if metrics are served at all.

    Args:
        metrics: Where the gauges are.
        settings: Name the certificates, and whether metrics are served.
        places: Where the process writes, None for what it does not.
        every_s: Between two looks.
    """
    written: dict[Place, Path] = {place: path for place, path in (places or {}).items() if path is not None}
    certificates = certificates_of(settings)
    if not settings.metrics_port or not (written or certificates):
        yield
        return
    looking = Surroundings(metrics, certificates=certificates, places=written)
    over = threading.Event()

    def keep_on() -> None:
        looking.look()
        while not over.wait(every_s):
            looking.look()

    thread = threading.Thread(target=keep_on, name="surroundings", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_END_S)  # a look at a dead network disk may hang: the thread ends with the process then
