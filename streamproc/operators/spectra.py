"""Frequencies of a picture: Fourier, cosine and wavelet transforms, summed up in a few figures.

The transforms by which a picture is filtered are no business of this module: here they are measured.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streamproc.model import Figures, Histogram
from streamproc.operators.pixels import require_gray
from streamproc.operators.table import Operator, Parameter, Params, Window

BLOCK_PX = 8  # of the cosine transform, as JPEG has it; cuts are multiples of 16, so no block is cut
COSINE_BITS = 20  # of the transform's matrix in whole numbers: every product stays below 2^53, exact in float64
COEFFICIENT_STEPS = 16  # to a grey level; squares of 2^21 blocks add up to less than 2^63
NYQUIST = 0.5  # cycles per pixel


def dft(window: Window, params: Params) -> Figures:
    """Sum up the power spectrum of a picture.

    The mean is taken away first. A Hann window (`taper`) keeps the jump from one border to the opposite one
    out of the spectrum; without it, that jump counts as horizontal and vertical energy.

    Args:
        window: Grey; the whole frame.
        params: `bins`, rings of the profile; `cutoff`, cycles per pixel; `taper`.

    Returns:
        Figures: `energy`, mean square in grey levels (after `taper`); `profile`, shares of the energy in
        `bins` rings of equal width from 0 to 0.5 cycles per pixel (what lies further out, in the corners of the
        spectrum, counts in the last ring); `high_share`, share at or above `cutoff`; `orientation_deg`, direction in
        which brightness changes most, 0 to 180 from the x axis towards y (down); `orientation_strength`, 0 (all
        directions alike) to 1 (one direction); `peak`, x and y frequency of the strongest wave in cycles per
        pixel; `peak_share`, its share of the energy. A flat picture has zeros.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        J. W. Cooley, J. W. Tukey, An Algorithm for the Machine Calculation of Complex Fourier Series, 1965;
        J. Bigun, G. H. Granlund, Optimal Orientation Detection of Linear Symmetry, ICCV 1987.
    """
    require_gray(window.pixels)
    levels = window.pixels.astype(np.float64)
    levels -= levels.mean()
    rows, cols = levels.shape
    if params["taper"]:
        levels *= np.outer(_hann(rows), _hann(cols))
    power = _power(levels)
    fx = np.asarray(np.fft.rfftfreq(cols), np.float64)
    fy = np.asarray(np.fft.fftfreq(rows), np.float64)[:, None]
    radius = np.hypot(fx, fy)
    bins, total = int(params["bins"]), float(power.sum())
    if not np.any(levels) or total <= 0:
        return _no_spectrum(bins)
    ring = np.minimum((radius * (bins / NYQUIST)).astype(np.int64), bins - 1)
    profile = np.bincount(ring.reshape(-1), weights=power.reshape(-1), minlength=bins) / total
    orientation, strength = _orientation(power, fx, fy)
    row, col = np.unravel_index(int(np.argmax(power)), power.shape)
    return Figures(
        values={
            "energy": round(float(np.mean(levels**2)), 6),
            "profile": [round(share, 9) for share in profile.tolist()],
            "high_share": round(float(power[radius >= float(params["cutoff"])].sum()) / total, 9),
            "orientation_deg": round(orientation, 3),
            "orientation_strength": round(strength, 6),
            "peak": [round(float(fx[col]), 6), round(float(fy[row, 0]), 6)],
            "peak_share": round(float(power[row, col]) / total, 9),
        }
    )


def dct(window: Window, _params: Params) -> Histogram:
    """Add up the squares of the cosine coefficients of 8 x 8 blocks, by frequency.

    The transform of JPEG (type II, orthonormal), in whole numbers: coefficients are rounded to 1/16 grey level, so
    sums do not depend on how the frame is cut. Blocks start at the frame's corner; pixels that are left over
    at the right and at the bottom count in none.

    Args:
        window: Grey.

    Returns:
        Eight rows of eight sums (y frequency by x frequency) in 1/256 squared grey levels, and the number of
        blocks; `dct_energy` says what they amount to.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        N. Ahmed, T. Natarajan, K. R. Rao, Discrete Cosine Transform, IEEE Transactions on Computers C-23, 1974;
        ITU-T T.81, annex A.3.3.
    """
    require_gray(window.pixels)
    pixels = window.core_pixels
    down, across = pixels.shape[0] // BLOCK_PX, pixels.shape[1] // BLOCK_PX
    sums = np.zeros((BLOCK_PX, BLOCK_PX), np.int64)
    matrix = _cosines()
    for row in range(down):  # row by row of blocks: little memory, whatever the frame
        strip = pixels[row * BLOCK_PX : (row + 1) * BLOCK_PX, : across * BLOCK_PX]
        blocks = strip.reshape(BLOCK_PX, across, BLOCK_PX).swapaxes(0, 1).astype(np.float64) - 128
        scaled = matrix @ blocks @ matrix.T * (COEFFICIENT_STEPS / 2.0 ** (2 * COSINE_BITS))
        coefficients = np.rint(scaled).astype(np.int64)
        sums += (coefficients * coefficients).sum(axis=0)
    return Histogram(counts=[*sums.tolist(), [down * across]])


def dct_energy(sums: Histogram, params: Params) -> Figures:
    """Say the energy of a frame by block frequency.

    Args:
        sums: From `dct`, of all tiles.
        params: `cutoff`, the sum of both frequency numbers from which a coefficient counts as high.

    Returns:
        Figures: `blocks`; `energy`, eight rows (y frequency 0 to 7) of eight (x frequency 0 to 7) mean squares in
        grey levels; the first is the blocks' brightness about 128. Shares of all others together: `high_share`,
        of `cutoff` and above; `horizontal_share`, that change along x alone; `vertical_share`, along y alone.
    """
    blocks = sums.counts[BLOCK_PX][0]
    energy = np.array(sums.counts[:BLOCK_PX], np.float64) / (max(1, blocks) * COEFFICIENT_STEPS**2)
    order = np.add.outer(np.arange(BLOCK_PX), np.arange(BLOCK_PX))
    change = float(energy[order > 0].sum()) or 1.0
    return Figures(
        values={
            "blocks": blocks,
            "energy": np.round(energy, 4).tolist(),
            "high_share": round(float(energy[order >= int(params["cutoff"])].sum()) / change, 9),
            "horizontal_share": round(float(energy[0, 1:].sum()) / change, 9),
            "vertical_share": round(float(energy[1:, 0].sum()) / change, 9),
        }
    )


def wavelet(window: Window, params: Params) -> Figures:
    """Say the energy of a picture by the sub-bands of a wavelet transform.

    The mean is taken away first; the picture is continued periodically, so that an orthogonal wavelet keeps the energy
    where both sides are multiples of 2^levels. Fewer levels are told of a picture too small for them.

    Args:
        window: Grey; the whole frame.
        params: `wavelet`; `levels`.

    Returns:
        Figures: `levels` that were made; `energy`, all squares by the number of pixels, in squared grey levels;
        shares of it: `approximation`, what is coarser than the last level; `horizontal`, `vertical` and
        `diagonal`, lists with the finest level first (`horizontal` holds edges that lie, so changes along y).
        A flat picture has zeros.

    Raises:
        BadPixels: Not (rows, cols) uint8.

    References:
        S. Mallat, A Theory for Multiresolution Signal Decomposition, IEEE TPAMI 11(7), 1989; PyWavelets, wavedec2.
    """
    import pywt

    require_gray(window.pixels)
    levels = window.pixels.astype(np.float64)
    levels -= levels.mean()
    name = str(params["wavelet"])
    depth = min(int(params["levels"]), int(pywt.dwtn_max_level(levels.shape, name)))
    coarse, *details = pywt.wavedec2(levels, name, mode="periodization", level=depth)
    bands = [[float(np.sum(band**2)) for band in detail] for detail in reversed(details)]
    rest = float(np.sum(coarse**2))
    total = rest + sum(map(sum, bands))
    horizontal, vertical, diagonal = ([round(band[at] / (total or 1.0), 9) for band in bands] for at in range(3))
    return Figures(
        values={
            "levels": depth,
            "energy": round(total / levels.size, 6),
            "approximation": round(rest / (total or 1.0), 9),
            "horizontal": horizontal,
            "vertical": vertical,
            "diagonal": diagonal,
        }
    )


def _power(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared spectrum of x frequencies from 0 on; those that stand for their mirror image too count twice."""
    from scipy import fft  # slow to import, and few pipelines need it

    spectrum = fft.rfft2(levels)
    power: NDArray[np.float64] = spectrum.real**2 + spectrum.imag**2
    last = power.shape[1] if levels.shape[1] % 2 else power.shape[1] - 1
    power[:, 1:last] *= 2
    return power


