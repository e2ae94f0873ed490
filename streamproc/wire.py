"""Values to bytes and back: how tiles, features and pictures look on the wire.

A tile is a record whose value is the encoded picture alone and whose `tile` header is a msgpack map; features are
msgpack; events stand in `cloudevents.py`. Whatever comes from outside is judged here, before any pixel is decoded:
lengths, numbers, sizes, the geometry of the cut, digests. What is wrong raises `BadMessage` with its reason. Golden
messages of each schema version stand in `tests/data/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from streamproc.errors import BadMessage, Reason
from streamproc.model import (
    CHANNELS,
    PATCH_BYTES,
    Boxes,
    EdgeMap,
    Features,
    FrameKey,
    Patch,
    Points,
    Result,
    TileHeader,
)

Headers: TypeAlias = list[tuple[str, bytes]]
RawHeaders: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Headers as Kafka has them: a value may be null."""

TILE_SCHEMA = 1
REFERENCE_SCHEMA = 2  # of a tile that names another's pixels; what reads schema 1 alone refuses it
FEATURES_SCHEMA = 2
TILE_HEADER = "tile"
TRACEPARENT = "traceparent"
CONTENT_TYPES = {"jpeg": b"image/jpeg", "png": b"image/png", "raw": b"application/octet-stream"}

MAX_HEADER_BYTES = 4096  # a real one takes about 450
MAX_PAYLOAD_BYTES = 8 * 2**20
MAX_SIDE_PX = 65_535
MAX_TILES = 65_536
MAX_HALO_PX = 1024
MAX_HEADERS = 64
THUMBNAIL_SCALES = (1, 2, 4, 8)
REDRIVE_HEADERS = 3  # more on a record that comes back from dead letters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_pack = msgspec.msgpack.Encoder()
_tile_header = msgspec.msgpack.Decoder(TileHeader)
_features = msgspec.msgpack.Decoder(Features)


def digest_payload(payload: bytes) -> bytes:
    """xxh3-64 of an encoded tile, 8 bytes: finds damage, not malice."""
    return xxhash.xxh3_64_digest(payload)


def digest_frame(pixels: NDArray[Any]) -> bytes:
    """xxh3-128 of a frame's shape and pixels, 16 bytes."""
    state = xxhash.xxh3_128(repr(pixels.shape).encode())
    state.update(np.ascontiguousarray(pixels).data)
    return state.digest()


# --- tiles -------------------------------------------------------------------------------------------------------


def tile_headers(header: TileHeader, *, trace: bytes | None = None) -> Headers:
    """The Kafka headers of a tile record; of one without a picture as few as can be, for it is to be small.

    Args:
        header: Of the tile.
        trace: W3C trace context of a frame that is traced; None is one that is not, which needs none if it is small.
    """
    if header.same_as is not None:
        return [(TILE_HEADER, _pack.encode(header)), *([] if trace is None else [(TRACEPARENT, trace)])]
    return [
        (TILE_HEADER, _pack.encode(header)),
        ("content-type", CONTENT_TYPES[header.codec]),
        (TRACEPARENT, trace or traceparent(header)),
    ]


def trace_id(key: FrameKey) -> str:
    """The trace of a frame, 32 hexadecimal digits: always the same for the same frame."""
    return xxhash.xxh3_128_hexdigest(f"{key.camera}/{key.run}/{key.sequence}".encode())


def traceparent(header: TileHeader) -> bytes:
    """W3C trace context of a tile whose frame is not traced: one trace for each frame; deterministic, not sampled.

    References:
        https://www.w3.org/TR/trace-context/
    """
    frame = f"{header.camera}/{header.run}/{header.sequence}"
    span = xxhash.xxh3_64_hexdigest(f"{frame}/{header.index}".encode())
    return f"00-{trace_id(header.key)}-{span}-00".encode()


def check_tile(header: TileHeader, payload: bytes | None, *, max_frame_pixels: int) -> None:
    """Judge a tile record without decoding its picture.

    Args:
        header: As `read_tile_header` gives it.
        payload: The record's value; empty for a tile that names the record of its pixels: see `check_payload`.
        max_frame_pixels: Frames above this are refused.

    Raises:
        BadMessage: `limits` (sizes and geometry), `length` (empty, oversized or impossible payload), `checksum` (the
            payload is not what was sent), `codec` (encrypted).
    """
    _check_geometry(header, max_frame_pixels=max_frame_pixels)
    if header.same_as is None:
        check_payload(header, payload)
        return
    _require(not payload, "length", f"payload of {len(payload or b'')} bytes on a tile that names another's")
    _require(header.schema >= REFERENCE_SCHEMA, "schema", f"a reference in schema {header.schema}")
    _require(0 <= header.same_as < 2**63 and not header.base, "limits", f"refers to offset {header.same_as}")


