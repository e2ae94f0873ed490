"""How large a cluster must be for so many cameras: pure arithmetic over measured figures; `docs/sizing.md` explains it.

Each figure says where it was measured; what was not measured but assumed says that. A plan buys so much that steady
load fills `UTILISATION` of it, since latency was measured at half load (`docs/performance.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from producers.grids import Demand, choose_grid
from streamproc.errors import UsageError
from streamproc.metrics import MAX_CAMERAS
from streamproc.settings import Settings
from streamproc.topics import DAY_MS, HOUR_MS, MINUTE_MS, Topics

MB: Final = 10**6
GB: Final = 10**9

REPLICATION: Final = 3
UTILISATION: Final = 0.5
LEAST_BROKERS: Final = 3
BROKER_CORES: Final = 8
BROKER_NETWORK_BYTES: Final = 750 * MB
"""A second, in and out each: 60 % of 10 Gbit/s, so that one may be away and catch up. Assumed."""
BROKER_REPLICAS: Final = 4000
"""Leaders and followers of one broker; the guideline that KIP-578 cites."""
INGEST_CORES: Final = 2.0
"""Of one `streamproc ingest`. Its threads cut and encode; more than two were not measured."""
LEAST_PARTITIONS: Final = 8
MOST_PARTITIONS: Final = 1024
"""`STREAMPROC_PARTITIONS` goes no further."""
TOPICS: Final = len(Topics("").specs(partitions=1))
TILES_KEPT_BYTES: Final = 2**33
"""The tiles topic keeps one hour, and at most this much, all partitions together: STREAMPROC_TILES_KEPT_BYTES."""
EDGES_KEPT_MS: Final = 15 * MINUTE_MS  # ten minutes, and the segment of five that is still open
MOST_PICTURES: Final = 5.0  # STREAMPROC_PREVIEW_PER_S

# Core seconds, from docs/performance.md. What lies around the kernels was 1.73 ms for a tile of 640x384 (50 kB) and
# 0.93 ms for one of 256x256 (13 kB), edges alone: a straight line through both. Of it 0.65 parts of 1.4 are the
# broker's, 0.3 the aggregator's, the rest the worker's that extracts.
KERNEL_S: Final[Mapping[str, float]] = {"edges": 2.60e-3 / (640 * 384), "builtin": 17.3e-3 / (640 * 384)}
"""For a pixel."""
AROUND_S: Final = 0.65e-3
AROUND_BYTE_S: Final = (1.73e-3 - 0.93e-3) / 37_000
BROKER_PART: Final = 0.65 / 1.4
AGGREGATE_PART: Final = 0.3 / 1.4
"""For a tile, and for a byte of it. That a follower's copy costs a broker what the leader's does is assumed."""
REFERENCE_S: Final = 0.03e-3  # docs/changed-tiles.md
INGEST_S: Final = 4.0e-3 / (640 * 480)
"""For a pixel: reading MJPEG, cutting, encoding (docs/cameras.md: 16 cameras of 640x480 at 5 fps, 32 % of a core)."""
PICTURES_S: Final = 5.1e-9
"""For a pixel: one edge picture as PNG and one preview as JPEG (docs/sizing.md)."""
THUMBNAIL_ENCODE_S: Final = 3.3e-9
THUMBNAIL_DECODE_S: Final = 4.9e-9
THUMBNAIL_BYTES: Final = 0.32
"""For a pixel of the reduced picture that travels with the results of a frame (docs/sizing.md)."""

EVENT_BYTES: Final = 1100.0  # docs/sizing.md; without objects
FEATURES_BYTES: Final = 1200.0  # around the mask of a tile, docs/sizing.md
PICTURE_BYTES: Final = 0.074
"""For a pixel and picture on the `edges` topic, 1280x720 (docs/sizing.md); that others are in proportion is assumed."""
REFERENCE_BYTES: Final = 350.0  # docs/changed-tiles.md


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A size of pictures, with what was measured of it (docs/changed-tiles.md; JPEG of quality 90).

    Attributes:
        frame_bytes: A frame as tiles, halo of 16 px and headers included.
        saved: Share of the bytes that changed-only saves while a small thing moves.
        changed_tiles: Tiles of a frame with changed-only.
    """

    name: str
    width: int
    height: int
    frame_bytes: float
    saved: float
    changed_tiles: int

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return self.width * self.height

    @property
    def thumbnail_pixels(self) -> int:
        """Of the picture that travels with the results of a frame which is to be shown; exact."""
        scale = next((scale for scale in (1, 2, 4) if max(self.width, self.height) <= scale * 640), 8)
        return (self.width // scale) * (self.height // scale)


SIZES: Final[Mapping[str, Size]] = {
    size.name: size
    for size in (
        Size(name="480p", width=640, height=480, frame_bytes=6.5e6 / 75, saved=0.57, changed_tiles=20),
        Size(name="720p", width=1280, height=720, frame_bytes=15.1e6 / 75, saved=0.82, changed_tiles=30),
        Size(name="1080p", width=1920, height=1080, frame_bytes=28.1e6 / 75, saved=0.78, changed_tiles=42),
        # Not measured: four times 1080p.
        Size(name="4K", width=3840, height=2160, frame_bytes=4 * 28.1e6 / 75, saved=0.78, changed_tiles=168),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cameras:
    """What is to be watched.

    Attributes:
        fps: Frames a second of each.
        pipeline: edges, or builtin (edges, points, statistics, faces).
        changed_only: Sent so, while a small thing moves in each picture.
        viewers: Who watch all cameras at once.
        archived: Tiles and events are archived too.
        pictures: Frames a second of which a preview and an edge picture are made, `STREAMPROC_PREVIEW_PER_S`.
        tiles_kept_bytes: `STREAMPROC_TILES_KEPT_BYTES`.
    """

    count: int
    size: Size
    fps: float
    pipeline: str = "edges"
    changed_only: bool = False
    viewers: int = 1
    archived: bool = False
    pictures: float = MOST_PICTURES
    tiles_kept_bytes: float = TILES_KEPT_BYTES

    def __post_init__(self) -> None:
        numbers = self.count >= 1 and 0 < self.fps <= 1000 and self.viewers >= 0
        if not (numbers and 0 <= self.pictures <= MOST_PICTURES and self.pipeline in KERNEL_S):
            raise UsageError(
                "cannot be worked out: give cameras from 1, fps above 0 and up to 1000, viewers from 0, pictures from 0"
                f" to {MOST_PICTURES:g}, pipeline {' or '.join(KERNEL_S)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What that needs. Bytes a second, cores, bytes.

    Attributes:
        tiles: Of a frame. tile_bytes: Of a tile with pixels.
        tiles_s: Tile records a second.
        tiles_kept_s: Seconds of tiles that the log holds: one hour, or less by its cap.
        written: Bytes a second into all topics together, once.
        broker_in, broker_out, broker_disk: Of one broker.
        extract_cores, aggregate_cores, ingest_cores, broker_cores: Busy, all processes together.
        workers: Processes with one core, extracting and assembling, at `UTILISATION`.
        breaks: What does not hold, in words; the first is the first to break.
    """

    tiles: int
    tile_bytes: float
    tiles_s: float
    tiles_kept_s: float
    written: float
    broker_in: float
    broker_out: float
    broker_disk: float
    extract_cores: float
    aggregate_cores: float
    ingest_cores: float
    broker_cores: float
    brokers: int
    partitions: int
    workers: int
    ingests: int
    breaks: tuple[str, ...]

    @property
    def cores(self) -> float:
        """To be bought: what is busy at `UTILISATION`."""
        return (self.extract_cores + self.aggregate_cores + self.ingest_cores + self.broker_cores) / UTILISATION


def plan(cameras: Cameras) -> Plan:
    """Work out what cameras need; the automatic grid depends on the partitions, so first for few, then for as many."""
    return _plan(cameras, partitions=_plan(cameras, partitions=LEAST_PARTITIONS).partitions)


def _plan(cameras: Cameras, *, partitions: int) -> Plan:
    size, rate = cameras.size, cameras.count * cameras.fps
    flow = _flow(cameras, partitions)
    tiles_s = rate * flow.records
    tiles_bytes = rate * (size.frame_bytes * flow.sent + (flow.records - flow.fresh) * REFERENCE_BYTES)
    around = tiles_s * AROUND_S + tiles_bytes * AROUND_BYTE_S
    extract = rate * (flow.sent * KERNEL_S[cameras.pipeline] * size.pixels + (flow.records - flow.fresh) * REFERENCE_S)
    extract += around * (1 - BROKER_PART - AGGREGATE_PART)
    shown = cameras.count * min(cameras.fps, cameras.pictures)
    extract += shown * size.thumbnail_pixels * THUMBNAIL_ENCODE_S
    aggregate = around * AGGREGATE_PART
    aggregate += shown * (size.pixels * PICTURES_S + size.thumbnail_pixels * THUMBNAIL_DECODE_S)
    ingest = rate * INGEST_S * size.pixels
    features = rate * (size.pixels / 8 + flow.records * FEATURES_BYTES)
    features += shown * size.thumbnail_pixels * THUMBNAIL_BYTES
    pictures, events = shown * 2 * PICTURE_BYTES * size.pixels, rate * EVENT_BYTES
    written = tiles_bytes + features + pictures + events
    read = tiles_bytes * (1 + cameras.archived) + features + pictures * cameras.viewers
    read += events * (1 + cameras.viewers + cameras.archived)
    broker_cores = around * BROKER_PART * REPLICATION
    workers = math.ceil(extract / UTILISATION) + math.ceil(aggregate / UTILISATION)
    partitions = max(partitions, _partitions(extract, aggregate))
    brokers = _brokers(written=written, read=read, cores=broker_cores, partitions=partitions)
    kept_s = min(HOUR_MS / 1000, cameras.tiles_kept_bytes / tiles_bytes)
    disk = tiles_bytes * kept_s + (features * HOUR_MS + pictures * EDGES_KEPT_MS + events * 7 * DAY_MS) / 1000
    ingests = max(math.ceil(ingest / (UTILISATION * INGEST_CORES)), math.ceil(cameras.count / MAX_CAMERAS))
    return Plan(
        tiles=flow.records,
        tile_bytes=size.frame_bytes * flow.sent / flow.fresh,
        tiles_s=tiles_s,
        tiles_kept_s=kept_s,
        written=written,
        broker_in=written * REPLICATION / brokers,
        broker_out=(read + written * (REPLICATION - 1)) / brokers,
        broker_disk=disk * REPLICATION / brokers,
        extract_cores=extract,
        aggregate_cores=aggregate,
        ingest_cores=ingest,
        broker_cores=broker_cores,
        brokers=brokers,
        partitions=partitions,
        workers=workers,
        ingests=ingests,
        breaks=_breaks(cameras, kept_s=kept_s, brokers=brokers, extract=extract, aggregate=aggregate, ingests=ingests),
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """Of one frame: records, those with pixels, and the share of the pixels that is sent."""

    records: int
    fresh: float
    sent: float


def _flow(cameras: Cameras, partitions: int) -> _Flow:
    size = cameras.size
    if cameras.changed_only:
        sent = 1 - size.saved
        return _Flow(size.changed_tiles, max(1.0, sent * size.changed_tiles), sent)
    defaults = Settings.model_fields
    per_pixel = size.frame_bytes / size.pixels
    grid = choose_grid(
        Demand(
            width=size.width,
            height=size.height,
            codec="jpeg",
            halo=16,
            bytes_per_pixel=per_pixel,
            densest=per_pixel,
            partitions=partitions,
            target_bytes=int(defaults["target_tile_bytes"].default),
            max_bytes=int(defaults["max_tile_bytes"].default),
        )
    ).grid
    return _Flow(grid.count, float(grid.count), 1.0)


def _brokers(*, written: float, read: float, cores: float, partitions: int) -> int:
    """As many as the scarcest of network, cores and replicas asks for; bytes a second of all, busy cores."""
    return max(
        LEAST_BROKERS,
        math.ceil(written * REPLICATION / BROKER_NETWORK_BYTES),
        math.ceil((read + written * (REPLICATION - 1)) / BROKER_NETWORK_BYTES),
        math.ceil(cores / (UTILISATION * BROKER_CORES)),
        math.ceil(partitions * TOPICS * REPLICATION / BROKER_REPLICAS),
    )


def _partitions(extract: float, aggregate: float) -> int:
    """One for each core that extracts or assembles, a power of two, so that tiles spread evenly; 8 at the least."""
    needed = max(LEAST_PARTITIONS, extract / UTILISATION, aggregate / UTILISATION)
    return min(MOST_PARTITIONS, 1 << math.ceil(math.log2(needed)))


def _breaks(
    cameras: Cameras, *, kept_s: float, brokers: int, extract: float, aggregate: float, ingests: int
) -> tuple[str, ...]:
    """What does not hold at this scale, the first to break first."""
    found = []
    if kept_s < HOUR_MS / 1000:
        found.append(f"tiles are kept for {_span(kept_s)}, not for an hour: raise STREAMPROC_TILES_KEPT_BYTES")
    if ingests > 1:
        found.append(f"one ingest is not enough: {ingests}, each with a list of its own")
    if cameras.count > MAX_CAMERAS:
        found.append(f"workers count cameras above {MAX_CAMERAS} together, as `other`")
    threads = math.ceil(extract / UTILISATION / MOST_PARTITIONS)
    if threads > 1:
        found.append(f"{MOST_PARTITIONS} partitions bear so many workers: STREAMPROC_WORKER_THREADS={threads}")
    if aggregate / UTILISATION > MOST_PARTITIONS:
        found.append("more aggregators than partitions: two clusters, or two prefixes")
    if brokers > LEAST_BROKERS:
        found.append(f"three brokers are not enough: {brokers}, with controllers of their own")
    return tuple(found)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1g} s"
