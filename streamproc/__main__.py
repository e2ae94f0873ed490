"""The console script: sets what must be set before OpenCV is imported, then hands over to the command line."""

from __future__ import annotations

import os
import sys

# Pixels OpenCV decodes at most; read once, when cv2 is imported. Without it a picture of 48 kB may take 2.3 GB.
_pixels = os.environ.get("STREAMPROC_MAX_FRAME_PIXELS", "")
os.environ.setdefault(
    "OPENCV_IO_MAX_IMAGE_PIXELS", _pixels if _pixels.isdecimal() and len(_pixels) < 11 else str(2**27)
)
# A broken film is told in one line of ours; OpenCV and FFmpeg would add their own to stderr.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# One thread of ours for each core: the libraries' own pools would fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Run the command line."""
    try:
        from streamproc.cli import run

        run()
    except KeyboardInterrupt:  # while libraries are still being loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