def read_tile_header(headers: Iterable[tuple[str, bytes]] | None) -> TileHeader:
    """Read the `tile` header alone; enough to say which frame a refused tile belongs to.

    Raises:
        BadMessage: `envelope` or `schema`.
    """
    found = list(headers or ())
    if len(found) > MAX_HEADERS + REDRIVE_HEADERS:
        raise BadMessage("envelope", f"{len(found)} headers, at most {MAX_HEADERS} are read")
    packed = [value for name, value in found if name == TILE_HEADER]
    if len(packed) != 1 or packed[0] is None:
        raise BadMessage("envelope", f"expected one '{TILE_HEADER}' header, found {len(packed)}")
    if len(packed[0]) > MAX_HEADER_BYTES:
        raise BadMessage("length", f"tile header of {len(packed[0])} bytes, at most {MAX_HEADER_BYTES}")
    _check_schema(packed[0], newest=REFERENCE_SCHEMA, what="tile")
    try:
        header = _tile_header.decode(packed[0])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage("envelope", f"tile header: {error}") from None
    _check_names(header)
    return header


def _check_schema(packed: bytes, *, newest: int, what: str) -> None:
    """Read the version alone first, so that a newer message is told apart from a broken one."""
    try:
        version = _version.decode(packed).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage("envelope", f"{what}: {error}") from None
    if not 1 <= version <= newest:
        raise BadMessage("schema", f"{what} schema version {version}; this worker reads 1 to {newest}")


class _Version(msgspec.Struct):
    schema: int


_version = msgspec.msgpack.Decoder(_Version)


def _check_names(header: TileHeader) -> None:
    for name, value in (("camera", header.camera), ("run", header.run)):
        if not _NAME.fullmatch(value):
            raise BadMessage("envelope", f"{name} {value[:120]!r}: letters, digits, '.', '_' and '-', at most 100")


def _require(truth: bool, reason: Reason, detail: str) -> None:
    if not truth:
        raise BadMessage(reason, detail)


def _check_geometry(header: TileHeader, *, max_frame_pixels: int) -> None:
    width, height, core = header.frame_width, header.frame_height, header.core
    _require(
        0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX and width * height <= max_frame_pixels,
        "limits",
        f"frame of {width}x{height} px; at most {MAX_SIDE_PX} a side and {max_frame_pixels} px in all",
    )
    _require(
        header.rows > 0 and header.cols > 0 and header.rows * header.cols == header.tile_count <= MAX_TILES,
        "limits",
        f"grid {header.rows}x{header.cols} with {header.tile_count} tiles",
    )
    _require(
        0 <= header.row < header.rows and 0 <= header.col < header.cols,
        "limits",
        f"tile {header.row},{header.col} of a {header.rows}x{header.cols} grid",
    )
    _require(
        core.x >= 0
        and core.y >= 0
        and core.width > 0
        and core.height > 0
        and core.right <= width
        and core.bottom <= height,
        "limits",
        f"core {tuple(_as_list(core))} of a {width}x{height} frame",
    )
    _require(0 <= header.halo <= MAX_HALO_PX, "limits", f"halo of {header.halo} px, at most {MAX_HALO_PX}")
    _require(
        header.sequence >= 0 and 0 <= header.captured_ns < 2**63,
        "limits",
        f"sequence {header.sequence}, capture time {header.captured_ns}",
    )
    _require(0 <= header.held <= header.tile_count, "limits", f"{header.held} of {header.tile_count} tiles held back")
    _require(0 <= header.first <= header.sequence, "limits", f"sequence {header.sequence} of a run from {header.first}")
    _require(
        len(header.frame_digest) == 16 and len(header.payload_digest) == 8,
        "envelope",
        "digest of a wrong length",
    )
    _require(
        header.key_id is None,
        "codec",
        f"payload encrypted with key {header.key_id!r}; this worker has no keys",
    )


def _as_list(core: Any) -> list[int]:
    return [core.x, core.y, core.width, core.height]


