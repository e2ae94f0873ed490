"""Values for tests: tile headers and features of small frames."""

from __future__ import annotations

from typing import Any

import msgspec

from streamproc.model import Features, Grid, Rect, Refusal, TileHeader
from streamproc.operators.tiling import cut

FRAME_DIGEST = b"f" * 16
TWO_BY_TWO = Grid(2, 2)


def tile_header(
    *, index: int = 0, grid: Grid = TWO_BY_TWO, width: int = 64, height: int = 48, **changes: Any
) -> TileHeader:
    """The header of one tile of a small raw grey frame."""
    row, col = divmod(index, grid.cols)
    header = TileHeader(
        camera="cam",
        run="run-1",
        sequence=0,
        captured_ns=1_700_000_000_000_000_000,
        frame_width=width,
        frame_height=height,
        rows=grid.rows,
        cols=grid.cols,
        row=row,
        col=col,
        core=cut(width, height, grid)[index],
        halo=2,
        codec="raw",
        pixel_format="gray8",
        tile_count=grid.count,
        frame_digest=FRAME_DIGEST,
        payload_digest=index.to_bytes(8, "big"),
    )
    return msgspec.structs.replace(header, **changes)


def features(*, index: int = 0, refusal: Refusal | None = None, pipeline: str = "p1", **changes: Any) -> Features:
    """The features of one tile without results."""
    return Features(
        tile=tile_header(index=index, **changes),
        partition=index,
        offset=100 + index,
        published_ns=1_700_000_000_010_000_000,
        started_ns=1_700_000_000_020_000_000,
        finished_ns=1_700_000_000_030_000_000,
        pipeline=pipeline,
        operators={"edges": 1},
        refusal=refusal,
    )


WHOLE = Rect(0, 0, 64, 48)
