"""Pictures for viewers, beside the events: a preview and the edges of a frame, a few a second of each camera."""

from __future__ import annotations

import time

from streamproc import wire
from streamproc.agents.batches import Batch
from streamproc.aggregator.recognition import FrameView
from streamproc.model import Codec, FrameEvent, Pixels
from streamproc.operators.pixels import encode, thumbnail
from streamproc.topics import MAX_PICTURE_BYTES

_MOST_CAMERAS = 10_000
_HEADERS_BYTES = 4096


class Pictures:
    """What is sent of one partition's cameras.

    Args:
        topic: Where pictures go.
        partition: And into which partition.
        per_s: Of one camera, at most, in wall-clock time, however fast an archive is played.
    """

    def __init__(self, topic: str, partition: int, *, per_s: float) -> None:
        self._topic, self._partition, self._per_s = topic, partition, per_s
        self._next_s: dict[str, float] = {}

    def due(self, camera: str) -> bool:
        """Whether a camera's next frame is to be shown; asked once for each."""
        now_s = time.monotonic()
        if self._per_s <= 0 or now_s < self._next_s.get(camera, 0.0):
            return False
        if len(self._next_s) > _MOST_CAMERAS:
            self._next_s.clear()
        self._next_s[camera] = now_s + 1 / self._per_s
        return True

    def send(self, batch: Batch, event: FrameEvent, view: FrameView) -> None:
        """Send the pictures of a frame, if it has a preview."""
        if view.preview is None:
            return
        pictures: dict[str, tuple[Pixels | None, Codec]] = {
            "preview": (view.preview, "jpeg"),
            "edges": (view.edges, "png"),
        }
        for kind, (pixels, codec) in pictures.items():
            if pixels is None:
                continue
            batch.send(
                topic=self._topic,
                partition=self._partition,
                key=event.camera.encode(),
                value=_fitting(pixels, codec),
                headers=wire.picture_headers(
                    event.key, kind=kind, content_type=f"image/{codec}", captured_ns=event.captured_ns
                ),
            )


def _fitting(pixels: Pixels, codec: Codec) -> bytes:
    """A picture that the topic takes, reduced if need be: it is for looking at."""
    encoded = encode(pixels, codec=codec, jpeg_quality=80)
    while len(encoded) > MAX_PICTURE_BYTES - _HEADERS_BYTES:
        pixels = thumbnail(pixels, 2)
        encoded = encode(pixels, codec=codec, jpeg_quality=80)
    return encoded
