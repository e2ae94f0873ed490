"""Reports to look at: invented but plausible events over real or drawn pictures."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np

from streamproc.model import Grid, Pixels
from streamproc.operators.pipeline_file import default_pipeline
from streamproc.operators.pixels import gray
from streamproc.operators.tiling import cut
from streamproc.report import Report, Sample, Stage

STARTED = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
STARTED_NS = int(STARTED.timestamp()) * 1_000_000_000
Event = dict[str, Any]

STAGES = (
    Stage(kind="source", name="builtin", detail="8 photographs, 512 x 512 px", count="120 frames"),
    Stage(name="producer", detail="cuts, encodes JPEG", count="120 frames"),
    Stage(kind="topic", name="tiles", detail="8 partitions", count="1,440 tiles", lanes=8),
    Stage(name="extract x2", detail="decode, run the pipeline", count="1,440 tiles", lanes=2),
    Stage(kind="topic", name="features", detail="8 partitions", count="1,440 records", lanes=8),
    Stage(name="assemble x2", detail="link seams, merge", count="120 frames", lanes=2),
    Stage(kind="topic", name="events", detail="8 partitions", count="120 events", lanes=8),
    Stage(kind="topic", name="edges", detail="8 partitions", count="31 pictures", lanes=8),
    Stage(kind="topic", name="deadletters", detail="8 partitions", count="0 records", lanes=8),
)


def drawn(width: int, height: int, seed: int = 1) -> Pixels:
    """A picture with a few shapes and a little noise, the same each time."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 90, np.uint8)
    for _ in range(12):
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(picture, centre, int(rng.integers(3, 60)), colour, -1)
    noisy = picture.astype(np.int16) + rng.integers(-8, 8, picture.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def event_of(
    sequence: int,
    *,
    pixels: Pixels | None = None,
    edges: Pixels | None = None,
    outcome: str = "complete",
    camera: str = "demo",
    size: tuple[int, int] = (512, 512),
    objects: Sequence[Event] = (),
    missing: Sequence[tuple[int, int]] = (),
    reason: str | None = None,
) -> Event:
    """One line of `events.jsonl`; its numbers depend on `sequence`, and on the picture if there is one."""
    rng = random.Random(sequence)
    width, height = size if pixels is None else (pixels.shape[1], pixels.shape[0])
    hops = _hops(sequence, rng)
    total = hops["total"]
    captured_ns = STARTED_NS + 4_000_000_000 + int(sequence * 9e6 * (1 + 0.2 * rng.random()))
    merged = outcome in {"complete", "partial"}
    data = {
        "camera": camera,
        "run": "file-20260131-120000-1a2b",
        "sequence": sequence,
        "captured_ns": captured_ns,
        "emitted_ns": captured_ns + int(total * 1e6),
        "width": width,
        "height": height,
        "outcome": outcome,
        "coverage": 1.0 if outcome == "complete" else 0.75,
        "missing_tiles": [list(place) for place in missing],
        "edges": _edges(sequence, edges, width * height) if outcome == "complete" else None,
        "features": _features(pixels, rng) if merged else {},
        "objects": list(objects),
        "classification": [],
        "evidence": _evidence(sequence),
        "latency_ms": hops,
        "reason": reason,
    }
    return _cloud_event(data)


def _cloud_event(data: Event) -> Event:
    camera, run, sequence = data["camera"], data["run"], data["sequence"]
    return {
        "specversion": "1.0",
        "id": hashlib.sha256(f"{camera}/{sequence}".encode()).hexdigest()[:32],
        "source": f"/cameras/{camera}",
        "subject": f"{run}/{sequence}",
        "time": "2026-01-31T12:00:04.250000Z",
        "type": "io.streamproc.frame.v1",
        "datacontenttype": "application/json",
        "data": data,
    }


def _evidence(sequence: int) -> Event:
    return {
        "topic": "streamproc.tiles",
        "offsets": {str(number): [sequence + number % 2, sequence + 1] for number in range(8)},
        "pipeline": default_pipeline().digest,
        "operators": default_pipeline().operators,
    }


def _hops(sequence: int, rng: random.Random) -> dict[str, float]:
    hops = {
        "publish": 4 + 3 * rng.random(),
        "wait": 12 + 40 * rng.random() + 0.4 * (sequence % 60),
        "extract": 9 + 4 * rng.random(),
        "gather": 6 + 15 * rng.random(),
        "assemble": 3 + 2 * rng.random(),
    }
    return {name: round(value, 3) for name, value in (hops | {"total": sum(hops.values())}).items()}


def _edges(sequence: int, edges: Pixels | None, area: int) -> Event:
    found = int(np.count_nonzero(edges)) if edges is not None else int(area * (0.06 + 0.02 * (sequence % 30) / 30))
    digest = hashlib.sha256(np.packbits(edges > 0).tobytes() if edges is not None else bytes([sequence % 256]))
    return {
        "operator": "edges",
        "pixels": found,
        "density": round(found / area, 6),
        "digest": digest.hexdigest(),
    }


def _features(pixels: Pixels | None, rng: random.Random) -> Event:
    if pixels is None or min(pixels.shape[:2]) < 64:
        points = [
            [round(rng.random() * 512, 1), round(rng.random() * 512, 1), round(rng.random(), 5)] for _ in range(5)
        ]
    else:
        found = cv2.ORB.create(500).detect(gray(pixels), None)
        points = [[round(one.pt[0], 1), round(one.pt[1], 1), round(one.response, 6)] for one in found]
    return {
        "orb": {"count": len(points), "points": points},
        "statistics": {
            "count": 262144,
            "mean": [104.2, 99.1, 120.7],
            "deviation": [60.1, 58.2, 66.0],
            "low": [0, 0, 0],
            "high": [255, 255, 255],
        },
        "gray_histogram": {"counts": [[rng.randrange(4000) for _ in range(256)]]},
    }


def sample_of(
    sequence: int, pixels: Pixels, *, grid: Grid, outcome: str = "complete", halo: int = 64, **about: Any
) -> Sample:
    """A frame with its event; a frame that is not complete has no edges."""
    edges = cv2.Canny(gray(pixels), 50, 150).astype(np.uint8) if outcome == "complete" else None
    event = event_of(sequence, pixels=pixels, edges=edges, outcome=outcome, **about)
    height, width = pixels.shape[:2]
    return Sample(event=event, pixels=pixels, edges=edges, cores=cut(width, height, grid), halo=halo)


def report_of(events: Sequence[Event], samples: Sequence[Sample] = (), **changes: Any) -> Report:
    """A whole report over these events; anything else may be changed by name."""
    report = Report(
        title="streamproc demo",
        source="builtin: 8 photographs of scikit-image",
        command="streamproc demo --source builtin --frames 120 --codec jpeg --workers 2 --out demo-out",
        started=STARTED,
        seconds=11.4,
        grid="3x4: tiles of 128 x 176 px, about 31 kB each; a finer grid would carry more halo than picture",
        codec="jpeg",
        pipeline=default_pipeline(),
        counters={
            "frames_published": len(events),
            "tiles_published": 12 * len(events),
            "bytes_published": 371_000 * len(events),
            "deadletters": 0,
        },
        events=events,
        samples=samples,
        stages=STAGES,
        versions={"streamproc": "0.1.0", "python": "3.11.11", "opencv": "4.14.0", "kafka": "4.3.0 (KRaft)"},
        problems=(),
        tiles={"merged": 12 * len(events), "duplicate": 0, "late": 0, "rejected": 0, "deadlettered": 0},
    )
    return replace(report, **changes)