def _orientation(power: NDArray[np.float64], fx: NDArray[np.float64], fy: NDArray[np.float64]) -> tuple[float, float]:
    """Direction, degrees, and strength of the main axis of the spectrum."""
    xx, yy, xy = (float(np.sum(power * product)) for product in (fx * fx, fy * fy, fx * fy))
    if xx + yy <= 0:
        return 0.0, 0.0
    # Waves of the highest frequency are their own mirror image: which way they run diagonally cannot be told.
    angle = math.degrees(math.atan2(2 * xy, xx - yy)) / 2 % 180
    return angle, math.hypot(xx - yy, 2 * xy) / (xx + yy)


def _no_spectrum(bins: int) -> Figures:
    zeros = {"energy": 0.0, "profile": [0.0] * bins, "high_share": 0.0, "orientation_deg": 0.0}
    return Figures(values={**zeros, "orientation_strength": 0.0, "peak": [0.0, 0.0], "peak_share": 0.0})


def _hann(length: int) -> NDArray[np.float64]:
    """Hann window that is nowhere 0, so that pictures of one row or column keep theirs."""
    at = (np.arange(length) + 0.5) / length
    return np.asarray(np.sin(np.pi * at) ** 2, np.float64)


def _cosines() -> NDArray[np.float64]:
    """Matrix of the 8-point transform, whole numbers of 1 / 2^COSINE_BITS."""
    wave, at = np.mgrid[:BLOCK_PX, :BLOCK_PX].astype(np.float64)
    exact = np.sqrt(np.where(wave == 0, 1, 2) / BLOCK_PX) * np.cos((2 * at + 1) * wave * np.pi / (2 * BLOCK_PX))
    return np.asarray(np.rint(exact * 2.0**COSINE_BITS), np.float64)


