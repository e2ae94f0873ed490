"""What sending only changed tiles saves: `python -m tests.producers.savings`. Bytes as they stand in the log.

A photograph stands still, with a camera's noise; another one moves before it at 75 pixels a second, 25 frames a second
for 5 seconds. Values, keys and headers count, and the frames that are sent in full.
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

FRAMES = 125
NOISE = 2.0
SCENES = (((640, 480), (48, 48)), ((640, 480), (64, 128)), ((1280, 720), (80, 160)), ((1920, 1080), (150, 300)))


def frames(size: tuple[int, int], thing: tuple[int, int]) -> Iterator[Pixels]:
    """Pictures of (rows, cols, 3); `size` and `thing` are widths and heights."""
    ground, front = photograph(*size), np.ascontiguousarray(photograph(*thing)[:, ::-1])
    for number in range(FRAMES):
        pixels = ground.copy()
        x, y = 3 * number % (size[0] - thing[0]), (size[1] - thing[1]) // 2
        pixels[y : y + thing[1], x : x + thing[0]] = front
        noise = np.random.default_rng(number).normal(0, NOISE, pixels.shape)
        yield np.clip(pixels + noise, 0, 255).astype(np.uint8)


def sent_bytes(clip: Iterator[Pixels], *, grid: Grid | None, codec: Codec, changed: bool) -> tuple[int, int]:
    """Bytes in the log, and tiles of a frame."""
    cutter = Cutter(
        load_settings(),
        codec=codec,
        grid=grid,
        pipeline_halo=4,
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
    print("| frame | what moves | codec | all tiles | only changed ones | saved | in the same grid |")
    print("|---|---|---|---|---|---|---|")
    for size, thing in SCENES:
        for codec in ("jpeg", "png"):
            plain, plain_tiles = sent_bytes(frames(size, thing), grid=None, codec=codec, changed=False)
            less, tiles = sent_bytes(frames(size, thing), grid=None, codec=codec, changed=True)
            rows = next(
                one for one in range(1, tiles + 1) if tiles % one == 0 and one * one * size[0] >= tiles * size[1]
            )
            same, _ = sent_bytes(frames(size, thing), grid=Grid(rows, tiles // rows), codec=codec, changed=False)
            print(
                f"| {size[0]}x{size[1]} | {thing[0]}x{thing[1]} | {codec} | {plain_tiles}, {plain / 1e6:.1f} MB"
                f" | {tiles}, {less / 1e6:.1f} MB | {1 - less / plain:.0%} | {1 - less / same:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
