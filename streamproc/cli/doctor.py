"""`streamproc doctor`: what is wrong with this machine, this broker, these settings."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Literal, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from streamproc.broker.java import find_java
from streamproc.cli.connect import Bootstrap, Json, SettingsFile, settings_for
from streamproc.errors import StreamprocError
from streamproc.provision import check_topics, cluster_metadata
from streamproc.settings import Settings

console = Console(highlight=False)
Verdict = Literal["ok", "warning", "wrong"]
_COLOURS: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "wrong": "red"}
_FREE_BYTES = 2 * 2**30


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    verdict: Verdict
    told: str


def doctor(
    settings_file: SettingsFile = None,
    bootstrap: Bootstrap = None,
    as_json: Json = False,
) -> None:
    """Look at this machine, the broker and the settings; exit 1 if something is wrong."""
    findings = [*_machine(), *_cluster(settings_for(settings_file, bootstrap=bootstrap))]
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        table = Table("what", "verdict", "details", box=None, pad_edge=False)
        for finding in findings:
            colour = _COLOURS[finding.verdict]
            table.add_row(finding.what, f"[{colour}]{finding.verdict}[/]", finding.told)
        console.print(table)
    if any(finding.verdict == "wrong" for finding in findings):
        raise typer.Exit(1)


def _machine() -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield Finding("Python", "ok" if sys.version_info >= (3, 11) else "wrong", f"{version}, 3.11 or newer is needed")
    yield _opencv()
    for package in ("faust-streaming", "aiokafka", "confluent-kafka", "numpy"):
        yield _installed(package)
    yield _java()
    free = shutil.disk_usage(tempfile.gettempdir()).free
    yield Finding(
        "disk",
        "ok" if free > _FREE_BYTES else "warning",
        f"{free / 2**30:.1f} GiB free in {tempfile.gettempdir()}",
    )


def _opencv() -> Finding:
    import cv2

    has_haar = hasattr(cv2, "CascadeClassifier") and hasattr(cv2, "HOGDescriptor")
    told = f"{cv2.__version__}" + ("" if has_haar else ": no Haar and HOG here, install opencv-python-headless<5")
    return Finding("OpenCV", "ok" if has_haar else "wrong", told)


def _installed(package: str) -> Finding:
    try:
        return Finding(package, "ok", metadata.version(package))
    except metadata.PackageNotFoundError:
        return Finding(package, "wrong", "not installed: pip install streamproc")


def _java() -> Finding:
    try:
        return Finding("Java for the local broker", "ok", str(find_java()))
    except StreamprocError as error:
        return Finding("Java for the local broker", "warning", str(error))


def _cluster(settings: Settings) -> Iterator[Finding]:
    try:
        cluster = cluster_metadata(settings, timeout_s=5)
    except StreamprocError as error:
        yield Finding("broker", "wrong", str(error))
        return
    yield Finding("broker", "ok", f"{len(cluster.brokers)} at {settings.bootstrap}")
    if len(cluster.brokers) < settings.replication:
        yield Finding(
            "replication",
            "wrong",
            f"STREAMPROC_REPLICATION is {settings.replication}, the cluster has {len(cluster.brokers)} brokers",
        )
    differences = check_topics(settings)
    missing = [one for one in differences if one.have is None]
    if len(missing) == len(differences) and missing:
        yield Finding("topics", "warning", f"{len(missing)} missing: run streamproc topics create")
    elif differences:
        for one in differences:
            yield Finding("topics", "wrong", str(one))
    else:
        yield Finding("topics", "ok", f"as they must be, {settings.partitions} partitions each")
