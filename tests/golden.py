"""Golden messages: how they were made. `python -m tests.golden` writes those of the newest schema that are missing.

A file is msgpack: {"kind", "headers", "value", "expect"}; `expect` is "ok" or the reason it must be refused for.
`earlier/` holds what producers and workers sent before; those files are never written again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamproc import wire
from streamproc.model import (
    Boxes,
    EdgeMap,
    Features,
    Histogram,
    Patch,
    Points,
    Rect,
    Refusal,
    Statistics,
    TileHeader,
)
from streamproc.operators.pixels import encode

FOLDER = Path(__file__).parent / "data"


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """One stored message."""

    kind: str
    headers: list[tuple[str, bytes]]
    value: bytes
    expect: str


def _tile(**changes: Any) -> tuple[TileHeader, bytes]:
    gradient = np.arange(20 * 18, dtype=np.uint16).reshape(18, 20)
    value = encode((gradient % 251).astype(np.uint8), codec="png")
    header = TileHeader(
        camera="gate-1",
        run="file-20260101T000000Z-ab12",
        sequence=7,
        captured_ns=1_767_225_600_123_456_789,
        frame_width=40,
        frame_height=36,
        rows=2,
        cols=2,
        row=0,
        col=0,
        core=Rect(0, 0, 16, 16),
        halo=4,
        codec="png",
        pixel_format="gray8",
        tile_count=4,
        frame_digest=bytes(range(16)),
        payload_digest=wire.digest_payload(value),
    )
    return msgspec.structs.replace(header, **changes), value


def _features(**changes: Any) -> Features:
    header, _ = _tile()
    floats = np.asarray([3.5, 4.25, 9.0, 1.0], "<f4").tobytes()
    made = Features(
        tile=header,
        partition=3,
        offset=41,
        published_ns=1_767_225_600_130_000_000,
        started_ns=1_767_225_600_140_000_000,
        finished_ns=1_767_225_600_150_000_000,
        pipeline="0123456789abcdef",
        operators={"edges": 1, "orb": 1},
        results={
            "edges": EdgeMap(core=header.core, decided=bytes(range(32)), loose_at=b"\x05\0\0\0", loose_bits=b"\x80"),
            "orb": Points(xy=floats, response=floats[:8], descriptors=bytes(64), descriptor_bytes=32, limit=500),
            "faces": Boxes(label="face", xyxy=floats, score=floats[:4]),
            "gray_histogram": Histogram(counts=[[1, 2, 3]]),
            "@frame": Patch(core=header.core, channels=0, kind="u1", data=bytes(256)),
            "statistics": Statistics(count=256, total=[1000], squares=[9000], low=[0], high=[250]),
        },
        thumbnail=bytes(64),
        thumbnail_scale=2,
    )
    return msgspec.structs.replace(made, **changes)


def messages() -> dict[str, Golden]:
    """Every golden message of today's schemas by file name, as made from today's code."""
    header, value = _tile()
    good = wire.tile_headers(header)
    packed = good[0][1]

    def tile(expect: str, *, headers: Any = None, body: bytes = value, **changes: Any) -> Golden:
        changed = [("tile", msgspec.msgpack.encode(msgspec.structs.replace(header, **changes)))]
        made = headers if headers is not None else changed
        return Golden(kind="tile", headers=made, value=body, expect=expect)

    def features(expect: str, body: bytes) -> Golden:
        return Golden(kind="features", headers=[], value=body, expect=expect)

    edges = EdgeMap(core=header.core, decided=b"short", loose_at=b"", loose_bits=b"")
    points = Points(xy=bytes(4), response=bytes(8))
    patch = Patch(core=header.core, channels=3, kind="u1", data=bytes(256))
    boxes = Boxes(label="face", xyxy=bytes(32), score=bytes(8), labels=["one"])
    whole = wire.encode_features(_features())
    newer = msgspec.msgpack.encode({**msgspec.msgpack.decode(packed), "schema": 3, "surprise": 1})
    return {
        "tile-v1": tile("ok", headers=good),
        "tile-v1-unknown-header": tile("ok", headers=[*good, ("traceparent", b"00-0-0-01"), ("x", b"")]),
        "tile-v1-base": tile("ok", base=True, clock="rtcp", first=7),
        "tile-v2-reference": tile("ok", body=b"", schema=2, same_as=41),
        "tile-refused-reference-with-value": tile("length", schema=2, same_as=41),
        "tile-refused-reference-negative": tile("limits", body=b"", schema=2, same_as=-1),
        "tile-refused-reference-and-base": tile("limits", body=b"", schema=2, same_as=41, base=True),
        "tile-refused-reference-of-schema-1": tile("schema", body=b"", same_as=41),
        "tile-refused-first-negative": tile("limits", first=-1),
        "tile-refused-held-negative": tile("limits", held=-1),
        "tile-refused-held-more-than-all": tile("limits", held=5),
        "tile-refused-first-later": tile("limits", first=8),
        "tile-refused-no-header": tile("envelope", headers=[("content-type", b"image/png")]),
        "tile-refused-two-headers": tile("envelope", headers=[good[0], good[0]]),
        "tile-refused-cut-header": tile("envelope", headers=[("tile", packed[:-9])]),
        "tile-refused-garbage-header": tile("envelope", headers=[("tile", b"\xff\xfe not msgpack")]),
        "tile-refused-huge-header": tile("length", headers=[("tile", packed + bytes(5000))]),
        "tile-refused-many-headers": tile("envelope", headers=[*good, *[("x", b"")] * 100]),
        "tile-refused-newer-schema": tile("schema", headers=[("tile", newer)]),
        "tile-refused-schema-zero": tile("schema", schema=0),
        "tile-refused-camera-newline": tile("envelope", camera="gate\n1"),
        "tile-refused-camera-long": tile("envelope", camera="g" * 500),
        "tile-refused-run-path": tile("envelope", run="../../etc"),
        "tile-refused-unknown-codec": tile("envelope", codec="tiff"),
        "tile-refused-encrypted": tile("codec", key_id="k1"),
        "tile-refused-empty": tile("length", body=b""),
        "tile-refused-cut-value": tile("checksum", body=value[:-1]),
        "tile-refused-flipped-bit": tile("checksum", body=bytes([value[0] ^ 1]) + value[1:]),
        "tile-refused-raw-length": tile("length", codec="raw"),
        "tile-refused-huge-frame": tile("limits", frame_width=65_535, frame_height=65_535),
        "tile-refused-zero-frame": tile("limits", frame_width=0),
        "tile-refused-tile-count": tile("limits", tile_count=5),
        "tile-refused-row": tile("limits", row=2),
        "tile-refused-core-outside": tile("limits", core=Rect(30, 0, 16, 16)),
        "tile-refused-core-negative": tile("limits", core=Rect(-1, 0, 16, 16)),
        "tile-refused-core-empty": tile("limits", core=Rect(0, 0, 0, 16)),
        "tile-refused-halo": tile("limits", halo=5000),
        "tile-refused-sequence": tile("limits", sequence=-1),
        "tile-refused-short-digest": tile("envelope", frame_digest=b"x"),
        "features-v2": features("ok", whole),
        "features-v2-refusal": features(
            "ok",
            wire.encode_features(_features(results={}, refusal=Refusal(reason="decode", detail="broken"))),
        ),
        "features-refused-empty": features("length", b""),
        "features-refused-cut": features("envelope", whole[:-5]),
        "features-refused-newer-schema": features("schema", wire.encode_features(_features(schema=9))),
        "features-refused-edge-map": features("length", wire.encode_features(_features(results={"edges": edges}))),
        "features-refused-patch": features("length", wire.encode_features(_features(results={"@gray": patch}))),
        "features-refused-boxes": features("length", wire.encode_features(_features(results={"faces": boxes}))),
        "features-refused-points": features("length", wire.encode_features(_features(results={"orb": points}))),
    }


def main() -> None:
    """Write the files that are missing."""
    FOLDER.mkdir(exist_ok=True)
    for name, message in messages().items():
        path = FOLDER / f"{name}.msgpack"
        if not path.exists():
            path.write_bytes(msgspec.msgpack.encode(message))


if __name__ == "__main__":
    main()
