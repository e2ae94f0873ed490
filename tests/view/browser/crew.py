"""Cameras for the page in real life: four places on the wall of the built-in film, through a real pipeline."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from producers.publish import publish
from producers.sources.builtin import FPS as FILM_FPS
from producers.sources.builtin import BuiltinSource
from streamproc.model import Frame, Grid
from streamproc.operators.pipeline_file import load
from streamproc.settings import Settings

PLACES: Final = {"dock-east": 1460, "dock-west": 380, "gate": 700, "yard": 1100}  # where in the film each begins
PIPELINE: Final = """
name = "edges and faces"

[[step]]
operator = "gray"

[[step]]
name = "edges"
operator = "canny"
low = 50
high = 150

[[step]]
name = "faces"
operator = "faces"
on = "frame"
every = 4

[[step]]
name = "persons"
operator = "track"
input = "faces"
"""


class Place(BuiltinSource):
    """The built-in film from one place on, so many pictures a second, at a width; its time is now."""

    def __init__(self, begin: int, *, fps: float, width: int, stop: threading.Event) -> None:
        super().__init__()
        self._begin = begin
        self._step = FILM_FPS / fps
        self._size = (width, width * 9 // 16)
        self.fps = fps
        self._stop = stop

    def __iter__(self) -> Iterator[Frame]:
        for number in itertools.count():
            if self._stop.is_set():
                return
            pixels = cv2.resize(
                self.frame(self._begin + round(number * self._step)), self._size, interpolation=cv2.INTER_AREA
            )
            yield Frame(pixels=np.asarray(pixels, np.uint8), captured_ns=time.time_ns())


def write_pipeline(folder: Path) -> Path:
    """The pipeline's file."""
    file = folder / "faces.toml"
    file.write_text(PIPELINE, encoding="utf-8")
    return file


def produce(
    settings: Settings, pipeline: Path, *, fps: float, width: int, frames: int, stop: threading.Event | None = None
) -> None:
    """All cameras at once, until each has given its frames, or `stop` is set."""
    ending = stop or threading.Event()

    def one(camera: str) -> None:
        publish(
            Place(PLACES[camera], fps=fps, width=width, stop=ending),
            settings,
            camera=camera,
            codec="jpeg",
            grid=Grid(1, 1) if width < 1000 else Grid(2, 2),
            fps=fps,
            limit=frames,
            pipeline_halo=load(pipeline).halo,
            partitions=settings.partitions,
        )

    with ThreadPoolExecutor(len(PLACES)) as threads:
        list(threads.map(one, PLACES))
