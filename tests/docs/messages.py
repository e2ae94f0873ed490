"""The reference page of topics and messages, from `topics.py`, `model.py` and `letterhead.py`."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Sequence
from typing import Final

import msgspec

from streamproc import letterhead
from streamproc.model import EdgeSummary, Evidence, Features, FrameKey, TileHeader
from streamproc.settings import Settings
from streamproc.topics import DAY_MS, HOUR_MS, MINUTE_MS, Topics, TopicSpec, camera_partition, tile_partition
from streamproc.wire import picture_headers

ABOUT: Final = {
    "tiles": ("`camera/run/row/col`", tile_partition, "the encoded picture of a tile, nothing else"),
    "features": ("`camera/run`", camera_partition, "msgpack, see below"),
    "events": ("`camera`", camera_partition, "JSON, see [events](events.md)"),
    "edges": ("`camera`", camera_partition, "a PNG of a frame's edges, or a JPEG preview"),
    "deadletters": ("key of the record", None, "the record's own value, untouched"),
}
INTRODUCTION: Final = """\
All names begin with `STREAMPROC_PREFIX` (`streamproc.`). All topics have the same number of partitions
(`STREAMPROC_PARTITIONS` when they are created), because a camera's features and events must stand in partitions of one
number. `streamproc topics create` makes them with these configs, `streamproc topics check` says what differs. The
consumer group of all workers is `streamproc.workers`."""


def topics_page() -> str:
    """Topics with their configs, keys and partitions; what stands in the records."""
    partitions = Settings.model_fields["partitions"].default
    specs = Topics("").specs(partitions=partitions)
    return (
        "\n\n".join(
            [
                "# Topics and messages",
                "<!-- made by `python -m tests.docs.reference`; do not edit it here -->",
                INTRODUCTION,
                _table(("topic", "key", "value", "kept"), [_topic(spec) for spec in specs]),
                "## Configs",
                f"With {partitions} partitions. `cleanup.policy` is `delete` and `compression.type` is `producer` "
                "everywhere: pictures are compressed already.",
                _configs(specs),
                "## Partitions",
                "Computed in one place and passed explicitly, because the clients' default hashes differ.",
                _code(tile_partition),
                _code(camera_partition),
                "## Headers of a tile",
                "`tile` is msgpack of the fields below (a map), `content-type` is that of the value (`image/jpeg`, "
                "`image/png`, `application/octet-stream`), `traceparent` is W3C trace context. The record's timestamp "
                "is the time of publishing; capture time is `captured_ns`. Rectangles are `[x, y, width, height]`.",
                _fields(TileHeader),
                "## Value of features",
                "A msgpack map; numbers are those of `streamproc/model.py`.",
                _fields(Features),
                "## Headers of a picture",
                "Records of `edges` have `content-type` (`image/png` of edges, `image/jpeg` of a preview) and "
                "`picture`, msgpack of a map such as this:",
                _picture(),
                "## Headers of a dead letter",
                re.search(r"\| header.*?(?=\n\n)", str(letterhead.__doc__), re.DOTALL)[0],  # type: ignore[index]
                "All other headers are the record's own. What each reason means: [dead letters](../deadletters.md).",
                "## Where an event came from",
                str(inspect.getdoc(Evidence)),
                _fields(Evidence),
                str(inspect.getdoc(EdgeSummary)),
            ]
        )
        + "\n"
    )


def _topic(spec: TopicSpec) -> tuple[str, ...]:
    key, partition, value = ABOUT[spec.name]
    kept = _time(int(spec.config["retention.ms"]))
    if "retention.bytes" in spec.config:
        kept += f", at most {int(spec.config['retention.bytes']) * spec.partitions / 2**30:g} GiB in all"
    where = f"{key}; partition: `{partition.__name__}`" if partition else f"{key}; partition: of the same number"
    return f"`{spec.name}`", where, value, kept


def _configs(specs: tuple[TopicSpec, ...]) -> str:
    shown = ["max.message.bytes", "retention.ms", "retention.bytes", "segment.bytes", "segment.ms"]
    return _table(
        ("topic", *(f"`{name}`" for name in shown)),
        [(f"`{spec.name}`", *(spec.config.get(name, "") for name in shown)) for spec in specs],
    )


def _time(ms: int) -> str:
    for unit, word in ((DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute")):
        if ms % unit == 0:
            return f"{ms // unit} {word}{'' if ms == unit else 's'}"
    return f"{ms} ms"


def _code(function: object) -> str:
    return f"```text\n{inspect.getsource(function).rstrip()}\n```"  # type: ignore[arg-type]  # functions only


def _picture() -> str:
    key = FrameKey("gate", "live-20260131T120000Z-4f1a", 7)
    headers = picture_headers(key, kind="edges", content_type="image/png", captured_ns=1_769_860_800_000_000_000)
    return f"```json\n{json.dumps(msgspec.msgpack.decode(dict(headers)['picture']))}\n```"


def _fields(struct: type[msgspec.Struct]) -> str:
    """Fields with types, defaults, and what the docstring says of them."""
    told = _told(str(inspect.getdoc(struct)))
    hints = typing.get_type_hints(struct)
    rows = []
    for one in msgspec.structs.fields(struct):
        default = "" if one.required else f"`{one.default!r}`" if one.default is not msgspec.NODEFAULT else "empty"
        rows.append((f"`{one.name}`", _type(hints[one.name]), default, told.get(one.name, "")))
    return _table(("field", "type", "default", "meaning"), rows)


def _told(docstring: str) -> dict[str, str]:
    section = docstring.partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    for match in re.finditer(r"^ {4}([\w, ]+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
        for name in match[1].split(", "):
            found[name] = " ".join(match[2].split())
    return found


def _type(hint: object) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b(?:\w+\.)+", "", text).replace("|", "or")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(' '.join(one.split()) for one in line)} |" for line in lines)
