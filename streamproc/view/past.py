"""Questions to the log: events, the pictures of a moment, the pixels of an event. Blocking; each has its budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from streamproc import cloudevents
from streamproc.cloudevents import CAMERA_EVENT_TYPE, FRAME_EVENT_TYPE
from streamproc.errors import BadMessage
from streamproc.evidence import Sight, look
from streamproc.evidence.edges import edges_again
from streamproc.evidence.finding import twin_of
from streamproc.evidence.picture import draw_sight
from streamproc.evidence.store import Told
from streamproc.model import Pixels
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.pixels import encode, thumbnail
from streamproc.reader import Record
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition
from streamproc.view.bounded import BoundedReader, Budget, Gone, NotThere, Readers, TooLong
from streamproc.view.cameras import MAX_CAMERAS
from streamproc.view.shown import Picture, Shown, about_frame, event_of, picture_of

MAX_EVENTS: Final = 500
MAX_PIXELS: Final = 2**25 + 2**21  # a frame of 8K fits
PICTURE_WIDTH: Final = 2560
FRAME_WIDTH: Final = 1280
NEAR_MS: Final = 10_000
_FIRST_BLOCK: Final = 250
_LARGEST_BLOCK: Final = 8000
_AFTER: Final = 2000  # records between something that happened on a frame and the frame's own event
_AT_RECORDS: Final = 4000
_HOUR_RECORDS: Final = 100_000
_SEEN_EVERY_MS: Final = 4000  # well below what counts as silence
_ENDS: Final = 200  # records of a partition that are looked through for a camera's first and last

Spans: TypeAlias = dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which events; None is all.

    Attributes:
        kind: A type, or `notable`: everything but complete frames and the updates of tracks.
        label, text: Parts of them, in whatever case.
        from_ms, to_ms: Record time, both inclusive.
    """

    camera: str | None = None
    kind: str | None = None
    label: str | None = None
    text: str | None = None
    outcome: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int = 100

    def fits(self, event: Shown) -> bool:
        """Whether an event is one of them."""
        if self.kind == "notable" and not event.is_notable:
            return False
        kind = None if self.kind == "notable" else self.kind
        asked = ((self.camera, event.camera), (kind, event.type), (self.outcome, event.outcome))
        if any(wanted is not None and wanted != found for wanted, found in asked):
            return False
        if self.label is not None and not any(self.label.casefold() in one.label.casefold() for one in event.objects):
            return False
        return self.text is None or self.text.casefold() in event.text.casefold()


