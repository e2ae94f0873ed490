"""The pages of `docs/reference/`, made from the code; `python -m tests.docs.reference` writes them anew.

They are kept in the repository, so that they can be read where the code is read. A test holds them to the code.
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic.fields import FieldInfo
from typer.main import get_command

from streamproc.settings import PREFIX, Settings
from tests.docs.messages import topics_page
from tests.docs.python_api import python_page
from tests.docs.vocabulary import words_page

ROOT: Final = Path(__file__).parent.parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"
SCHEMAS: Final = ROOT / "docs" / "schemas"
MADE: Final = "<!-- made by `python -m tests.docs.reference`; do not edit it here -->"
HEAD: Final = "| variable | meaning | default | range |"


def cell(text: object) -> str:
    """Text for one cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


# --- the command line -------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    from streamproc.cli.main import app

    root: Any = get_command(app)
    parts = [
        "# Command line",
        MADE,
        "Exit status of every command: 0 all is well; 1 what was asked for could not be done, said in one line on "
        "stderr; 2 wrong usage; 130 after Ctrl-C, 143 after SIGTERM. Some say more with 1 and 2: their text tells. "
        "Options of every command stand before it: `streamproc --log-json worker`.",
        *_parameters(root),
        *(part for path, command in _leaves(root, ()) for part in _command(path, command)),
    ]
    return "\n\n".join(parts) + "\n"


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Commands that do something, groups that run without a command included."""
    below: Mapping[str, Any] = getattr(command, "commands", {})
    if path and (not below or command.invoke_without_command):
        yield path, command
    for name, one in below.items():
        if not one.hidden:
            yield from _leaves(one, (*path, name))


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    arguments = [_argument(one) for one in command.params if one.param_type_name == "argument"]
    yield f"## streamproc {' '.join(path)}"
    yield f"```text\nstreamproc {' '.join([*path, *arguments])} [OPTIONS]\n```"
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    yield from _parameters(command)


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    shown = f"{name}..." if one.nargs == -1 else name
    return shown if one.required else f"[{shown}]"


def _parameters(command: Any) -> Iterator[str]:
    rows = [_row(one) for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
    if rows:
        yield "\n".join(["| name | takes | default | meaning |", "| --- | --- | --- | --- |", *rows])


def _row(one: Any) -> str:
    is_argument = one.param_type_name == "argument"
    written = [_argument(one)] if is_argument else [*one.opts, *one.secondary_opts]
    takes = "" if getattr(one, "is_flag", False) else _takes(one)
    default = "required" if one.required and not is_argument else _default(one)
    names = ", ".join(f"`{name}`" for name in written)
    meaning = cell(re.sub(r"\[/?[a-z ]+\]", "", one.help or ""))
    return f"| {names} | {takes} | {default} | {meaning} |"


def _default(one: Any) -> str:
    if one.default is None or one.default in ((), [], "", False) or callable(one.default):
        return ""
    shown = one.default if isinstance(one.default, (str, int, float)) else getattr(one.default, "name", one.default)
    return f"`{cell('on' if shown is True else shown)}`"


def _takes(one: Any) -> str:
    if one.metavar:
        return f"`{cell(one.metavar)}`"
    annotation = one.type_descriptor.annotation
    text = _type(annotation)
    if one.min is not None or one.max is not None:
        low, high = (f"{bound:g}" if bound is not None else "" for bound in (one.min, one.max))
        text += f" {low} to {high}" if low and high else f" from {low}" if low else f" up to {high}"
    return f"{text}, may be repeated" if one.multiple else text


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(annotation))
    members = [one for one in typing.get_args(annotation) if one is not type(None)]
    if members:
        return _type(members[0])
    words = {"int": "whole number", "float": "number", "str": "text", "Path": "path", "datetime": "time"}
    name = getattr(annotation, "__name__", str(annotation))
    return words.get(name, name)


# --- settings ---------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """The table of `docs/settings.md`."""
    return "\n".join([HEAD, "|---|---|---|---|", *(_setting(*pair) for pair in Settings.model_fields.items())])


def _setting(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, "") else f"`{field.default}`"
    return f"| `{PREFIX}{name.upper()}` | {cell(field.description)} | {default} | {_range(field)} |"


def _range(field: FieldInfo) -> str:
    if typing.get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(field.annotation))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(one, word)}" for one in field.metadata for word, sign in signs.items() if hasattr(one, word)
    ]
    return ", ".join(bounds)


def settings_page() -> str:
    """`docs/settings.md` with the table that the code gives; its words are written by hand."""
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    return re.sub(rf"^{re.escape(HEAD)}\n(\|.*\n)+", lambda _: f"{settings_table()}\n", text, flags=re.MULTILINE)


# --- events -----------------------------------------------------------------------------------------------------


def events_page() -> str:
    """The schemas of all events as tables."""
    parts = [
        "# Events",
        MADE,
        "Events are [CloudEvents 1.0](https://github.com/cloudevents/spec) in Kafka's binary mode: headers `ce_id`, "
        "`ce_source` (`/cameras/CAMERA`), `ce_type`, `ce_subject` (`RUN/SEQUENCE`), `ce_time` (capture time), "
        "`content-type`, and JSON as the value. `streamproc events --json` prints them in structured mode, one object "
        "a line with these tables' fields in `data`. Ids are made of camera, run, sequence, pipeline and kind, so the "
        "same event has the same id however often it is made.",
    ]
    for path in sorted(SCHEMAS.glob("*.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        rows = [f"| `{name}` | {kind} | {cell(told)} |" for name, kind, told in _fields(schema, schema, "")]
        parts += [
            f"## {schema['title']}",
            schema["description"],
            f"JSON Schema: [{path.name}](../schemas/{path.name}). Fields in italics may be absent.",
            "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows]),
        ]
    return "\n\n".join(parts) + "\n"


def _fields(schema: Any, root: Any, before: str) -> Iterator[tuple[str, str, str]]:
    schema = _resolved(schema, root)
    needed = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        found = _resolved(one, root)
        kind = _kind(found, root)
        yield f"{before}{name}", kind if name in needed else f"*{kind}*", found.get("description", "")
        for inner in found.get("oneOf", [found]):
            inside = _resolved(inner, root)
            yield from _fields(inside, root, f"{before}{name}.")
            if isinstance(inside.get("items"), dict):
                yield from _fields(inside["items"], root, f"{before}{name}[].")


def _resolved(schema: Any, root: Any) -> Any:
    if "$ref" in schema:
        return {**root["$defs"][schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _kind(schema: Any, root: Any) -> str:
    schema = _resolved(schema, root)
    if "oneOf" in schema or "anyOf" in schema:
        return " or ".join(_kind(one, root) for one in schema.get("oneOf", schema.get("anyOf")))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" if one is None else f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kinds = schema.get("type", "any")
    words = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if "prefixItems" in schema:
        return f"array of {len(schema['prefixItems'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        words += f" {low if low is not None else ''}..{high if high is not None else ''}"
    return f"array of {_kind(schema['items'], root)}" if isinstance(schema.get("items"), dict) else words


PAGES: Final[Mapping[Path, Callable[[], str]]] = {
    REFERENCE / "commands.md": commands_page,
    REFERENCE / "events.md": events_page,
    REFERENCE / "python.md": python_page,
    REFERENCE / "topics.md": topics_page,
    REFERENCE / "words.md": words_page,
    ROOT / "docs" / "settings.md": settings_page,
}


def main() -> None:
    """Write all pages anew."""
    for path, page in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
