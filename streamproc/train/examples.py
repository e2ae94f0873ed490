"""Pictures whose label is known: a folder for each label, or real data that scikit-learn and scikit-image bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from producers.sources.picture import PICTURE_SUFFIXES, read_picture
from producers.sources.source import Notices, natural_key
from streamproc.errors import SourceError, UsageError
from streamproc.model import Pixels
from streamproc.operators.classifiers import FEATURES, MAX_LABELS, pooled_features, wrong_labels

BUILT_IN: Final = ("digits", "lfw")
LEAST_PICTURES: Final = 10  # of a label: a half has 5, enough for the three parts by which an SVM is calibrated
MAX_PICTURES: Final = 50_000
MAX_PIXELS: Final = 2**26  # of a picture
FACES: Final = 100  # lfw_subset: so many faces, then as many patches without

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """Features of pictures and the label of each.

    Attributes:
        name: For the report.
        features: (N, FEATURES) float32.
        truth: (N,) index into `labels`.
        labels: At least two, all different.
        skipped: One line for each file that gave no picture.
    """

    name: str
    features: NDArray[np.float32]
    truth: NDArray[np.intp]
    labels: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def counts(self) -> list[int]:
        """Pictures of each label."""
        counts: list[int] = np.bincount(self.truth, minlength=len(self.labels)).tolist()
        return counts


def load_examples(data: str, progress: Progress) -> Examples:
    """Read pictures and describe them by their features; the pictures themselves are not kept.

    Args:
        data: "digits" (1797 handwritten digits, 8x8), "lfw" (200 patches, 25x25, face or not), or a folder that holds
            a folder of pictures for each label, named as the label. Write ./digits for a folder of that name.
        progress: Told of pictures.

    Raises:
        UsageError: No such folder, fewer than two labels, a label with fewer than 10 pictures, or too many of either.
    """
    if data == "digits":
        return _digits(progress)
    if data == "lfw":
        return _faces(progress)
    return _folder(Path(data), progress)


def _digits(progress: Progress) -> Examples:
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = np.rint(found.images * (255 / 16)).astype(np.uint8)
    features = _described(pictures, len(pictures), progress)
    return Examples(
        name="digits of scikit-learn",
        features=features,
        truth=np.asarray(found.target, np.intp),
        labels=tuple(str(digit) for digit in range(10)),
    )


def _faces(progress: Progress) -> Examples:
    try:
        from skimage.data import lfw_subset
    except ImportError:
        raise UsageError("the data lfw needs scikit-image: pip install 'streamproc[demo]'") from None
    patches = lfw_subset()  # type: ignore[no-untyped-call]
    pictures = np.rint(np.clip(patches, 0, 1) * 255).astype(np.uint8)
    features = _described(pictures, len(pictures), progress)
    truth = (np.arange(len(pictures)) >= FACES).astype(np.intp)
    return Examples(name="lfw_subset of scikit-image", features=features, truth=truth, labels=("face", "no face"))


def _described(pictures: Iterable[Pixels], total: int, progress: Progress) -> NDArray[np.float32]:
    rows = []
    for done, picture in enumerate(pictures, start=1):
        rows.append(pooled_features(picture))
        progress("pictures", done, total)
    return np.array(rows, np.float32).reshape(-1, FEATURES)


def _folder(folder: Path, progress: Progress) -> Examples:
    files, skipped = _listed(folder)
    total, done = sum(len(found) for found in files.values()), 0
    if total > MAX_PICTURES:
        raise UsageError(f"{folder} has {total} files, at most {MAX_PICTURES} are taken: train on some of them")
    rows: list[NDArray[np.float32]] = []
    truth: list[int] = []
    for index, found in enumerate(files.values()):
        for file in found:
            try:
                rows.append(pooled_features(read_picture(file, max_pixels=MAX_PIXELS, notices=Notices(_unheard))))
                truth.append(index)
            except SourceError as error:
                skipped.append(str(error))
            done += 1
            progress("pictures", done, total)
    _require_enough(folder, tuple(files), truth, len(skipped))
    return Examples(
        name=_printable(folder.resolve().name),
        features=np.array(rows, np.float32),
        truth=np.array(truth, np.intp),
        labels=tuple(files),
        skipped=tuple(_printable(line) for line in skipped),
    )


def _listed(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Picture files by label, in natural order, and what is left out; hidden files are passed over in silence."""
    skipped: list[str] = []
    try:
        entries = [one for one in folder.iterdir() if not one.name.startswith(".")]
        folders = sorted((one for one in entries if one.is_dir()), key=lambda one: natural_key(one.name))
        skipped += [f"{one} is in no label's folder" for one in entries if not one.is_dir()]
        if len(folders) > MAX_LABELS:
            raise UsageError(f"{folder} has {len(folders)} folders, at most {MAX_LABELS} labels are taken")
        files = {one.name: _pictures(one, skipped) for one in folders}
    except OSError as error:
        built_in = " or ".join(BUILT_IN)
        told = f"{error.filename or folder} cannot be read ({error.strerror})"
        raise UsageError(f"{told}: name a folder with a folder of pictures for each label, or {built_in}") from error
    if len(files) < 2:
        raise UsageError(f"{folder} has {len(files)} folders of pictures: at least two labels are needed to tell apart")
    wrong = wrong_labels(tuple(files))
    if wrong is not None:
        raise UsageError(f"{folder}: {wrong}: rename the folder")
    return files, skipped


def _pictures(folder: Path, skipped: list[str]) -> list[Path]:
    found = []
    for one in folder.iterdir():
        if one.name.startswith("."):
            continue
        if one.is_file() and one.suffix.lower() in PICTURE_SUFFIXES:
            found.append(one)
        else:
            skipped.append(f"{one} is no picture file")
    return sorted(found, key=lambda one: natural_key(one.name))


def _require_enough(folder: Path, labels: Sequence[str], truth: Sequence[int], skipped: int) -> None:
    counts = np.bincount(np.array(truth, np.intp), minlength=len(labels))
    few = [f"{label} ({count})" for label, count in zip(labels, counts, strict=True) if count < LEAST_PICTURES]
    if few:
        told = ", ".join(few[:10]) + (", ..." if len(few) > 10 else "")
        left = f"; {skipped} files were left out" if skipped else ""
        raise UsageError(f"{folder}: each label needs {LEAST_PICTURES} pictures, too few have: {told}{left}")


def _printable(line: str) -> str:
    """A line as it may be shown: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def _unheard(_line: str) -> None:
    """Dropped alpha and bits do not matter here."""
