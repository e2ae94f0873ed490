"""Finding events: one by its id, those of a camera by capture time, those of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from streamproc.cloudevents import FRAME_EVENT_TYPE, emitted, event_time, structured_event
from streamproc.errors import BadMessage, BrokerError, StreamprocError
from streamproc.evidence.sources import Sources
from streamproc.model import FrameKey
from streamproc.reader import Record
from streamproc.records import RecordSource
from streamproc.topics import camera_partition

BLOCK: Final = 20_000  # records of a partition that are read at once, newest blocks first
EARLY_MS: Final = 5 * 60_000  # clocks of cameras may be ahead of the broker's by so much
LATE_MS: Final = 3_600_000  # an event may be emitted so long after its frame was captured

Seen = Callable[[int], None]
"""Told how many records were read."""
Begun = Callable[[str, int], None]
"""Told of a place, and when it begins (record time, milliseconds): earlier records are no longer there."""


def unseen(_count: int) -> None:
    """For who does not ask for progress."""


def untold(_place: str, _begins_ms: int) -> None:
    """For who does not ask where a place begins."""


def records_of(sources: Sources, topic: str, camera: str | None) -> int:
    """How many records `find_event` may have to read, for a progress bar."""
    return sum(
        high - low for _, source in sources.of(topic) for low, high in map(source.bounds, _partitions(source, camera))
    )


def find_event(
    sources: Sources, topic: str, event_id: str, *, camera: str | None = None, seen: Seen = unseen
) -> dict[str, Any]:
    """The event of an id, newest blocks of records first.

    Args:
        sources: Where to look.
        topic: The events topic.
        event_id: `ce_id`.
        camera: If known, one partition is read instead of all.
        seen: For progress.

    Returns:
        The structured CloudEvent.

    Raises:
        BrokerError: It is nowhere.
    """
    for _, source in sources.of(topic):
        for ranges in _blocks(source, camera):
            for record in source.read(ranges):
                seen(1)
                if _header(record, "ce_id") == event_id:
                    return structured_event(record.headers, record.value)
    raise BrokerError(_nowhere(sources, topic, f"event {event_id}", camera))


def frame_event_of(sources: Sources, topic: str, event: Mapping[str, Any], *, seen: Seen = unseen) -> dict[str, Any]:
    """The frame's own event, for the event of something that happened on the frame.

    Raises:
        BrokerError: It is nowhere.
    """
    camera, run, sequence = _subject(event)
    key = FrameKey(camera, run, sequence)
    wanted = str(event["data"].get("pipeline", ""))
    for _, source in sources.of(topic):
        for ranges in _blocks(source, camera):
            for record in source.read(ranges):
                seen(1)
                found = emitted(record.headers)
                if found is None or not found.is_frame or found.key != key:
                    continue
                frame = structured_event(record.headers, record.value)
                if wanted in ("", frame["data"]["evidence"]["pipeline"]):
                    return frame
    raise BrokerError(_nowhere(sources, topic, f"the event of frame {camera}/{run}/{sequence}", camera))


def events_between(
    sources: Sources,
    topic: str,
    *,
    camera: str,
    from_ns: int,
    to_ns: int,
    seen: Seen = unseen,
    begun: Begun = untold,
) -> Iterator[dict[str, Any]]:
    """Events of a camera's frames that were captured in a range, from the first place that has any, in log order.

    Looked for among records from five minutes before the range to an hour after it: events that were emitted later
    (a backlog, a replay) are not found.

    Args:
        sources: Where to look.
        topic: The events topic.
        camera: Its name.
        from_ns: First capture time, ns since 1970.
        to_ns: End of the range, exclusive.
        seen: For progress.
        begun: Told, after the last event, of the place that gave them, or of all that gave none, if it begins only
            after `from_ns`.
    """
    low, high = event_time(from_ns), event_time(to_ns)
    late: dict[str, int] = {}
    for place, source in sources.of(topic):
        (partition,) = _partitions(source, camera)
        start = source.offset_at(partition, since_ms=from_ns // 10**6 - EARLY_MS)
        end = source.offset_at(partition, since_ms=to_ns // 10**6 + LATE_MS)
        any_found = False
        for record in source.read({partition: (start, end)}):
            seen(1)
            about = emitted(record.headers)
            if about is None or about.key.camera != camera or not low <= _header(record, "ce_time") <= high:
                continue
            event = _structured(record)
            if event is not None and from_ns <= event["data"]["captured_ns"] < to_ns:
                any_found = True
                yield event
        begins_ms = _begins_ms(source, partition, start)
        late = {} if any_found else late
        if begins_ms is not None and begins_ms > from_ns // 10**6:
            late[place] = begins_ms
        if any_found:
            break
    for place, begins_ms in late.items():
        begun(place, begins_ms)


def twin_of(sources: Sources, topic: str, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The event of the same frame in another run: a replay keeps camera, capture time and sequence.

    Args:
        sources: Where to look.
        topic: The events topic.
        data: Of the frame event whose tiles are gone.
    """
    at_ns = data["captured_ns"]
    for event in events_between(sources, topic, camera=data["camera"], from_ns=at_ns, to_ns=at_ns + 1):
        other = event["data"]
        same = all(other.get(name) == data[name] for name in ("sequence", "width", "height"))
        if is_frame_event(event) and same and other["run"] != data["run"]:
            return event
    return None


