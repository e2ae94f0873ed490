"""Every operator there is. What a row means stands in `table.py`, the rows of a family in its module.

Operators of other packages (`plugins.py`) are looked for when a name is asked for that is not built in, or when all
are listed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final

from streamproc.operators import (
    anomalies,
    blobs,
    classifiers,
    codes,
    compression,
    corners,
    derivatives,
    descriptors,
    edges,
    face_tags,
    filters,
    geometry,
    histograms,
    intensity,
    kernels,
    keypoints,
    lines,
    moments,
    morphology,
    motion,
    noise,
    onnx_detector,
    preprocess,
    recognisers,
    restoration,
    rules,
    segmentation,
    shape,
    sliding,
    spectra,
    templates,
    texture,
    tracking,
    vitals,
)
from streamproc.operators.plugins import Plugins, find_plugins
from streamproc.operators.table import Operator

log = logging.getLogger(__name__)

_ROWS: tuple[Operator, ...] = (
    *intensity.ROWS,
    *preprocess.ROWS,
    *geometry.ROWS,
    *filters.ROWS,
    *kernels.ROWS,
    *derivatives.ROWS,
    *edges.ROWS,
    *morphology.ROWS,
    *restoration.ROWS,
    *noise.ROWS,
    *spectra.ROWS,
    *lines.ROWS,
    *corners.ROWS,
    *blobs.ROWS,
    *descriptors.ROWS,
    *keypoints.ROWS,
    *shape.ROWS,
    *histograms.ROWS,
    *texture.ROWS,
    *moments.ROWS,
    *segmentation.ROWS,
    *motion.ROWS,
    *compression.ROWS,
    *recognisers.ROWS,
    *face_tags.ROWS,
    *codes.ROWS,
    *templates.ROWS,
    *onnx_detector.ROWS,
    *sliding.ROWS,
    *classifiers.ROWS,
    *tracking.ROWS,
    *rules.ROWS,
    *vitals.ROWS,
    *anomalies.ROWS,
)

BUILT_IN: Final[Mapping[str, Operator]] = {row.name: row for row in _ROWS}


class Catalogue(Mapping[str, Operator]):
    """The built-in operators and those of other packages, by name; the built-in ones first.

    Args:
        built_in: No plugin may have one of these names.
    """

    def __init__(self, built_in: Mapping[str, Operator]) -> None:
        self._built_in = built_in

    @cached_property
    def plugins(self) -> Plugins:
        """What other packages bring; looked for once, what cannot be used is warned of then."""
        found = find_plugins(self._built_in)
        for line in found.refused:
            log.warning(line)
        return found

    def package(self, name: str) -> str | None:
        """Distribution and version that an operator comes from; None for a built-in one."""
        return None if name in self._built_in else self.plugins.packages.get(name)

    def __getitem__(self, name: str) -> Operator:
        if name in self._built_in:
            return self._built_in[name]
        return self.plugins.rows[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._built_in
        yield from self.plugins.rows

    def __len__(self) -> int:
        return len(self._built_in) + len(self.plugins.rows)


OPERATORS: Final = Catalogue(BUILT_IN)