class Past:
    """The log, asked.

    Args:
        settings: Where it is.
        place_of: Partition and offset of an event that was read lately, by its id.
        pipeline: Whose edges can be drawn again.
        stop: The process ends.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        place_of: Callable[[str], tuple[int, int] | None],
        pipeline: Pipeline,
        stop: Callable[[], bool],
    ) -> None:
        self._readers = Readers(settings)
        self._topics = Topics(settings.prefix)
        self._place_of = place_of
        self._pipeline = pipeline
        self._stop = stop
        self._max_pixels = min(settings.max_frame_pixels, MAX_PIXELS)

    def events(self, query: Query) -> tuple[list[Shown], bool]:
        """Events, newest first, and whether there may be more.

        Raises:
            BrokerError: The broker does not answer.
        """
        budget = self._budget()
        found: list[Shown] = []
        with self._readers.of(self._topics.events, budget) as reader:
            spans = _spans(reader, query.camera, query.from_ms, query.to_ms)
            try:
                for record in _newest_first(reader, spans, enough=lambda ms: _beyond(found, query.limit, ms)):
                    event = _shown(record)
                    if event is not None and query.fits(event):
                        found.append(event)
                        if len(found) > 4 * query.limit:
                            found[:] = _newest(found, 2 * query.limit)
            except TooLong:
                return _newest(found, query.limit), True
        return _newest(found, query.limit), len(found) > query.limit or any(low < high for low, high in spans.values())

    def event(self, event_id: str, *, camera: str | None, near_ms: int | None) -> dict[str, Any]:
        """An event as a structured CloudEvent.

        Raises:
            NotThere: It is not in the log, or not where it was looked for.
            BrokerError: The broker does not answer.
        """
        with self._readers.of(self._topics.events, self._budget()) as reader:
            record = self._find(reader, event_id, camera, near_ms)
        return cloudevents.structured_event(record.headers, record.value)

    def picture(self, event_id: str, *, camera: str | None, near_ms: int | None, edges: bool) -> tuple[bytes, str]:
        """The pixels of an event as PNG, with what was found on them, and a line on its edges.

        Raises:
            NotThere: The event is not in the log, or tells of no frame.
            Gone: Its pixels are not in the log any more.
            BrokerError: The broker does not answer.
        """
        with self._readers.of(self._topics.events, self._budget()) as reader:
            record = self._find(reader, event_id, camera, near_ms)
            told = _told(reader, record)
        sight = self._sight(told)
        drawn, line = edges_again(sight, told.data, self._pipeline) if edges else (None, "not asked for")
        return encode(_narrow(draw_sight(sight, told, edges=drawn), PICTURE_WIDTH), "png"), line

    def frame_at(self, camera: str, at_ms: int) -> tuple[bytes, bytes]:
        """The pixels, as JPEG, of the camera's last frame whose event was told at a moment or before; and JSON on it.

        Raises:
            NotThere, Gone, BrokerError: As `picture`.
        """
        with self._readers.of(self._topics.events, self._budget()) as reader:
            for record in _before(reader, camera, at_ms):
                about = cloudevents.emitted(record.headers)
                if about is not None and about.is_frame and about.key.camera == camera and _shown(record) is not None:
                    break
            else:
                raise NotThere(f"camera {camera} has no frame event at that time or shortly before")
            told = Told(cloudevents.structured_event(record.headers, record.value), [])
        sight = self._sight(told)
        if sight.seen is None:
            raise Gone(f"no pixel of camera {camera} is left of that time")
        picture = encode(_narrow(sight.seen.pixels, FRAME_WIDTH), "jpeg", jpeg_quality=85)
        return picture, about_frame(
            camera=camera,
            run=about.key.run,
            sequence=about.key.sequence,
            kind="preview",
            captured_ns=int(told.data["captured_ns"]),
            published_ms=record.timestamp_ms,
            content_type="image/jpeg",
        )

    def picture_at(self, camera: str, at_ms: int, kind: str) -> Picture:
        """The last picture of a camera and kind that was published at a moment or before.

        Raises:
            NotThere: There is none, or it is further back than is looked.
            BrokerError: The broker does not answer.
        """
        with self._readers.of(self._topics.edges, self._budget()) as reader:
            for record in _before(reader, camera, at_ms):
                picture = _picture(record)
                if picture is not None and (picture.camera, picture.kind) == (camera, kind):
                    return picture
        raise NotThere(f"camera {camera} has no {kind} picture at that time or shortly before")

    def span(self, camera: str) -> tuple[int, int] | None:
        """When the camera's pictures in the `edges` topic begin and end, ms since 1970; None: it has none.

        Raises:
            BrokerError: The broker does not answer.
        """
        with self._readers.of(self._topics.edges, self._budget()) as reader:
            number = camera_partition(camera, len(reader.partitions()))
            low, high = reader.bounds(number)
            first = [_picture(record) for record in reader.read({number: (low, min(high, low + _ENDS))})]
            last = [_picture(record) for record in reader.read({number: (max(low, high - _ENDS), high)})]
        found = [one.published_ms for one in first + last if one is not None and one.camera == camera]
        return (min(found), max(found)) if found else None

    def last_hour(self, *, seconds: float) -> Iterator[Shown]:
        """Camera events of the last seconds, and of each camera a frame's event every four seconds, for what was seen.

        Oldest first within a camera; of the newest records if there are too many.

        Raises:
            TooLong: Reading them takes longer than it may; those that came are right.
            BrokerError: The broker does not answer.
        """
        with self._readers.of(self._topics.events, self._budget(seconds=20)) as reader:
            since_ms = int((time.time() - seconds) * 1000)
            spans = _spans(reader, None, since_ms, None)
            each = _HOUR_RECORDS // max(1, len(spans))
            noted_ms: dict[tuple[int, bytes], int] = {}  # by key, of which each camera has one
            for record in reader.read({number: (max(low, high - each), high) for number, (low, high) in spans.items()}):
                kind = dict(record.headers).get("ce_type")
                if kind == FRAME_EVENT_TYPE.encode() and len(noted_ms) <= MAX_CAMERAS:
                    place = (record.partition, record.key)
                    if record.timestamp_ms < noted_ms.get(place, 0) + _SEEN_EVERY_MS:
                        continue
                    noted_ms[place] = record.timestamp_ms
                elif kind != CAMERA_EVENT_TYPE.encode():
                    continue
                event = _shown(record)
                if event is not None:
                    yield event

    def _budget(self, *, seconds: float | None = None) -> Budget:
        return Budget(stop=self._stop) if seconds is None else Budget(seconds=seconds, stop=self._stop)

    def _find(self, reader: BoundedReader, event_id: str, camera: str | None, near_ms: int | None) -> Record:
        place = self._place_of(event_id)
        if place is not None:
            number, offset = place
            for record in reader.read({number: (offset, offset + 1)}):
                if _is(record, event_id):
                    return record
        spans = [_spans(reader, camera, near_ms - NEAR_MS, near_ms + NEAR_MS)] if near_ms is not None else []
        spans.append(_spans(reader, camera, None, None))
        try:
            for one in spans:
                for record in _newest_first(reader, one, enough=lambda _ms: False):
                    if _is(record, event_id):
                        return record
        except TooLong:
            where = "" if camera else ": its camera makes the search shorter"
            raise NotThere(f"event {event_id} was not found in the log within the time for it{where}") from None
        raise NotThere(f"event {event_id} is not in {reader.topic}: it is older than what is kept, or was never there")

    def _sight(self, told: Told) -> Sight:
        """The pixels of a frame: where its event says, or else of the same frame in another run.

        Raises:
            Gone: There are none.
        """
        with self._readers.sources(self._budget()) as sources:
            (sight,) = look(sources, [told.data], max_frame_pixels=self._max_pixels)
            if sight.seen is None:
                twin = twin_of(sources, self._topics.events, told.data)
                other = look(sources, [twin["data"]], max_frame_pixels=self._max_pixels) if twin is not None else []
                sight = next((one for one in other if one.seen is not None), sight)
        if sight.seen is None:
            data = told.data
            why = f": {sight.told[0]}" if sight.told else ""
            raise Gone(f"the pixels of frame {data['camera']}/{data['run']}/{data['sequence']} are gone{why}")
        return sight


def _told(reader: BoundedReader, record: Record) -> Told:
    """What is told of the frame of an event.

    Raises:
        NotThere: It tells of none, or its frame's event is not there.
    """
    event = cloudevents.structured_event(record.headers, record.value)
    about = cloudevents.emitted(record.headers)
    if about is None or _shown(record) is None:
        raise NotThere(
            "this event tells of a camera, not of a frame: it has no picture; go to its moment to see what was seen"
        )
    if about.is_frame:
        return Told(event, [])
    _, high = reader.bounds(record.partition)
    for other in reader.read({record.partition: (record.offset, min(high, record.offset + _AFTER))}):
        found = cloudevents.emitted(other.headers)
        if found is not None and found.is_frame and found.key == about.key and _shown(other) is not None:
            return Told(cloudevents.structured_event(other.headers, other.value), [event])
    key = about.key
    raise NotThere(f"the event of frame {key.camera}/{key.run}/{key.sequence} is not in {reader.topic}")


def _spans(reader: BoundedReader, camera: str | None, from_ms: int | None, to_ms: int | None) -> Spans:
    """Offsets (first, one after the last) of a range of record times, of the camera's partition or of all."""
    numbers = reader.partitions()
    spans = {}
    for number in numbers if camera is None else [camera_partition(camera, len(numbers))]:
        low, high = reader.bounds(number)
        if low < high:
            start = low if from_ms is None else reader.offset_at(number, since_ms=from_ms)
            end = high if to_ms is None else reader.offset_at(number, since_ms=to_ms + 1)
            spans[number] = (max(low, start), min(high, end))
    return spans


