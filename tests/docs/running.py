"""Pages run as they are printed: one bash for each, in a folder with the files a reader has, beside one broker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import skimage.data

from producers.sources.synthetic import synthetic_frame
from tests.docs.blocks import ROOT, Block, script

LONGEST_S: Final = 180.0  # on a busy machine; a quiet one needs at most 20 for a page
ENDING_S: Final = 12.0
BIN: Final = Path(sys.executable).parent


class Session:
    """A page under way, or at its end with what it left running."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process, self._output = process, output

    @property
    def text(self) -> str:
        """What it has printed, stderr included."""
        return self._output.read_text(errors="replace")

    def finish(self) -> None:
        """Wait for the script; fails with what was printed if it fails or takes too long."""
        try:
            code: int | str = self._process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            code = f"no end within {LONGEST_S:g} s"
        assert code == 0, f"{code}:\n{self.text[-3000:]}"
        assert "Traceback (most recent call last)" not in self.text, self.text[-3000:]

    def end(self) -> None:
        """Stop what still runs of it."""
        for number, longest_s in ((signal.SIGTERM, ENDING_S), (signal.SIGKILL, 2.0)):
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                break
            self._process.poll()
            if _gone(self._process.pid, longest_s):
                break
        self._process.wait(2)


def _gone(group: int, longest_s: float) -> bool:
    until_s = time.monotonic() + longest_s
    while time.monotonic() < until_s:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@contextmanager
def typed_into(folder: Path, blocks: list[Block], variables: Mapping[str, str]) -> Iterator[Session]:
    """Begin to run the blocks of a page in a folder; what still runs is stopped when the context is left.

    Args:
        folder: A fresh one.
        blocks: Of one page.
        variables: Of streamproc's settings.
    """
    (folder / ".page.sh").write_text(script(blocks), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMPROC_")}
    environment |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200", **variables}
    output = folder / ".output"
    with output.open("wb") as out:
        process = subprocess.Popen(
            ["bash", ".page.sh"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    session = Session(process, output)
    try:
        yield session
    finally:
        session.end()


def furnish(folder: Path) -> None:
    """The files that pages take for granted: a film, photographs, pictures of two labels, the checkout itself."""
    rgb = skimage.data.coffee()  # type: ignore[no-untyped-call]
    photo = np.ascontiguousarray(np.asarray(rgb, np.uint8)[..., ::-1])
    for name in ("photo.jpg", "photo.png"):
        cv2.imwrite(str(folder / name), photo)
    for name, left in (("left.png", 0), ("middle.png", 150), ("right.png", 300)):
        cv2.imwrite(str(folder / name), photo[:, left : left + 300])
    face = np.ascontiguousarray(np.asarray(skimage.data.astronaut(), np.uint8)[..., ::-1])  # type: ignore[no-untyped-call]
    cv2.imwrite(str(folder / "group.jpg"), face)
    (folder / "people").mkdir()
    cv2.imwrite(str(folder / "people" / "astronaut-1.jpg"), face)
    cv2.imwrite(str(folder / "people" / "astronaut-2.jpg"), cv2.convertScaleAbs(face, alpha=1.1))
    rng = np.random.default_rng(1)
    for label, low in (("day", 150), ("night", 0)):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(12):
            picture = rng.integers(low, low + 90, (64, 64, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / "pictures" / label / f"{number}.png"), picture)
    film = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (640, 384))
    for number in range(20):
        film.write(synthetic_frame(number, width=640, height=384))
    film.release()
    shutil.copyfile(folder / "film.mp4", folder / "holiday.mp4")
    for name in ("docs", ".venv"):
        (folder / name).symlink_to(ROOT / name if name == "docs" else BIN.parent)
