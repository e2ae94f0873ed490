"""The report on disk: `report.html`, which needs nothing beside it, and its pictures as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamproc.report.facts import Facts, facts_of
from streamproc.report.page import PICTURES, render
from streamproc.report.pictures import Picture, outlines_of, pictures_of
from streamproc.report.values import Report, Sample

MAX_SAMPLES = 8
PICTURE_BYTES = 3_800_000  # of all pictures; a third more as base64 in the page
MOST_BYTES = 400_000  # of one picture, when there are few


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html` and `pictures/` into a folder, which is made if need be.

    Of more than `MAX_SAMPLES` samples as many are shown, evenly spread. The page stays below 6 MB whatever
    the frames are. Files of an earlier report are overwritten where names are equal.

    Args:
        report: What to tell.
        folder: Where to.

    Returns:
        Path of `report.html`.

    Raises:
        ReportError: A library of the `demo` extra is missing; nothing is written then.
        BadPixels: A sample's pixels are no picture.
        OSError: The folder cannot be written.
    """
    chosen = _spread(report.samples)
    most_bytes = min(MOST_BYTES, PICTURE_BYTES // (3 * max(1, len(chosen))))
    outlines = outlines_of(report.pipeline)
    shown: list[tuple[Facts, list[Picture]]] = []
    for sample in chosen:
        facts = facts_of(sample.event)
        shown.append((facts, pictures_of(sample, facts, most_bytes=most_bytes, outlines=outlines)))
    page = render(report, shown)
    folder.mkdir(parents=True, exist_ok=True)
    for index, (facts, pictures) in enumerate(shown):
        _write_pictures(folder / PICTURES, f"{index:02d}-frame{_file_number(facts)}", pictures)
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    """At most `MAX_SAMPLES`, the first and the last among them."""
    if len(samples) <= MAX_SAMPLES:
        return list(samples)
    return [samples[index * (len(samples) - 1) // (MAX_SAMPLES - 1)] for index in range(MAX_SAMPLES)]


def _file_number(facts: Facts) -> str:
    return f"{min(max(facts.sequence, 0), 999_999_999):06d}"


def _write_pictures(folder: Path, name: str, pictures: Sequence[Picture]) -> None:
    folder.mkdir(exist_ok=True)
    for picture in pictures:
        if picture.data:
            (folder / f"{name}-{picture.kind}{picture.suffix}").write_bytes(picture.data)
