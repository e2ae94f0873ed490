"""The jars of Apache Kafka: which they are is written in `jars.lock`, and no other is ever run.

A line of the lock is `sha256  name  coordinate`. Nothing is resolved on a user's machine: exactly these files
are fetched, and before each start their folder must hold exactly these bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from streamproc.broker.places import cache_folder, usable_path
from streamproc.errors import BrokerError

KAFKA_VERSION = "4.3.0"
LOCK_NAME = "jars.lock"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+\.jar)  ([A-Za-z0-9._:-]+)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Jar:
    """One pinned file.

    Attributes:
        name: In the folder, as `artifact-version[-classifier].jar`.
        sha256: Of its bytes, in hex.
        coordinate: `group:artifact:version[:classifier]`, by which it is fetched.
    """

    name: str
    sha256: str
    coordinate: str

    def __str__(self) -> str:
        return f"{self.sha256}  {self.name}  {self.coordinate}"


def pinned_jars() -> tuple[Jar, ...]:
    """The jars of the lock that ships in this package."""
    return parse_lock(resources.files("streamproc.broker").joinpath(LOCK_NAME).read_text(encoding="ascii"))


def parse_lock(text: str) -> tuple[Jar, ...]:
    """Read the lines of a lock; lines that begin with # are comments.

    Raises:
        BrokerError: A line is not `sha256  name  coordinate`, a name comes twice, or there is none.
    """
    jars: dict[str, Jar] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[2] in jars:
            raise BrokerError(f"{LOCK_NAME} line {number} is not as it must be: reinstall streamproc")
        jars[match[2]] = Jar(sha256=match[1], name=match[2], coordinate=match[3])
    if not jars:
        raise BrokerError(f"{LOCK_NAME} names no jar: reinstall streamproc")
    return tuple(jars.values())


def jar_folder(jars: Iterable[Jar], cache: Path | None = None) -> Path:
    """Where these jars are kept; another lock has another folder, so versions never mix.

    Raises:
        BrokerError: The path cannot stand in a Java class path.
    """
    digest = hashlib.sha256("\n".join(map(str, jars)).encode()).hexdigest()
    folder = (cache or cache_folder()) / f"kafka-{KAFKA_VERSION}-{digest[:12]}"
    return usable_path(folder, forbidden=":*", why="which means something else in a Java class path")


def check_jars(folder: Path, jars: Iterable[Jar]) -> None:
    """Make sure that a folder holds the pinned jars and no other; 45 MB take 0.03 s.

    Raises:
        BrokerError: Names the first jar that is missing, altered or unknown, and says what to do.
    """
    expected = {jar.name: jar for jar in jars}
    remedy = f"delete the folder {folder} and run again"
    for name, jar in expected.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BrokerError(f"the jar {name} is missing or unreadable ({error.strerror}): {remedy}") from None
        if found != jar.sha256:
            raise BrokerError(
                f"the jar {name} is not the one streamproc was released with "
                f"(sha256 {found[:16]}…, expected {jar.sha256[:16]}…): {remedy}"
            )
    for extra in sorted(folder.glob("*.jar")):
        if extra.name not in expected:
            raise BrokerError(f"the jar {extra.name} does not belong to Apache Kafka {KAFKA_VERSION}: {remedy}")
