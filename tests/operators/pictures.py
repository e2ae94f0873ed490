"""Pictures and grids for property tests: noise, lines, spirals, steps; any size, any cut."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data
from hypothesis import strategies as st

from streamproc.model import Grid, Pixels
from streamproc.operators.tiling import largest_grid

KINDS = ("noise", "smooth noise", "faint lines", "spiral", "specks", "ramps", "plateaus", "flat")
# Sizes at which something changes: one pixel, one block, a block and a bit.
SIDES = st.one_of(st.sampled_from([1, 2, 3, 5, 15, 16, 17, 18, 31, 32, 33, 34, 49, 65]), st.integers(1, 110))


@dataclass(frozen=True)
class Cut:
    """A picture and how it is cut; shows what Hypothesis found."""

    width: int
    height: int
    kind: str
    seed: int
    channels: int
    grid: Grid
    extra_halo: int

    @property
    def pixels(self) -> Pixels:
        planes = [plane(self.width, self.height, self.kind, self.seed + channel) for channel in range(self.channels)]
        return planes[0] if self.channels == 1 else np.stack(planes, axis=2)


@st.composite
def cuts(draw: st.DrawFn, channels: tuple[int, ...] = (1,)) -> Cut:
    width, height = draw(SIDES), draw(SIDES)
    most = largest_grid(width, height)
    finest = draw(st.booleans())
    grid = most if finest else Grid(draw(st.integers(1, most.rows)), draw(st.integers(1, most.cols)))
    return Cut(
        width=width,
        height=height,
        kind=draw(st.sampled_from(KINDS)),
        seed=draw(st.integers(0, 2**20)),
        channels=draw(st.sampled_from(channels)),
        grid=grid,
        extra_halo=draw(st.integers(0, 5)),
    )


def plane(width: int, height: int, kind: str, seed: int) -> Pixels:
    """One channel of a picture."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (height, width), np.uint8)
    rows, cols = np.mgrid[:height, :width]
    match kind:
        case "noise":
            picture = noise
        case "smooth noise":
            picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), np.uint8)
        case "faint lines":
            picture = np.full((height, width), 100, np.uint8)
            for _ in range(4):
                x1, y1, x2, y2 = random.integers(0, max(width, height), 4).tolist()
                cv2.line(picture, (x1, y1), (x2, y2), int(random.integers(90, 135)), int(random.integers(1, 3)))
            picture[random.integers(height), random.integers(width)] = 255
        case "spiral":
            angle, radius = (
                np.arctan2(rows - height / 2, cols - width / 2),
                np.hypot(rows - height / 2, cols - width / 2),
            )
            picture = (110 + 12 * np.sin(radius * 0.9 + angle)).astype(np.uint8)
            picture[height // 2, width // 2] = 255
        case "specks":
            picture = ((noise < 25) * random.integers(1, 256)).astype(np.uint8)
        case "ramps":
            picture = np.cumsum(noise % 3, axis=1).astype(np.uint8)
        case "plateaus":
            picture = (noise // 128 * 60 + 50).astype(np.uint8)
        case _:
            picture = np.full((height, width), noise[0, 0], np.uint8)
    return picture


def astronaut() -> Pixels:
    """A photograph of 512 x 512 pixels with one face, BGR."""
    return np.ascontiguousarray(skimage.data.astronaut()[:, :, ::-1])  # type: ignore[no-untyped-call]  # no types there


GALLERY = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "moon", "page", "rocket", "text",
)  # fmt: skip


def grey_picture(name: str, width: int, height: int) -> Pixels:
    """One of scikit-image's pictures in grey, of any size."""
    picture = np.asarray(getattr(skimage.data, name)(), np.uint8)
    if picture.ndim == 3:
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    smaller = width < picture.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def photograph(width: int, height: int) -> Pixels:
    """A photograph of any size, BGR."""
    return np.asarray(cv2.resize(astronaut(), (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
