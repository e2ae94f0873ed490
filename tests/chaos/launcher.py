"""Runs `streamproc` with failpoints and planted bugs in it.

python -m tests.chaos.launcher --failpoint after-poll@37 --bug no-dedupe -- worker --role all
"""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str]) -> None:
    """Patch, then hand over to the program."""
    # First of all: it sets what must be set before OpenCV is imported.
    import streamproc.__main__ as program
    from tests.chaos.patches import BUGS, FAILPOINTS, arm, plant

    border = arguments.index("--")
    parser = argparse.ArgumentParser(prog="launcher")
    parser.add_argument("--failpoint", action="append", default=[], metavar="NAME@N")
    parser.add_argument("--bug", action="append", default=[], choices=sorted(BUGS))
    own = parser.parse_args(arguments[:border])
    for bug in own.bug:
        plant(bug)
    for failpoint in own.failpoint:
        name, _, nth = failpoint.partition("@")
        if name not in FAILPOINTS:
            parser.error(f"no failpoint {name!r}: {', '.join(FAILPOINTS)}")
        arm(name, int(nth or 1))
    sys.argv = ["streamproc", *arguments[border + 1 :]]
    program.main()


if __name__ == "__main__":
    main(sys.argv[1:])
