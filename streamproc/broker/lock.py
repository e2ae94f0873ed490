"""Write `jars.lock` anew, for a new version of Apache Kafka: `python -m streamproc.broker.lock`.

A maintainer's tool. Change KAFKA_VERSION in `jars.py`, run this, look at the difference, run the broker's
tests, and commit the lock with the change. Resolving is done here alone, so what a user runs was tested.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamproc.broker.fetch import fetch_all, jgo_download, require_jgo
from streamproc.broker.jars import KAFKA_VERSION, LOCK_NAME, Jar, parse_lock

if TYPE_CHECKING:
    from jgo.maven import Artifact

WANTED = (
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    # Named though it is a dependency: without it jgo once chose clients 3.9.1, and the broker died at start.
    ("org.apache.kafka", "kafka-clients", KAFKA_VERSION),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
)
UNKNOWN = "0" * 64

HEADER = f"""\
# The jars of Apache Kafka {KAFKA_VERSION} that streamproc runs, and no others: sha256  name  coordinate
# Written by: python -m streamproc.broker.lock
"""


def resolve() -> list[Jar]:
    """Find the jars that WANTED and their dependencies need; sums are not known yet.

    Raises:
        BrokerError: jgo is not installed.
    """
    require_jgo()
    from jgo.maven import MavenContext
    from jgo.parse import Coordinate

    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder))
        wanted = [
            context.create_dependency(Coordinate(groupId=group, artifactId=name, version=version, scope="compile"))
            for group, name, version in WANTED
        ]
        named, needed = context.resolver.resolve(wanted)
        at_run_time = [*named, *(other for other in needed if other.scope in ("compile", "runtime"))]
        return [_unsummed(dependency.artifact) for dependency in at_run_time]


def _unsummed(artifact: Artifact) -> Jar:
    coordinate = ":".join([*artifact.key[:3], *filter(None, [artifact.classifier])])
    return Jar(name=artifact.filename, sha256=UNKNOWN, coordinate=coordinate)


def summed(jars: Sequence[Jar]) -> list[Jar]:
    """Fetch jars and write down their sums, in order of name."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        fetch_all(jars, Path(folder) / "repository", whole, progress=print, download=jgo_download())
        return sorted(
            Jar(
                name=jar.name,
                coordinate=jar.coordinate,
                sha256=hashlib.sha256((whole / jar.name).read_bytes()).hexdigest(),
            )
            for jar in jars
        )


def main() -> int:
    """Write the lock and say what changed in it."""
    parser = argparse.ArgumentParser(prog="python -m streamproc.broker.lock", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(LOCK_NAME), help="the lock to write")
    out: Path = parser.parse_args().out
    before = set(parse_lock(out.read_text(encoding="ascii"))) if out.exists() else set()
    jars = summed(resolve())
    out.write_text(HEADER + "".join(f"{jar}\n" for jar in jars), encoding="ascii")
    for jar in sorted(before - set(jars)):
        print(f"- {jar}")
    for jar in sorted(set(jars) - before):
        print(f"+ {jar}")
    print(f"{out}: {len(jars)} jars")
    return 0


if __name__ == "__main__":
    sys.exit(main())
