"""The reference page of what programs may import, from signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, Final

import msgspec

PUBLIC: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("streamproc.model", ()),
    ("streamproc.operators.tiling", ()),
    ("streamproc.operators.table", ("Window", "Parameter", "Operator")),
    ("streamproc.operators.pipeline_file", ("load", "parse", "default_pipeline")),
    ("streamproc.operators.pixels", ("gray", "decode_picture", "encode", "require_pixels", "require_gray")),
    ("streamproc.aggregator.seams", ("link_edges", "edge_digest")),
    ("streamproc.topics", ()),
    ("streamproc.settings", ("load_settings",)),
    ("streamproc.archive", ("ArchiveReader",)),
    ("streamproc.broker", ("LocalCluster", "ephemeral", "find_bootstrap")),
    ("streamproc.contract", ("check", "failures")),
    ("producers.sources", ("open_source", "read_marks", "Source", "Marks")),
)
"""Modules and names; no names: all that the module itself defines."""
INTRODUCTION: Final = """\
What programs of yours may import. Everything here is typed. Arrays are `(rows, cols[, channels])`, colour is BGR,
points and boxes are `x, y` in pixels of the frame. `streamproc.operators` and `streamproc.aggregator` are pure: values
in, values out, time as an argument. What is not listed may change without a word; what is listed changes with one in
the [changelog](../../CHANGELOG.md). Errors: [words](words.md#errors)."""
SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|References):$", re.MULTILINE)


def python_page() -> str:
    """All public modules."""
    parts = ["# Python", "<!-- made by `python -m tests.docs.reference`; do not edit it here -->", INTRODUCTION]
    for name, wanted in PUBLIC:
        module = import_module(name)
        parts += [f"## {name}", *_first(module)]
        for one in wanted or _own(module):
            parts += _told(one, getattr(module, one))
    return "\n\n".join(parts) + "\n"


def _first(module: ModuleType) -> list[str]:
    return [str(inspect.getdoc(module)).split("\n\n")[0]]


def _own(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and isinstance(value, (type, FunctionType)) and value.__module__ == module.__name__
    ]


def _told(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}"
    if isinstance(value, type):
        yield from _class(name, value)
    else:
        yield f"```text\n{name}{_signature(value)}\n```"
        yield from _docstring(value)


def _class(name: str, value: type) -> Iterator[str]:
    fields = _fields(value)
    if fields:
        yield "```text\n" + "\n".join([f"{name}(", *(f"    {field}," for field in fields), ")"]) + "\n```"
    elif "__init__" in vars(value):
        yield f"```text\n{name}{_signature(vars(value)['__init__'])}\n```"
    yield from _docstring(value)
    for own, member in vars(value).items():
        target = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if own.startswith("_") or not isinstance(target, FunctionType) or not target.__doc__:
            continue
        shown = f"{own}: {_type(target)}" if isinstance(member, property) else f"{own}{_signature(target)}"
        yield f"```text\n{name}.{shown}\n```"
        yield from _docstring(target)


def _fields(value: type) -> list[str]:
    """Names, types and defaults of a value class."""
    if issubclass(value, msgspec.Struct):
        rows = [(one.name, one.default, one.default is not msgspec.NODEFAULT) for one in msgspec.structs.fields(value)]
    elif dataclasses.is_dataclass(value):
        rows = [(one.name, one.default, one.default is not dataclasses.MISSING) for one in dataclasses.fields(value)]
    else:
        return []
    hints = {name: hint for base in reversed(value.__mro__) for name, hint in inspect.get_annotations(base).items()}
    return [f"{name}: {hints[name]}{f' = {_default(default)}' if has else ''}" for name, default, has in rows]


def _default(value: object) -> str:
    return value.__name__ if isinstance(value, FunctionType) else re.sub(r" at 0x\w+", "", repr(value))


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [one for name, one in signature.parameters.items() if name not in ("self", "cls")]
    text = re.sub(r"<function (\w+) at 0x\w+>", r"\1", str(signature.replace(parameters=parameters))).replace("'", "")
    return text if len(text) < 100 else text.replace(", ", ",\n    ").replace("(", "(\n    ", 1)


def _type(function: Any) -> str:
    return str(inspect.get_annotations(function).get("return", ""))


def _docstring(value: object) -> Iterator[str]:
    """A docstring of Google's form as Markdown."""
    text = inspect.getdoc(value) or ""
    before, *rest = SECTION.split(text)
    if before.strip():
        yield before.strip()
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        entries = re.split(r"\n(?=\S)", inspect.cleandoc(body.strip("\n")))
        lines = [" ".join(entry.split()) for entry in entries if entry.strip()]
        yield f"{title}:\n\n" + "\n".join(f"- {_entry(title, line)}" for line in lines)


def _entry(title: str, line: str) -> str:
    name, colon, told = line.partition(": ")
    return f"`{name}`: {told}" if colon and title in {"Args", "Attributes", "Raises"} else line
