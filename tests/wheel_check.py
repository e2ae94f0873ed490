"""Install the built wheel in an empty environment outside the checkout and run its demo there.

Run as `python -m tests.wheel_check DIST`; `make wheel-check` does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FRAMES = 10


def main(dist: Path) -> None:
    """Fail unless the wheel's own demo ends with every frame complete."""
    (wheel,) = dist.glob("*.whl")
    lock = Path("requirements.lock").resolve()
    with tempfile.TemporaryDirectory(prefix="streamproc wheel ") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # The lock holds the development tools too; as a constraint it only fixes versions of what the wheel asks for.
        versions = folder / "versions.txt"
        versions.write_text(_versions(lock.read_text(encoding="utf-8")), encoding="utf-8")
        shutil.copy(wheel, folder)
        _run([*pip, "--constraint", str(versions), f"streamproc[demo] @ {(folder / wheel.name).as_uri()}"], folder)
        _run([str(python), "-c", "import streamproc, producers; assert 'venv' in streamproc.__file__"], folder)
        done = _run(
            [str(folder / "venv" / "bin" / "streamproc"), "demo", "--frames", str(FRAMES), "--out", "out", "--json"],
            folder,
        )
        result = json.loads(done)
        assert result["outcomes"] == {"complete": FRAMES}, result
        assert (folder / "out" / "report.html").stat().st_size > 10_000
        assert len((folder / "out" / "events.jsonl").read_text().splitlines()) == FRAMES
    print(f"wheel-check: {wheel.name} installed by itself, {FRAMES} of {FRAMES} frames complete")


def _versions(lock: str) -> str:
    """The lock's lines without digests: pip does not take digests for a wheel given by path."""
    lines = (line.rstrip(" \\") for line in lock.splitlines() if line and not line.startswith((" ", "#")))
    return "\n".join(lines) + "\n"


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        sys.exit(f"wheel-check: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
