"""A frame's edges worked out again from its tiles, as the workers did, and proved by the digest in its event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamproc.aggregator.seams import edge_digest, link_packed, unpack
from streamproc.errors import BadMessage
from streamproc.evidence.frames import Sight
from streamproc.model import EdgeMap, Pixels, TileHeader
from streamproc.operators.pipeline import Pipeline
from streamproc.operators.tiling import window_of


def edges_again(sight: Sight, data: Mapping[str, Any], pipeline: Pipeline) -> tuple[Pixels | None, str]:
    """Run the edge step of a pipeline on the tiles that are left.

    Args:
        sight: The frame.
        data: Of its event.
        pipeline: Used if its digest is the event's.

    Returns:
        Shape (rows, cols), 0 or 255, or None; and a line that says what they are worth, or why there are none.
    """
    told, evidence = data.get("edges"), data["evidence"]
    if not told or not sight.tiles:
        return None, "the event has none" if not told else "not drawn: no pixels are left to work them out from"
    if pipeline.digest != evidence["pipeline"]:
        return None, f"not drawn: they come from pipeline {evidence['pipeline']}; name its file with --pipeline"
    try:
        maps = [_edges_of(tile, pixels, told["operator"], pipeline) for tile, pixels in sight.tiles]
        found = [one for one in maps if one is not None]
        if len(found) < len(maps):
            return None, f"not drawn: step {told['operator']} needs more than the tiles of this frame"
        header = sight.tiles[0][0]
        width, height = header.frame_width, header.frame_height
        edges = unpack(link_packed(found, width, height), width)
    except BadMessage as bad:
        return None, f"not drawn: {bad}"
    if edge_digest(edges) == told["digest"]:
        return edges, "worked out again from these tiles: their digest is the event's"
    if len(sight.lost) > len(data["missing_tiles"]):
        return edges, "worked out again from the tiles that are left: they cannot be compared with the event's digest"
    return None, "not drawn: worked out again, they differ from the event's digest (other versions of libraries?)"


def _edges_of(header: TileHeader, pixels: Pixels, step: str, pipeline: Pipeline) -> EdgeMap | None:
    window = window_of(pixels, header.core, header.halo, header.frame_width, header.frame_height)
    found = pipeline.run(window, header.sequence).get(step)
    return found if isinstance(found, EdgeMap) else None