def events_of_run(
    source: RecordSource, run: str, *, camera: str | None = None, seen: Seen = unseen
) -> Iterator[dict[str, Any]]:
    """All events of a run that the events topic holds."""
    for record in source.read({number: source.bounds(number) for number in _partitions(source, camera)}):
        seen(1)
        about = emitted(record.headers)
        if about is None or about.key.run != run or camera not in (None, about.key.camera):
            continue
        event = _structured(record)
        if event is not None:
            yield event


def first_of_each(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Events without those of frames that another run has told of before: a replay in the log beside its original."""
    runs: dict[tuple[int, int], str] = {}
    for event in events:
        data = event["data"]
        if runs.setdefault((data["captured_ns"], data["sequence"]), data["run"]) == data["run"]:
            yield event


def is_frame_event(event: Mapping[str, Any]) -> bool:
    """Whether it is a frame's own event."""
    return event.get("type") == FRAME_EVENT_TYPE


def _subject(event: Mapping[str, Any]) -> tuple[str, str, int]:
    data = event["data"]
    try:
        return str(data["camera"]), str(data["run"]), int(data["sequence"])
    except (KeyError, TypeError, ValueError):
        raise StreamprocError(
            f"event {event.get('id')} of type {event.get('type')} tells of no frame: there is nothing to show"
        ) from None


def _begins_ms(source: RecordSource, partition: int, start: int) -> int | None:
    """When a partition begins, if earlier records were removed and `start` lies at its beginning."""
    low, high = source.bounds(partition)
    if low == 0 or start > low:
        return None
    return next((record.timestamp_ms for record in source.read({partition: (low, high)})), None)


def _structured(record: Record) -> dict[str, Any] | None:
    try:
        event = structured_event(record.headers, record.value)
    except BadMessage:
        return None
    return event if isinstance(event["data"], dict) and "captured_ns" in event["data"] else None


def _header(record: Record, wanted: str) -> str:
    return next((value.decode(errors="replace") for name, value in record.headers if name == wanted), "")


def _partitions(source: RecordSource, camera: str | None) -> list[int]:
    numbers = source.partitions()
    return numbers if camera is None else [camera_partition(camera, len(numbers))]


def _blocks(source: RecordSource, camera: str | None) -> Iterator[dict[int, tuple[int, int]]]:
    """Ranges of all partitions from the end backwards."""
    bounds = {number: source.bounds(number) for number in _partitions(source, camera)}
    while left := {number: span for number, span in bounds.items() if span[0] < span[1]}:
        yield {number: (max(low, high - BLOCK), high) for number, (low, high) in left.items()}
        bounds = {number: (low, max(low, high - BLOCK)) for number, (low, high) in left.items()}


def _nowhere(sources: Sources, topic: str, what: str, camera: str | None) -> str:
    places = [name for name, _ in sources.of(topic)]
    read = (
        f"is not among the events of {topic} in {' and '.join(places)}"
        if places
        else f"cannot be looked for in {topic}"
    )
    whose = f" (camera {camera})" if camera else ""
    return "; ".join([f"{what}{whose} {read}", *sources.silent(topic)])
