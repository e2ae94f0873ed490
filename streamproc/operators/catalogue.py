"""Every operator there is, one row each. What a row means stands in `table.py`; docs: `docs/operators.md`."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.operators import corners, descriptors, edges, histograms, intensity, recognisers
from streamproc.operators.table import Operator, Parameter, Params

BINS: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
MOST_POINTS = 10_000


def canny_halo(_params: Params) -> int:
    """Pixels around the core that Canny looks at."""
    return edges.CANNY_HALO_PX


def sobel_halo(_params: Params) -> int:
    """Pixels around the core that Sobel looks at."""
    return intensity.SOBEL_HALO_PX


def harris_halo(_params: Params) -> int:
    """Pixels around the core that Harris looks at."""
    return corners.HARRIS_HALO_PX


def fast_halo(_params: Params) -> int:
    """Pixels around the core that FAST looks at."""
    return corners.FAST_HALO_PX


def orb_halo(_params: Params) -> int:
    """Pixels around the core that ORB is given."""
    return descriptors.ORB_HALO_PX


def _limit() -> Parameter:
    return Parameter(name="limit", default=500, low=1, high=MOST_POINTS, meaning="strongest points kept of a frame")


def _seam_size(default: int) -> Parameter:
    return Parameter(
        name="seam_size_px",
        default=default,
        low=0,
        high=1024,
        meaning="size up to which an object is found wherever seams lie; half of it is halo",
    )


_ROWS: tuple[Operator, ...] = (
    Operator(
        name="gray",
        kind="transform",
        run=intensity.gray,
        accepts=("color", "gray"),
        gives="gray",
        exact="exact",
        meaning="grey picture, as cv2.cvtColor(BGR2GRAY)",
    ),
    Operator(
        name="brightness_contrast",
        kind="transform",
        run=intensity.brightness_contrast,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="alpha", default=1.0, low=0, high=100, meaning="contrast: factor of each value"),
            Parameter(name="beta", default=0.0, low=-255, high=255, meaning="brightness: added, grey levels"),
        ),
        meaning="alpha * value + beta, rounded and held in 0..255",
    ),
    Operator(
        name="threshold",
        kind="transform",
        run=intensity.threshold,
        gives="gray",
        exact="exact",
        parameters=(
            Parameter(name="level", default=127, low=0, high=255, meaning="grey level; what is above is white"),
            Parameter(name="inverse", default=False, meaning="make it black instead"),
        ),
        meaning="black and white",
    ),
    Operator(
        name="gaussian",
        kind="transform",
        run=intensity.gaussian,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(
            Parameter(name="ksize", default=5, low=1, high=63, odd=True, meaning="width of the kernel, pixels"),
            Parameter(name="sigma", default=0.0, low=0, high=100, meaning="pixels; 0 takes it from ksize"),
        ),
        halo=intensity.gaussian_halo,
        meaning="blur",
    ),
    Operator(
        name="sobel",
        kind="transform",
        run=intensity.sobel,
        gives="float",
        exact="exact",
        halo=sobel_halo,
        meaning="gradient magnitude in 0..1, float; statistics and gray_histogram take it",
    ),
    Operator(
        name="canny",
        kind="measure",
        run=edges.canny,
        exact="exact",
        parameters=(
            Parameter(name="low", default=50.0, low=0, high=4096, meaning="gradient of a weak edge, grey levels"),
            Parameter(name="high", default=150.0, low=0, high=4096, meaning="gradient of a strong edge"),
            Parameter(name="l2", default=False, meaning="Euclidean gradient instead of |dx| + |dy|"),
        ),
        halo=canny_halo,
        meaning="edges, linked over tiles to cv2.Canny of the frame",
    ),
    Operator(
        name="harris",
        kind="measure",
        run=corners.harris,
        exact="exact",
        parameters=(
            Parameter(name="k", default=0.04, low=0, high=0.25, meaning="Harris' constant"),
            Parameter(name="threshold", default=0.0001, low=0, high=1, meaning="response of a corner, at least above"),
            _limit(),
        ),
        halo=harris_halo,
        meaning="corners by Harris, block 2, aperture 3",
    ),
    Operator(
        name="fast",
        kind="measure",
        run=corners.fast,
        exact="exact",
        parameters=(
            Parameter(name="threshold", default=20, low=1, high=255, meaning="contrast of the circle, grey levels"),
            _limit(),
        ),
        halo=fast_halo,
        meaning="corners by FAST 9-16",
    ),
    Operator(
        name="orb",
        kind="measure",
        run=descriptors.orb,
        exact="no",
        parameters=(
            _limit(),
            Parameter(name="scale_factor", default=1.2, low=1.05, high=2, meaning="between levels of the pyramid"),
            Parameter(name="levels", default=8, low=1, high=16, meaning="levels of the pyramid"),
            Parameter(name="fast_threshold", default=20, low=1, high=255, meaning="contrast, grey levels"),
        ),
        halo=orb_halo,
        meaning="points with descriptors of 32 bytes",
    ),
    Operator(
        name="gray_histogram",
        kind="measure",
        run=histograms.gray_histogram,
        accepts=("gray", "float"),
        exact="exact",
        parameters=(Parameter(name="bins", default=256, choices=BINS, meaning="counts"),),
        meaning="counts of grey levels",
    ),
    Operator(
        name="color_histogram",
        kind="measure",
        run=histograms.color_histogram,
        accepts=("color", "gray"),
        exact="exact",
        parameters=(Parameter(name="bins", default=32, choices=BINS, meaning="counts of each channel"),),
        meaning="counts of blue, green and red values",
    ),
    Operator(
        name="statistics",
        kind="measure",
        run=histograms.statistics,
        accepts=("color", "gray", "float"),
        exact="exact",
        meaning="mean, deviation, lowest and highest value of each channel",
    ),
    Operator(
        name="faces",
        kind="measure",
        run=recognisers.faces,
        exact="no",
        parameters=(
            Parameter(name="scale_factor", default=1.2, low=1.01, high=3, meaning="between sizes looked for"),
            Parameter(name="min_neighbors", default=5, low=0, high=100, meaning="hits that make a face"),
            Parameter(name="min_size_px", default=48, low=20, high=4096, meaning="smallest face"),
            Parameter(name="max_size_px", default=0, low=0, high=8192, meaning="largest face; 0: no limit"),
            _seam_size(96),
        ),
        halo=recognisers.seam_halo,
        meaning="frontal faces by a Haar cascade",
    ),
    Operator(
        name="people",
        kind="measure",
        run=recognisers.people,
        accepts=("color", "gray"),
        exact="no",
        parameters=(
            Parameter(name="scale_factor", default=1.05, low=1.01, high=3, meaning="between sizes looked for"),
            Parameter(name="stride_px", default=8, choices=(4, 8, 16), meaning="step of the search, pixels"),
            Parameter(name="min_score", default=0.5, low=-10, high=10, meaning="distance to the classifier's plane"),
            _seam_size(256),
        ),
        halo=recognisers.seam_halo,
        meaning="standing people by HOG and a linear classifier",
    ),
)

OPERATORS: Mapping[str, Operator] = {row.name: row for row in _ROWS}