def check_payload(header: TileHeader, payload: bytes | None) -> None:
    """Judge the encoded picture that a tile's header promises, without decoding it.

    Raises:
        BadMessage: `length` or `checksum`.
    """
    size = len(payload or b"")
    _require(0 < size <= MAX_PAYLOAD_BYTES, "length", f"payload of {size} bytes, expected 1 to {MAX_PAYLOAD_BYTES}")
    if header.codec == "raw":
        expected = header.rect.area * CHANNELS[header.pixel_format]
        _require(size == expected, "length", f"raw payload of {size} bytes, expected {expected}")
    _require(digest_payload(payload or b"") == header.payload_digest, "checksum", "payload differs from its digest")


# --- features ----------------------------------------------------------------------------------------------------


def encode_features(features: Features) -> bytes:
    """The value of a features record."""
    return _pack.encode(features)


def encode_results(results: Mapping[str, Result]) -> bytes:
    """Results alone, without the tile they came from."""
    return _pack.encode(results)


def decode_features(value: bytes | None, *, max_frame_pixels: int = MAX_SIDE_PX * MAX_SIDE_PX) -> Features:
    """Read and judge a features record; frames above `max_frame_pixels` are refused.

    Raises:
        BadMessage: `length`, `envelope`, `schema` or `limits`.
    """
    if not value:
        raise BadMessage("length", "features record without a value")
    _check_schema(value, newest=FEATURES_SCHEMA, what="features")
    try:
        features = _features.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage("envelope", f"features: {error}") from None
    _check_names(features.tile)
    _check_geometry(features.tile, max_frame_pixels=max_frame_pixels)
    _require(
        features.thumbnail_scale in THUMBNAIL_SCALES if features.thumbnail else True,
        "limits",
        f"thumbnail reduced by {features.thumbnail_scale}",
    )
    for name, result in features.results.items():
        _check_result(name, result, features.tile)
    return features


def _check_result(name: str, result: object, tile: TileHeader) -> None:
    """Array lengths must fit what they claim, so that nobody indexes beyond a buffer later."""
    if isinstance(result, EdgeMap):
        packed = tile.core.height * -(-tile.core.width // 8)
        fits = (
            result.core == tile.core
            and len(result.decided) == packed
            and len(result.loose_at) == 4 * len(result.loose_bits)
        )
        _require(fits, "length", f"step {name}: edge map does not fit its core")
    elif isinstance(result, Points):
        count = len(result.response) // 4
        fits = (
            len(result.response) == 4 * count
            and len(result.xy) == 8 * count
            and len(result.descriptors) in (0, count * result.descriptor_bytes)
        )
        _require(fits, "length", f"step {name}: points of unequal lengths")
    elif isinstance(result, Patch):
        size = tile.core.area * max(1, result.channels) * PATCH_BYTES.get(result.kind, 0)
        fits = result.core == tile.core and result.channels in (0, 3) and len(result.data) == size > 0
        _require(fits, "length", f"step {name}: pixels do not fill their core")
    elif isinstance(result, Boxes):
        count = len(result.score) // 4
        fits = len(result.score) == 4 * count and len(result.xyxy) == 16 * count
        named = len(result.labels) in (0, count) and len(result.tracks) in (0, count)
        _require(fits and named, "length", f"step {name}: boxes of unequal lengths")


# --- pictures for viewers ----------------------------------------------------------------------------------------


def picture_headers(key: FrameKey, *, kind: str, content_type: str, captured_ns: int) -> Headers:
    """Headers of a record on the `edges` topic; `kind` is `edges` or `preview`."""
    about = {
        "schema": 1,
        "camera": key.camera,
        "run": key.run,
        "sequence": key.sequence,
        "kind": kind,
        "captured_ns": captured_ns,
    }
    return [("picture", _pack.encode(about)), ("content-type", content_type.encode())]


def read_picture(headers: Iterable[tuple[str, bytes]] | None) -> tuple[FrameKey, str] | None:
    """Frame and kind of a record on the `edges` topic; None if it is something else."""
    packed = dict(headers or ()).get("picture")
    if packed is None:
        return None
    try:
        about = msgspec.msgpack.decode(packed, type=dict[str, str | int])
        return FrameKey(str(about["camera"]), str(about["run"]), int(about["sequence"])), str(about["kind"])
    except (msgspec.DecodeError, KeyError, ValueError):
        return None
