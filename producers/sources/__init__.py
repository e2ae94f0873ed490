"""Where frames come from; one file for each kind of source."""

from producers.sources.opening import open_source
from producers.sources.source import Notice, Source

__all__ = ["Notice", "Source", "open_source"]
