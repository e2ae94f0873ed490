"""What containers and `make up` install: names of all that extras need; versions and digests are in the lock.

`python -m compose.image_names` writes `requirements/*.names`. `requirements.lock` holds what developers need as well,
which has no place in an image and takes time. `pick.py` takes the named entries out of it, and pip (`--require-hashes`)
refuses what is missing or is not the very file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from compose.pick import picked

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = Path(__file__).parent / "requirements"
PYTHON: Final = "3.13"
"""Of the image; `Dockerfile` names the patch release."""

BASE: Final = ("streamproc[archive,cameras,sinks,tracing]", "scikit-image")  # the latter for the built-in camera
IMAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "image": BASE,
    "recognition": (*BASE, "streamproc[recognition]"),
    "build": ("hatchling",),
    "up": (
        "streamproc[broker,cameras]",
        "scikit-image",
        "pyyaml",
        "hatchling",
        "editables",
    ),  # `make up`, on a new clone
}
"""File names, and what each holds with all it needs."""


def needed(roots: Iterable[str]) -> set[str]:
    """Names of all that these requirements need in the image, themselves included; read off what is installed here.

    Raises:
        PackageNotFoundError: One is not installed.
    """
    seen: set[tuple[str, str]] = set()
    left = [(canonicalize_name(one.name), extra) for one in map(Requirement, roots) for extra in ("", *one.extras)]
    while left:
        name, extra = left.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for one in _requirements(name):
            if _applies(one.marker, extra):
                left += [(canonicalize_name(one.name), more) for more in ("", *one.extras)]
    return {name for name, _ in seen}


@cache
def _requirements(name: str) -> tuple[Requirement, ...]:
    return tuple(map(Requirement, metadata.requires(name) or ()))


@cache
def _applies(marker: Marker | None, extra: str) -> bool:
    """Whether a requirement with this marker is needed on the image's Python and Linux."""
    if marker is None:
        return extra == ""
    environment = {key: str(value) for key, value in default_environment().items()}
    image = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux"}
    return marker.evaluate({**environment, **image, "platform_system": "Linux", "os_name": "posix", "extra": extra})


def files() -> dict[str, str]:
    """Names and texts of the files."""
    found = {name: sorted(needed(roots) - {"streamproc"}) for name, roots in IMAGES.items()}
    picked((ROOT / "requirements.lock").read_text(), {name for names in found.values() for name in names})
    head = "# Made by: python -m compose.image_names\n"
    return {f"{name}.names": head + "".join(f"{one}\n" for one in names) for name, names in found.items()}


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
