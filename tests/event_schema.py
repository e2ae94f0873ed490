"""Every event in every test is checked against the schema that users are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_FOLDER = Path(__file__).parent.parent / "docs" / "schemas"
_ATTRIBUTES = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"}


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((_FOLDER / name).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


_DATA = {
    f"io.streamproc.{kind}.v1": _validator(f"{kind}.v1.json")
    for kind in ("frame", "track", "rule", "anomaly", "camera")
}


def check_event(event: Mapping[str, Any]) -> None:
    """Fail unless a structured CloudEvent has the right attributes and data."""
    assert set(event) - {"traceparent"} == _ATTRIBUTES
    assert event["specversion"] == "1.0"
    data = event["data"]
    assert event["source"] == f"/cameras/{data['camera']}"
    assert event["subject"] == f"{data['run']}/{data['sequence']}"
    _DATA[event["type"]].validate(data)
