"""What the log holds, read from its beginning to its end."""

from __future__ import annotations

from streamproc import cloudevents, wire
from streamproc.model import FrameKey
from streamproc.reader import Record, TopicReader
from streamproc.settings import Settings
from streamproc.topics import Topics


def read_all(settings: Settings, topic: str) -> list[Record]:
    """Everything a topic holds."""
    with TopicReader(settings, topic) as reader:
        return list(reader.read({number: reader.bounds(number) for number in reader.partitions()}))


def frames_told_of(settings: Settings) -> list[FrameKey]:
    """The frame of each event, in log order within a camera; one that has two events stands there twice."""
    keys = [cloudevents.event_key(record.headers) for record in read_all(settings, Topics(settings.prefix).events)]
    assert None not in keys
    return [key for key in keys if key is not None]


def frames_published(settings: Settings) -> set[FrameKey]:
    """The frames that have a tile in the log; records that are no tiles are passed over."""
    tiles = read_all(settings, Topics(settings.prefix).tiles)
    return {wire.read_tile_header(record.headers).key for record in tiles if record.headers}
