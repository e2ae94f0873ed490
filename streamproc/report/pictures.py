"""The pictures of a sampled frame: reduced, drawn on, encoded within a budget of bytes. No files, no pages."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Codec, Pixels, Rect
from streamproc.operators import drawing
from streamproc.operators.pixels import encode, thumbnail
from streamproc.report import text
from streamproc.report.facts import Facts, feature_counts, points_of
from streamproc.report.values import Sample

LONGEST_PX = 960
SHORTEST_PX = 320  # smaller frames are enlarged by a whole factor, so that lines and points can be told apart
QUALITIES = (80, 65, 50, 35)
