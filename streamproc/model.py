"""The values that travel: frames, tiles, features, events. No behaviour beyond geometry, no I/O.

Coordinates: x to the right, y down, in pixels of the whole frame; arrays are (rows, cols[, channels]), BGR order
as OpenCV has it. Every value is frozen. Values that go over the wire are msgspec Structs, so that `wire.py` needs
no second definition of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""Shape (rows, cols) grey or (rows, cols, 3) BGR, uint8."""

Codec = Literal["jpeg", "png", "raw"]
PixelFormat = Literal["gray8", "bgr8"]
Outcome = Literal["complete", "partial", "expired", "rejected"]
Clock = Literal["wall", "pts", "rtcp"]

CODECS: tuple[Codec, ...] = ("jpeg", "png", "raw")
OUTCOMES: tuple[Outcome, ...] = ("complete", "partial", "expired", "rejected")
CHANNELS: dict[PixelFormat, int] = {"gray8": 1, "bgr8": 3}
PATCH_BYTES: dict[str, int] = {"u1": 1, "f4": 4}
"""Of one value of a `Patch`, by kind."""


class Rect(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A rectangle of whole pixels; `right` and `bottom` are exclusive."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column to the right of the rectangle."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below the rectangle."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """Pixels inside."""
        return self.width * self.height

    def grown(self, margin_px: int, *, width: int, height: int) -> Rect:
        """Grow by `margin_px` on each side, clipped to a frame of `width` x `height`."""
        x, y = max(0, self.x - margin_px), max(0, self.y - margin_px)
        return Rect(x, y, min(width, self.right + margin_px) - x, min(height, self.bottom + margin_px) - y)

    def within(self, outer: Rect) -> tuple[slice, slice]:
        """Row and column slices of this rectangle inside an array that covers `outer`."""
        return slice(self.y - outer.y, self.bottom - outer.y), slice(self.x - outer.x, self.right - outer.x)


class Grid(msgspec.Struct, frozen=True, array_like=True, order=True):
    """How a frame is cut: `rows` x `cols` tiles."""

    rows: int
    cols: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.rows * self.cols

    def __str__(self) -> str:
        return f"{self.rows}x{self.cols}"


class FrameKey(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which frame: `sequence` counts from 0 inside one `run` (one start of one producer) of one camera."""

    camera: str
    run: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture as a source yields it.

    Attributes:
        pixels: (rows, cols) or (rows, cols, 3) uint8.
        captured_ns: Wall clock at capture (or at reading, for files), nanoseconds since 1970. What a camera says is
            passed on as it is: it may jump, repeat or go back.
        clock: Where `captured_ns` comes from: `wall` is ours at reading, `pts` the stream's own time counted from ours
            at its first frame, and anew when it is off by more than 3 s, `rtcp` the camera's wall clock by its RTCP
            sender reports (RFC 3550, 6.4.1).
        keyframe: It needs no other frame to be decoded; true where the source does not say.
        receipt: Told once what became of the frame: true when all its tiles are in the log, false when it was dropped
            or failed. Called on whichever thread learns of it; must be quick.
    """

    pixels: Pixels
    captured_ns: int
    clock: Clock = "wall"
    keyframe: bool = True
    receipt: Callable[[bool], None] | None = None


class TileHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to judge a tile without decoding it; the `tile` header of a record.

    Attributes:
        core: The part of the frame this tile owns. Cores of a frame partition it.
        halo: Pixels around the core that travel with it, clipped at the frame's border: the encoded picture covers
            `core.grown(halo)`.
        frame_digest: xxh3-128 of the source pixels; equal on all tiles of a frame, or the frame is in conflict.
        payload_digest: xxh3-64 of the record's value.
        preview: The frame was chosen for preview pictures (a few a second).
        key_id: Key of the encrypted payload; None for plain.
        clock: Where `captured_ns` comes from; see `Frame`.
        first: Lowest sequence of its run that was sent; above 0 where a run is replayed from its middle.
        base: Later tiles of its place may refer to this one's pixels.
        same_as: Set on a tile without a payload: its pixels are those of the `base` tile at this offset of the record's
            own partition, which `payload_digest` belongs to.
        held: Tiles of the frame that had changed and are shown as they were before, because there was no room.
    """

    schema: int = 1
    camera: str
    run: str
    sequence: int
    captured_ns: int
    frame_width: int
    frame_height: int
    rows: int
    cols: int
    row: int
    col: int
    core: Rect
    halo: int
    codec: Codec
    pixel_format: PixelFormat
    tile_count: int
    frame_digest: bytes
    payload_digest: bytes
    preview: bool = False
    key_id: str | None = None
    clock: Clock = "wall"
    first: int = 0
    base: bool = False
    same_as: int | None = None
    held: int = 0

    @property
    def key(self) -> FrameKey:
        """The frame this tile belongs to."""
        return FrameKey(self.camera, self.run, self.sequence)

    @property
    def index(self) -> int:
        """Position of the tile in its frame, row by row."""
        return self.row * self.cols + self.col

    @property
    def rect(self) -> Rect:
        """What the encoded picture covers: core and halo, clipped to the frame."""
        return self.core.grown(self.halo, width=self.frame_width, height=self.frame_height)


# --- what operators say about one tile -------------------------------------------------------------------------


class EdgeMap(msgspec.Struct, frozen=True, kw_only=True, tag="edges"):
    """Edges of one tile's core, decided as far as the tile alone can decide them.

    Masks are bit-packed row by row (`np.packbits(mask, axis=1)`), so a row takes ceil(width / 8) bytes.

    Attributes:
        decided: Pixels that are edges whatever the neighbours say: connected, inside the core, to a strong pixel.
        loose_at: Little-endian uint32 positions of the non-zero bytes of the packed mask of loose pixels: weak pixels
            whose component reaches the core's border without a strong pixel. A neighbour may still make them edges.
        loose_bits: Those bytes.
    """

    core: Rect
    decided: bytes
    loose_at: bytes
    loose_bits: bytes


class Points(msgspec.Struct, frozen=True, kw_only=True, tag="points"):
    """Points of one tile's core or of a whole frame, strongest first.

    Attributes:
        xy: float32 little-endian, N pairs of frame coordinates.
        response: float32, N values, in the operator's own scale.
        descriptors: N rows of `descriptor_bytes` bytes, or empty.
        limit: At most this many of the whole frame's points are kept when tiles are merged; 0 keeps all.
    """

    xy: bytes
    response: bytes
    descriptors: bytes = b""
    descriptor_bytes: int = 0
    limit: int = 0


class Boxes(msgspec.Struct, frozen=True, kw_only=True, tag="boxes"):
    """Recognised objects in frame coordinates.

    Attributes:
        xyxy: float32 little-endian, N rows of x1, y1, x2, y2.
        score: float32, N values in the detector's own scale.
        iou: Boxes of one label that overlap by at least this much are one object.
        labels: One for each box, where they differ; empty: all are `label`.
        tracks: Identity of each box over frames; empty: not followed.
        figures: What else a step has to say of a whole frame.
    """

    label: str
    xyxy: bytes
    score: bytes
    iou: float = 0.4
    labels: list[str] = []
    tracks: list[str] = []
    figures: dict[str, float] = {}


class Histogram(msgspec.Struct, frozen=True, kw_only=True, tag="histogram"):
    """Counts of pixel values, one row for each channel; sums exactly over tiles."""

    counts: list[list[int]]


class Statistics(msgspec.Struct, frozen=True, kw_only=True, tag="statistics"):
    """Exact sums per channel, from which mean and deviation follow; add up exactly over tiles."""

    count: int
    total: list[int]
    squares: list[int]
    low: list[int]
    high: list[int]


class Patch(msgspec.Struct, frozen=True, kw_only=True, tag="patch"):
    """Pixels of one tile's core on their way to a step that works on the whole frame.

    Attributes:
        channels: 0 for (rows, cols), 3 for (rows, cols, 3).
        kind: "u1" (uint8) or "f4" (little-endian float32).
        data: Row by row, without padding.
    """

    core: Rect
    channels: int
    kind: str
    data: bytes


class Figures(msgspec.Struct, frozen=True, kw_only=True, tag="figures"):
    """Named numbers, texts and lists of them about a whole frame; told in events as they are."""

    values: dict[str, Any]


class Labels(msgspec.Struct, frozen=True, kw_only=True, tag="labels"):
    """What a classifier takes a whole frame for: (label, score in 0..1), best first."""

    scores: list[tuple[str, float]]


class Vitals(msgspec.Struct, frozen=True, kw_only=True, tag="vitals"):
    """Exact sums over the core of a tile, or over a frame; they add up over tiles.

    Attributes:
        columns, rows: Of the frame's grid of cells, the same for all its tiles.
        area: The cells that `cells` stands for, in cells.
        cells: Sums of grey levels of each cell's pixels, as far as the tile has them, row by row, little-endian uint32.
        pixels: How many.
        total, squares: Sums of grey levels and of their squares.
        bright: Pixels of 250 or above.
        laplacian: Sum of squares of the 3x3 Laplacian of the smoothed picture, in 1/16 grey levels.
        digest: Sum of all pixels, each weighted by its place, modulo 2^64; the same for the same pixels.
    """

    columns: int
    rows: int
    area: Rect
    cells: bytes
    pixels: int
    total: int
    squares: int
    bright: int
    laplacian: int
    digest: int


Result: TypeAlias = EdgeMap | Points | Boxes | Histogram | Statistics | Patch | Figures | Labels | Vitals


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a tile has no results: it went to dead letters."""

    reason: str
    detail: str


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What one tile gave; the value of a record on the features topic.

    Attributes:
        tile: The header of the tile it came from.
        partition, offset: Where that tile stands in the tiles topic.
        published_ns, started_ns, finished_ns: Wall clock: tile record's timestamp, work began, work ended.
        pipeline: Digest of the pipeline that ran.
        operators: Operator versions by step, as they ran.
        results: By step name.
        thumbnail: Core of the tile reduced by `thumbnail_scale`, encoded by `thumbnail_codec`; on preview frames only.
        refusal: Set when the tile was refused; then there are no results.
    """

    schema: int = 2
    tile: TileHeader
    partition: int
    offset: int
    published_ns: int
    started_ns: int
    finished_ns: int
    pipeline: str
    operators: dict[str, int] = {}
    results: dict[str, Result] = {}
    thumbnail: bytes = b""
    thumbnail_scale: int = 0
    thumbnail_codec: Codec = "raw"
    refusal: Refusal | None = None


# --- what a frame gave ------------------------------------------------------------------------------------------


class DetectedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised thing; `box` is x1, y1, x2, y2 in pixels of the frame."""

    label: str
    score: float
    box: tuple[float, float, float, float]
    track: str | None = None
    source: str


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened on a frame (a track begins, a line is crossed) and gets an event of its own.

    Attributes:
        kind: Names the event's type: "track", "rule", "anomaly".
        what: Of that kind: "new", "end", "crossed", "frozen", ...; with `subject` unique for one frame and step.
        subject: What it is about: a track, a zone; may be empty.
        data: JSON-able values of its own.
    """

    kind: str
    what: str
    subject: str = ""
    data: dict[str, Any] = {}


class EdgeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Edges of a frame; `digest` = sha256 hex of `np.packbits(edge_map > 0)`, row by row over the whole frame."""

    operator: str
    pixels: int
    density: float
    digest: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Where an event came from: tile offsets by partition (first, last), pipeline digest, operator versions."""

    topic: str
    offsets: dict[str, tuple[int, int]]
    pipeline: str
    operators: dict[str, int]


class FrameEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Data of `io.streamproc.frame.v1`: exactly one for each frame, whatever became of it.

    Attributes:
        clock: Where `captured_ns` comes from; see `Frame`. Events from before it was told say nothing of it.
        held_tiles: Tiles that had changed and are shown as they were before, because the producer had no room.
    """

    camera: str
    run: str
    sequence: int
    captured_ns: int
    clock: Clock = "wall"
    emitted_ns: int
    width: int
    height: int
    outcome: Outcome
    coverage: float
    missing_tiles: list[tuple[int, int]]
    edges: EdgeSummary | None
    features: dict[str, Any]
    objects: list[DetectedObject]
    classification: list[dict[str, Any]] = []
    evidence: Evidence
    latency_ms: dict[str, float]
    reason: str | None = None
    held_tiles: int = 0

    @property
    def key(self) -> FrameKey:
        """The frame this event tells of."""
        return FrameKey(self.camera, self.run, self.sequence)
