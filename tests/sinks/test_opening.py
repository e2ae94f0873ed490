"""Each address opens its sink; a library that is missing is one line with the extra that brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamproc.errors import SinkError
from streamproc.settings import load_settings
from streamproc.sinks import open_sink, parse_address

TARGETS = {
    "pyarrow": "parquet:DIR/out",
    "redis": "redis://127.0.0.1:1/events",
    "httpx": "http://127.0.0.1:1/in",
    "psycopg": "postgresql://ann@127.0.0.1:1/cams",
    "sqlalchemy": "sqlite:///DIR/events.db",
}


@pytest.mark.parametrize("library", TARGETS)
def test_a_library_that_is_missing_is_one_line_that_names_the_extra(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address(TARGETS[library].replace("DIR", str(tmp_path)), visible=True)
    for module in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in ("sql", "tables"):
        monkeypatch.delitem(sys.modules, f"streamproc.sinks.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SinkError, match=rf"needs {library}.*pip install 'streamproc\[sinks\]'"):
        open_sink(address, load_settings(), name="n", topic="t.events")


def test_nothing_is_connected_or_made_when_a_sink_is_opened(tmp_path: Path) -> None:
    for text in (*TARGETS.values(), "DIR/events.jsonl"):
        address = parse_address(text.replace("DIR", str(tmp_path)), visible=True)
        open_sink(address, load_settings(), name="n", topic="t.events").close()
    assert list(tmp_path.iterdir()) == []