def _newest_first(reader: BoundedReader, spans: Spans, *, enough: Callable[[float], bool]) -> Iterator[Record]:
    """Records of all spans, about newest first: blocks from their ends, the newest partitions next; `spans` shrink.

    Args:
        reader: Of the topic.
        spans: What is left to be read.
        enough: Told a time, after each round: all that is newer has been read.
    """
    reached = dict.fromkeys(spans, float("inf"))
    block = _FIRST_BLOCK
    while left := [number for number, (low, high) in spans.items() if low < high]:
        newest = (
            sorted(left, key=lambda number: -reached[number])[: -(-len(left) // 2)] if block > _FIRST_BLOCK else left
        )
        ranges = {number: (max(spans[number][0], spans[number][1] - block), spans[number][1]) for number in newest}
        blocks: list[Record] = []
        for record in reader.read(ranges):
            reached[record.partition] = min(reached[record.partition], record.timestamp_ms)
            blocks.append(record)
        for number, (start, _) in ranges.items():
            spans[number] = (spans[number][0], start)
        blocks.sort(key=lambda record: (record.timestamp_ms, record.offset), reverse=True)
        yield from blocks
        block = min(2 * block, _LARGEST_BLOCK)
        if enough(max((reached[number] for number, (low, high) in spans.items() if low < high), default=float("-inf"))):
            return


def _before(reader: BoundedReader, camera: str, at_ms: int) -> Iterator[Record]:
    """Records of a camera's partition up to a moment, newest first, as far back as is looked."""
    number = camera_partition(camera, len(reader.partitions()))
    low, high = reader.bounds(number)
    end = reader.offset_at(number, since_ms=at_ms + 1) if low < high else high
    floor, block = max(low, end - _AT_RECORDS), 40
    while floor < end:
        start = max(floor, end - block)
        yield from reversed(list(reader.read({number: (start, end)})))
        end, block = start, block * 4


def _beyond(found: list[Shown], limit: int, ms: float) -> bool:
    return sum(event.at_ms >= ms for event in found) >= limit


def _newest(found: list[Shown], count: int) -> list[Shown]:
    return sorted(found, key=lambda event: event.at_ms, reverse=True)[:count]


def _is(record: Record, event_id: str) -> bool:
    return any(name == "ce_id" and value == event_id.encode() for name, value in record.headers)


def _shown(record: Record) -> Shown | None:
    try:
        return event_of(record)
    except BadMessage:
        return None


def _picture(record: Record) -> Picture | None:
    try:
        return picture_of(record)
    except BadMessage:
        return None


def _narrow(pixels: Pixels, width: int) -> Pixels:
    """Halved until it is not wider than that."""
    while pixels.shape[1] > width:
        pixels = thumbnail(pixels, 2)
    return pixels
