"""Where frames come from; one file for each kind of source."""

from producers.sources.live import LiveSource
from producers.sources.marks import Mark, Marks, read_marks
from producers.sources.opening import open_source
from producers.sources.source import Notice, Source

__all__ = ["LiveSource", "Mark", "Marks", "Notice", "Source", "open_source", "read_marks"]
