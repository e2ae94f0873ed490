"""The long tier: `python -m tests.chaos --seed 1`; prints a table, writes figures as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.chaos import ledger_run, load_run

_STARTED_S = time.monotonic()


def _say(line: str) -> None:
    print(f"{time.monotonic() - _STARTED_S:7.1f} s  {line}", flush=True)


def main(arguments: list[str]) -> int:
    """Run the parts that were asked for; 0 if each did as it must."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of all chance")
    parser.add_argument("--frames", type=int, default=20_000, help="of each ledger run")
    parser.add_argument("--faults", type=int, default=50, help="of each ledger run")
    parser.add_argument("--minutes", type=float, default=10, help="of full load")
    parser.add_argument("--bad-tiles", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("chaos-out"))
    parts = ["one", "three", "hand-over", "load", "bad-tiles"]
    parser.add_argument("--part", action="append", choices=parts, help="default: all")
    given = parser.parse_args(arguments)
    size = ledger_run.Size(frames=given.frames, faults=given.faults)
    folder = given.out / f"seed-{given.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=folder / "clients.log", level=logging.WARNING)  # each refused connection is a line
    runs: Mapping[str, Callable[[Path], dict[str, Any]]] = {
        "one": lambda at: ledger_run.run(1, seed=given.seed, size=size, folder=at, say=_say),
        "three": lambda at: ledger_run.run(3, seed=given.seed, size=size, folder=at, say=_say),
        "hand-over": lambda at: load_run.hand_over(folder=at, say=_say),
        "load": lambda at: load_run.full_load(minutes=given.minutes, folder=at, say=_say),
        "bad-tiles": lambda at: load_run.bad_tiles(given.bad_tiles, seed=given.seed, folder=at, say=_say),
    }
    figures: dict[str, dict[str, Any]] = {}
    for part in given.part or parts:
        _say(f"{part}, seed {given.seed}")
        shutil.rmtree(folder / part, ignore_errors=True)  # of a run before, with the same seed
        try:
            figures[part] = runs[part](folder / part)
        except AssertionError as error:
            figures[part] = {"wrong": {"failed": [str(error)]}}
        (folder / "figures.json").write_text(json.dumps({"seed": given.seed, **figures}, indent=2) + "\n")
    show(figures)
    print(f"figures: {folder / 'figures.json'}")
    red = [part for part, found in figures.items() if found.get("wrong")]
    for part in red:
        print(f"RED {part}, seed {given.seed}: {figures[part]['wrong']}; artefacts: {folder / part}")
    return 1 if red else 0


def show(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Print all figures, one line each."""
    for part, found in figures.items():
        for name, value in _flat(found):
            print(f"{part:10} {name:44} {value}")


def _flat(found: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in found.items():
        lines += _flat(value, f"{before}{name}: ") if isinstance(value, dict) else [(before + name, value)]
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
