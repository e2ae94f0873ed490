"""Events for tests: frames of one camera as two runs may tell of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from streamproc.cloudevents import event_id, event_time
from streamproc.evidence.store import EventStore
from streamproc.model import FrameKey

START_NS = 1_700_000_000_000_000_000
STEP_NS = 40_000_000
Event = dict[str, Any]


def an_object(label: str = "person", score: float = 0.9, box: Sequence[float] = (10, 10, 50, 90), **more: Any) -> Event:
    return {"label": label, "score": score, "box": list(box), "track": None, "source": "people", **more}


def frame_event(sequence: int, *, run: str = "run-1", camera: str = "gate", **changes: Any) -> Event:
    data = {
        "camera": camera,
        "run": run,
        "sequence": sequence,
        "captured_ns": START_NS + sequence * STEP_NS,
        "emitted_ns": START_NS + sequence * STEP_NS + 5,
        "width": 320,
        "height": 240,
        "outcome": "complete",
        "coverage": 1.0,
        "missing_tiles": [],
        "edges": {"operator": "canny", "pixels": 1000, "density": 0.013, "digest": "ab" * 32},
        "features": {"corners": {"count": 2, "digest": "cd" * 32, "points": [[1.5, 2.5, 30.0], [7.0, 8.0, 20.0]]}},
        "objects": [an_object(), an_object("dog", 0.6, (100, 100, 180, 160))],
        "classification": [{"label": "day", "score": 0.8, "source": "light"}],
        "evidence": {
            "topic": "streamproc.tiles",
            "offsets": {"0": [sequence, sequence]},
            "pipeline": "p1",
            "operators": {"canny": 1},
        },
        "latency_ms": {"total": 12.5},
        "reason": None,
        **changes,
    }
    return _event("frame", data, FrameKey(camera, run, sequence), "frame")


def happening(sequence: int, what: str, subject: str, *, run: str = "run-1", **data: Any) -> Event:
    about = {
        "camera": "gate",
        "run": run,
        "sequence": sequence,
        "captured_ns": START_NS + sequence * STEP_NS,
        "step": "walkers",
        "what": what,
        "subject": subject,
        "pipeline": "p1",
        "data": data,
    }
    return _event("track", about, FrameKey("gate", run, sequence), f"track\0walkers\0{what}\0{subject}")


def _event(kind: str, data: Event, key: FrameKey, id_of: str) -> Event:
    return {
        "specversion": "1.0",
        "id": event_id(key, pipeline="p1", kind=id_of),
        "source": f"/cameras/{key.camera}",
        "type": f"io.streamproc.{kind}.v1",
        "subject": f"{key.run}/{key.sequence}",
        "time": event_time(data["captured_ns"]),
        "datacontenttype": "application/json",
        "data": data,
    }


def a_run(count: int = 5, *, run: str = "run-1") -> list[Event]:
    """Frames, and a track that begins on the second."""
    events = [frame_event(sequence, run=run) for sequence in range(count)]
    return [*events, happening(1, "new", "1-0", run=run, box=[10, 10, 50, 90], hits=3)]


def again(events: Iterable[Event], *, run: str = "replay-7") -> list[Event]:
    """The same frames in another run: other ids, times of emission, latencies and offsets."""
    found = []
    for event in copy.deepcopy(list(events)):
        data = event["data"] | {"run": run}
        if "emitted_ns" in data:
            data |= {"emitted_ns": data["emitted_ns"] + 10**12, "latency_ms": {"total": 99.0, "wait": 3.0}}
            data["evidence"] = data["evidence"] | {"topic": "other.tiles", "offsets": {"5": [7, 9]}}
        found.append({**event, "id": run + event["id"], "subject": f"{run}/{data['sequence']}", "data": data})
    return found


def store(events: Iterable[Event], name: str = "events") -> EventStore:
    return EventStore.of_events(name, events)


def write(folder: Path, events: Iterable[Event]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


_sides = st.integers(0, 60)
_objects = st.lists(
    st.builds(
        lambda label, score, x, y, width, height, track: an_object(
            label, score, (x, y, x + width, y + height), track=track
        ),
        st.sampled_from(["person", "dog"]),
        st.sampled_from([0.1, 0.5, 0.9]),
        _sides,
        _sides,
        st.integers(0, 40),
        st.integers(0, 40),
        st.sampled_from([None, "t1", "t2"]),
    ),
    max_size=6,
)
_features = st.dictionaries(
    st.sampled_from(["corners", "colours"]),
    st.dictionaries(
        st.sampled_from(["count", "mean", "digest"]),
        st.one_of(st.integers(-9, 9), st.floats(-9, 9), st.lists(st.floats(-9, 9), max_size=3), st.just("ab")),
        max_size=3,
    ),
    max_size=2,
)
_labels = st.lists(
    st.builds(
        lambda label, score: {"label": label, "score": score, "source": "light"},
        st.sampled_from(["day", "night"]),
        st.sampled_from([0.1, 0.5, 0.9]),
    ),
    max_size=3,
)
_changed: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "objects": _objects,
        "features": _features,
        "classification": _labels,
        "outcome": st.sampled_from(["complete", "partial", "expired"]),
        "edges": st.sampled_from([None, {"operator": "canny", "pixels": 5, "density": 0.1, "digest": "aa"}]),
    }
)


@st.composite
def runs(draw: st.DrawFn) -> list[Event]:
    """Events of some frames, in any order of frames."""
    numbers = draw(st.lists(st.integers(0, 7), min_size=1, max_size=5, unique=True))
    frames = [frame_event(number, **draw(_changed)) for number in numbers]
    told = draw(
        st.lists(
            st.builds(
                lambda number, what, subject, hits: happening(number, what, subject, hits=hits),
                st.sampled_from(numbers),
                st.sampled_from(["new", "end"]),
                st.sampled_from(["a", "b"]),
                st.integers(0, 2),
            ),
            max_size=3,
        )
    )
    return [*frames, *told]