ROWS: tuple[Operator, ...] = (
    Operator(
        name="dft",
        family="frequency",
        kind="measure",
        run=dft,
        scope="frame",
        parameters=(
            Parameter(name="bins", default=16, low=1, high=256, meaning="rings of the energy profile"),
            Parameter(name="cutoff", default=0.25, low=0, high=0.75, meaning="high from here on, cycles per pixel"),
            Parameter(name="taper", default=True, meaning="fade to the border by a Hann window"),
        ),
        meaning="power spectrum: energy by frequency, dominant orientation, strongest wave",
    ),
    Operator(
        name="dct",
        family="frequency",
        kind="measure",
        run=dct,
        exact="exact",
        finish=dct_energy,
        parameters=(
            Parameter(name="cutoff", default=6, low=1, high=14, meaning="high from here on, x and y frequency number"),
        ),
        meaning="energy by frequency of the cosine transform of 8 x 8 blocks",
    ),
    Operator(
        name="wavelet",
        family="frequency",
        kind="measure",
        run=wavelet,
        scope="frame",
        needs=("PyWavelets", "recognition"),
        parameters=(
            Parameter(
                name="wavelet",
                default="haar",
                choices=("haar", "db2", "db4", "sym4", "coif1"),
                meaning="orthogonal wavelet",
            ),
            Parameter(name="levels", default=3, low=1, high=8, meaning="each halves the size"),
        ),
        meaning="energy of each wavelet sub-band by level",
    ),
)
