"""The entries of a lock that a list names: `python pick.py requirements.lock image.names > image.lock`.

Run inside the build of the container, so the standard library alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

_ENTRY = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==.*(?:\n    --hash=.*)+", re.MULTILINE)


def canonical(name: str) -> str:
    """A package's name as all ways to write it are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def picked(lock: str, names: Iterable[str]) -> str:
    """The entries of these names with their digests, in the order of the lock.

    Raises:
        KeyError: The lock does not hold a name.
    """
    wanted = {canonical(name) for name in names}
    found = [(canonical(match[1]), match[0]) for match in _ENTRY.finditer(lock)]
    if missing := wanted - {name for name, _ in found}:
        raise KeyError(f"requirements.lock has no entry for {', '.join(sorted(missing))}")
    return "".join(f"{text}\n" for name, text in found if name in wanted)


def main(arguments: list[str]) -> int:
    """Print what is picked."""
    if len(arguments) != 2:
        print("usage: pick.py LOCK NAMES", file=sys.stderr)
        return 2
    lock, names = (Path(argument).read_text(encoding="utf-8") for argument in arguments)
    print(picked(lock, [line for line in names.splitlines() if line and not line.startswith("#")]), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
