"""From an event back to what it tells of: its record, its tiles, its picture, a video of many."""

from streamproc.evidence.frames import SeenFrame, Sight, join_tiles, look, read_frame, tile_of, tile_pixels
from streamproc.evidence.sources import Sources

__all__ = ["SeenFrame", "Sight", "Sources", "join_tiles", "look", "read_frame", "tile_of", "tile_pixels"]
