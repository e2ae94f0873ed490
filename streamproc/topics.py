"""Topic names, keys, configs, and the one function that chooses a partition. Data only; nothing talks to Kafka here.

Partitions are computed here and passed explicitly by every producer, because the clients' default hashes differ
(librdkafka: CRC32 of the key, aiokafka: murmur2).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamproc.model import FrameKey, TileHeader

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MAX_RECORD_BYTES = 2 * 2**20  # of tiles and events; tiles end at 900 kB
MAX_FEATURES_BYTES = 8 * 2**20  # a bit for each pixel of a tile, however well its picture compresses
MAX_PICTURE_BYTES = 8 * 2**20  # edges of an 8K frame take 3 to 7 MB as PNG
MAX_DEADLETTER_BYTES = 9 * 2**20  # any record of the others, and the headers that say why


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """One topic as it must be on the broker; `config` holds every value that is checked."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one prefix."""

    prefix: str

    @property
    def tiles(self) -> str:
        """Encoded tiles, from producers."""
        return f"{self.prefix}tiles"

    @property
    def features(self) -> str:
        """Results of tiles, from extract agents."""
        return f"{self.prefix}features"

    @property
    def events(self) -> str:
        """Recognition events, from the aggregator."""
        return f"{self.prefix}events"

    @property
    def edges(self) -> str:
        """Edge and preview pictures, for viewers."""
        return f"{self.prefix}edges"

    @property
    def deadletters(self) -> str:
        """Messages that could not be handled, untouched, with their reason."""
        return f"{self.prefix}deadletters"

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.tiles, self.features, self.events, self.edges, self.deadletters

    @property
    def group(self) -> str:
        """The consumer group of all workers."""
        return f"{self.prefix}workers"

    def specs(self, *, partitions: int, tiles_bytes: int = 8 * 2**30) -> tuple[TopicSpec, ...]:
        """All topics with their explicit configs; the same number of partitions everywhere.

        Args:
            partitions: Of each topic.
            tiles_bytes: What the tiles topic keeps at most, all partitions together.
        """

        def spec(name: str, retention_ms: int, *, max_bytes: int = MAX_RECORD_BYTES, **config: str) -> TopicSpec:
            return TopicSpec(
                name=name,
                partitions=partitions,
                config={
                    "cleanup.policy": "delete",
                    "compression.type": "producer",
                    "max.message.bytes": str(max_bytes),
                    "message.timestamp.type": "CreateTime",
                    "retention.ms": str(retention_ms),
                    **{key.replace("_", "."): value for key, value in config.items()},
                },
            )

        return (
            spec(self.tiles, HOUR_MS, retention_bytes=str(tiles_bytes // partitions), segment_bytes=str(2**27)),
            spec(self.features, HOUR_MS, max_bytes=MAX_FEATURES_BYTES, segment_bytes=str(2**27)),
            spec(self.events, 7 * DAY_MS),
            spec(
                self.edges,
                10 * MINUTE_MS,
                max_bytes=MAX_PICTURE_BYTES,
                segment_bytes=str(2**26),
                segment_ms=str(5 * MINUTE_MS),
            ),
            spec(self.deadletters, 7 * DAY_MS, max_bytes=MAX_DEADLETTER_BYTES),
        )


def tile_key(header: TileHeader) -> bytes:
    """Key of a tile: camera/run/row/col."""
    return f"{header.camera}/{header.run}/{header.row}/{header.col}".encode()


def features_key(frame: FrameKey) -> bytes:
    """Key of features: camera/run."""
    return f"{frame.camera}/{frame.run}".encode()


def tile_partition(camera: str, tile_index: int, partitions: int) -> int:
    """Partition of a tile: a frame's tiles spread evenly, one tile position stays in order."""
    return (zlib.crc32(camera.encode()) + tile_index) % partitions


def camera_partition(camera: str, partitions: int) -> int:
    """Partition of features, events and edges: a camera's frames meet in one place, in order."""
    return zlib.crc32(camera.encode()) % partitions
