"""Two runs over the same frames: what one found and the other did not. Values in, values out; pages in `page.py`."""

from streamproc.compare.matching import Pair, match
from streamproc.compare.runs import Comparison, compare
from streamproc.compare.values import KINDS, Change, FrameChanges, Tolerances

__all__ = ["KINDS", "Change", "Comparison", "FrameChanges", "Pair", "Tolerances", "compare", "match"]
