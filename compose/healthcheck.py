"""Is this container's process ready? Asks its own /readyz; exit status 0 or 1. Standard library alone.

`python healthcheck.py [PORT]`; without a port that of `STREAMPROC_METRICS_PORT`.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 4.0
SHOWN_BYTES = 2000


def main(arguments: list[str]) -> int:
    """Ask, and print what was answered, which `docker inspect` shows."""
    port = arguments[0] if arguments else os.environ.get("STREAMPROC_METRICS_PORT", "")
    if not (port.isdecimal() and 0 < int(port) < 65536):
        print(f"port {port!r} is none: set STREAMPROC_METRICS_PORT, or give one", file=sys.stderr)
        return 1
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before our own process
    try:
        with direct.open(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S) as answer:
            print(answer.read(SHOWN_BYTES).decode(errors="replace"))
            return 0
    except urllib.error.HTTPError as error:
        print(error.read(SHOWN_BYTES).decode(errors="replace"), file=sys.stderr)
    except OSError as error:
        print(f"port {port} does not answer: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
