"""What sending only changed tiles saves: `python -m tests.producers.savings`. Bytes as they stand in the log.

A photograph stands still, with a camera's noise; another one moves before it at 75 pixels a second, 25 frames a second
for 3 seconds. Values, keys and headers count, and the frames that are sent in full.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from producers.changed_only import ChangedOnly
from producers.cutting import Cutter
from streamproc.model import Codec, Frame, FrameKey, Grid, Pixels
from streamproc.settings import load_settings
from streamproc.topics import tile_key
from streamproc.wire import tile_headers
from tests.operators.pictures import photograph

FRAMES = 75
NOISE = 2.0
SCENES = (
    ((640, 480), (64, 64), 2),
    ((1280, 720), (120, 90), 2),
    ((1280, 720), (120, 90), 32),
    ((1280, 720), (120, 90), 96),
    ((1920, 1080), (200, 150), 2),
    ((1920, 1080), (200, 150), 96),
)
"""Sizes of frame and thing, and how far a pipeline looks around a tile: edges alone 2 px, the built-in one 96."""


def frames(size: tuple[int, int], thing: tuple[int, int] | None) -> Iterator[Pixels]:
    """Pictures of (rows, cols, 3); `size` and `thing` are widths and heights."""
    ground = photograph(*size)
    front = np.ascontiguousarray(photograph(*(thing or (1, 1)))[:, ::-1])
    for number in range(FRAMES):
        pixels = ground.copy()
        if thing is not None:
            x, y = 3 * number % (size[0] - thing[0]), (size[1] - thing[1]) // 2
            pixels[y : y + thing[1], x : x + thing[0]] = front
        noise = np.random.default_rng(number).normal(0, NOISE, pixels.shape)
        yield np.clip(pixels + noise, 0, 255).astype(np.uint8)


def sent_bytes(clip: Iterator[Pixels], *, grid: Grid | None, codec: Codec, halo: int, changed: bool) -> tuple[int, int]:
    """Bytes in the log, and tiles of a frame."""
    cutter = Cutter(
        load_settings(),
        codec=codec,
        grid=grid,
        pipeline_halo=halo,
        partitions=8,
        notice=lambda _line: None,
        changed=ChangedOnly() if changed else None,
    )
    size = tiles = 0
    for number, pixels in enumerate(clip):
        frame = Frame(pixels=pixels, captured_ns=10**18 + number * 40_000_000)
        encoded = cutter.encode(frame, FrameKey("gate", "live-20260101T000000Z-abcd", number))
        tiles = len(encoded.tiles)
        for index, (header, payload) in enumerate(encoded.tiles):
            headers = sum(len(name) + len(value) for name, value in tile_headers(header))
            size += len(payload) + headers + len(tile_key(header))
            cutter.delivered(number, index, number)
    return size, tiles


def main() -> None:
    """Print the table of docs/changed-tiles.md."""
    print(
        "| frame | what moves | codec | halo of the pipeline | all tiles | only changed ones | saved | nothing moves |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size, thing, halo in SCENES:
        for codec in ("jpeg", "png"):
            plain, plain_tiles = sent_bytes(frames(size, thing), grid=None, codec=codec, halo=halo, changed=False)
            less, tiles = sent_bytes(frames(size, thing), grid=None, codec=codec, halo=halo, changed=True)
            still, _ = sent_bytes(frames(size, None), grid=None, codec=codec, halo=halo, changed=True)
            print(
                f"| {size[0]}x{size[1]} | {thing[0]}x{thing[1]} | {codec} | {halo} px"
                f" | {plain_tiles}, {plain / 1e6:.1f} MB | {tiles}, {less / 1e6:.1f} MB"
                f" | {1 - less / plain:.0%} | {1 - still / plain:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
