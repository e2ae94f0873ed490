"""Find frames, objects and pictures by how they look: an index of vectors, and what each belongs to."""

from streamproc.retrieval.adding import Added, add_events, add_pictures
from streamproc.retrieval.finding import pixels_of
from streamproc.retrieval.store import Entry, Index, IndexWriter, Match, reading, writing

__all__ = [
    "Added",
    "Entry",
    "Index",
    "IndexWriter",
    "Match",
    "add_events",
    "add_pictures",
    "pixels_of",
    "reading",
    "writing",
]
