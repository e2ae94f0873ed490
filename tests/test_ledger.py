"""The ledger file: what is written is read, whatever way the writer ended, and damage is named by file and line."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc import ledger as ledger_module
from streamproc.errors import LedgerError, UsageError
from streamproc.ledger import MAX_REASON, FrameLine, Ledger, LedgerWriter, line_of, read_ledger
from streamproc.model import FrameKey
from tests.features import tile_header

FIRST = b'{"kind":"ledger","schema":1}\n'


def frame_line(sequence: int, *, camera: str = "cam", run: str = "r1") -> FrameLine:
    return FrameLine(
        camera=camera,
        run=run,
        sequence=sequence,
        captured_ns=1_000 + sequence,
        width=64,
        height=48,
        tiles=4,
        codec="png",
        sha256=hashlib.sha256(bytes([sequence % 256])).hexdigest(),
        digest=f"{sequence:032x}",
    )


def text_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cam.ledger"


def test_the_lines_are_the_documented_ones(file: Path) -> None:
    with LedgerWriter(file) as writer:
        writer.frame(frame_line(0))
        writer.frame(frame_line(1))
        writer.status(FrameKey("cam", "r1", 0), "acked")
        writer.status(FrameKey("cam", "r1", 1), "unknown", "not acknowledged\nin time")
        writer.unsent("cam", "r1", captured_ns=7, status="dropped", reason="drop-oldest")
    first, frame, _, acked, unknown, dropped = text_of(file)
    assert first == {"kind": "ledger", "schema": 1}
    assert frame == {
        "kind": "frame",
        "camera": "cam",
        "run": "r1",
        "sequence": 0,
        "captured_ns": 1000,
        "width": 64,
        "height": 48,
        "tiles": 4,
        "codec": "png",
        "sha256": hashlib.sha256(b"\0").hexdigest(),
        "digest": "0" * 32,
    }
    status = {"kind": "status", "camera": "cam", "run": "r1"}
    assert acked == {**status, "sequence": 0, "status": "acked", "reason": None}
    assert unknown == {**status, "sequence": 1, "status": "unknown", "reason": "not acknowledged in time"}
    assert dropped == {**status, "sequence": None, "captured_ns": 7, "status": "dropped", "reason": "drop-oldest"}


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_a_line_has_the_digest_of_the_pixels_in_c_order(shape: tuple[int, ...]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    turned = np.asfortranarray(pixels)
    header = tile_header()
    line = line_of(header, turned)
    assert line.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert line.key == header.key
    assert bytes.fromhex(line.digest) == header.frame_digest
    assert (line.width, line.height, line.tiles) == (header.frame_width, header.frame_height, header.tile_count)


Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["acked", "failed", "unknown", "killed"]), st.just(0)),
        st.tuples(st.sampled_from(["dropped", "unsent"]), st.integers(-(2**62), 2**62)),
    ),
    max_size=20,
)


def write_run(file: Path, run: str, steps: list[Step], reason: str) -> None:
    """A run of which each step is a frame; the statuses come after all frames, the last frame's first."""
    with LedgerWriter(file) as writer:
        writer.begin("cam", run)
        fates: list[tuple[FrameKey, str]] = []
        for what, captured_ns in steps:
            if what in ("dropped", "unsent"):
                status = "dropped" if what == "dropped" else "failed"
                writer.unsent("cam", run, captured_ns=captured_ns, status=status, reason=reason)  # type: ignore[arg-type]
            else:
                writer.frame(frame_line(len(fates), run=run))
                fates.append((FrameKey("cam", run, len(fates)), what))
        for key, fate in reversed(fates):
            if fate != "killed":
                writer.status(key, fate, None if fate == "acked" else reason)  # type: ignore[arg-type]


def expected(runs: list[list[Step]]) -> dict[str, int]:
    kinds = [what for steps in runs for what, _ in steps]
    return {
        "acked": kinds.count("acked"),
        "failed": kinds.count("failed") + kinds.count("unsent"),
        "unknown": kinds.count("unknown") + kinds.count("killed"),
        "dropped": kinds.count("dropped"),
    }


@given(runs=st.lists(STEPS, max_size=3), reason=st.text(max_size=600))
def test_what_is_written_is_read(runs: list[list[Step]], reason: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger"
        for number, steps in enumerate(runs):
            write_run(file, f"r{number}", steps, reason)
        if not runs:
            file.touch()
        found = read_ledger(file)
    assert found.counts() == expected(runs)
    assert found.runs == {("cam", f"r{number}") for number, steps in enumerate(runs) if steps}
    said = " ".join(reason.split())[:MAX_REASON]
    for frame in found.frames.values():
        assert frame.line == frame_line(frame.key.sequence, run=frame.key.run)
        assert frame.reason in {None, said, "not said"}
        assert (frame.reason is None) <= (frame.status != "failed")
    assert {frame.reason for frame in (*found.dropped, *found.unsent)} <= {said}


@given(runs=st.lists(STEPS, min_size=1, max_size=2), share=st.floats(0, 1))
def test_a_file_cut_anywhere_reads_as_its_whole_lines_and_can_be_appended_to(
    runs: list[list[Step]], share: float
) -> None:
    with TemporaryDirectory() as folder:
        file, whole_lines = Path(folder) / "ledger", Path(folder) / "whole"
        for number, steps in enumerate(runs):
            write_run(file, f"r{number}", steps, "a reason")
        data = file.read_bytes()
        kept = data[: round(len(data) * share)]
        file.write_bytes(kept)
        whole_lines.write_bytes(kept[: kept.rfind(b"\n") + 1])
        cut, whole = read_ledger(file), read_ledger(whole_lines)
        assert cut == whole
        write_run(file, "later", [("acked", 0)], "")
        after = read_ledger(file)
    assert len(after.frames) == len(whole.frames) + 1
    assert after.counts()["acked"] == whole.counts()["acked"] + 1


def test_a_frame_without_a_status_is_unknown(file: Path) -> None:
    with LedgerWriter(file) as writer:
        writer.frame(frame_line(0))
    (frame,) = read_ledger(file).frames.values()
    assert (frame.status, frame.reason) == ("unknown", None)


def status_line(sequence: object, status: str = "acked", **more: object) -> bytes:
    line = {"kind": "status", "camera": "cam", "run": "r1", "sequence": sequence, "status": status, "reason": None}
    return json.dumps({**line, **more}).encode() + b"\n"


def frame_bytes(**changes: object) -> bytes:
    return json.dumps({**msgspec.json.decode(msgspec.json.encode(frame_line(0))), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("lines", "number", "told"),
    [
        ([b"nonsense\n"], 1, ""),
        ([frame_bytes()], 1, "kind ledger"),
        ([b"a note of somebody"], 1, "not the first line of a ledger"),
        ([FIRST, b"\n"], 2, ""),
        ([FIRST, FIRST], 2, "kind ledger"),
        ([FIRST, frame_bytes()[:-20] + b"\n", frame_bytes()], 2, ""),
        ([FIRST, frame_bytes(), frame_bytes()], 3, "has a line already"),
        ([FIRST, frame_bytes(sha256="ab")], 2, "sha256"),
        ([FIRST, frame_bytes(sequence=-1)], 2, "sequence"),
        ([FIRST, frame_bytes(codec="gif")], 2, "codec"),
        ([FIRST, frame_bytes(camera="../x")], 2, "camera"),
        ([FIRST, b"\xff" + frame_bytes()], 2, ""),
        ([FIRST, status_line(0)], 2, "no line"),
        ([FIRST, frame_bytes(), status_line(0), status_line(0)], 4, "has a status already"),
        ([FIRST, frame_bytes(), status_line(0, "unknown"), status_line(0)], 4, "has a status already"),
        ([FIRST, frame_bytes(), status_line(0, "dropped")], 3, ""),
        ([FIRST, frame_bytes(), status_line(0, "lost")], 3, "lost"),
        ([FIRST, status_line(None, "dropped")], 2, "captured_ns"),
        ([FIRST, status_line(None, "acked", captured_ns=1)], 2, "dropped or failed"),
        ([FIRST, b"x" * 10_000], 2, "longer than 8192 bytes"),
    ],
)
def test_a_broken_line_is_named(file: Path, lines: list[bytes], number: int, told: str) -> None:
    file.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError) as caught:
        read_ledger(file)
    assert f"{file} is broken at line {number}: " in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_ledger_is_left_as_it_is(file: Path) -> None:
    for content in (b"a note of somebody", b"two\nlines\n", FIRST + b"{}\n"):
        file.write_bytes(content)
        with pytest.raises(LedgerError, match="broken at line"):
            LedgerWriter(file)
        assert file.read_bytes() == content


def test_a_newer_schema_is_refused_by_its_number(file: Path) -> None:
    file.write_bytes(b'{"kind":"ledger","schema":2}\n')
    for use in (read_ledger, LedgerWriter):
        with pytest.raises(LedgerError, match="schema 2"):
            use(file)


def test_places_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot be read"):
        read_ledger(tmp_path / "missing")
    for path in (tmp_path, tmp_path / "no" / "folder", Path("/dev/null")):
        with pytest.raises(LedgerError, match=str(path)):
            LedgerWriter(path)


def test_a_second_writer_is_refused_while_the_first_writes(file: Path) -> None:
    with LedgerWriter(file) as first:
        with pytest.raises(LedgerError, match="another producer"):
            LedgerWriter(file)
        first.frame(frame_line(0))
    with LedgerWriter(file) as second:
        second.status(FrameKey("cam", "r1", 0), "acked")
    assert read_ledger(file).counts()["acked"] == 1


def test_a_run_that_is_in_the_ledger_cannot_begin_again(file: Path) -> None:
    with LedgerWriter(file) as writer:
        writer.begin("cam", "r1")
        writer.frame(frame_line(0))
    with LedgerWriter(file) as writer:
        with pytest.raises(UsageError, match="choose another --run"):
            writer.begin("cam", "r1")
        writer.begin("other", "r1")
        writer.begin("cam", "r2")


def test_threads_do_not_mix_their_lines(file: Path) -> None:
    def write(camera: str) -> None:
        for sequence in range(200):
            writer.frame(frame_line(sequence, camera=camera))
            writer.status(FrameKey(camera, "r1", sequence), "acked")

    with LedgerWriter(file) as writer:
        threads = [threading.Thread(target=write, args=(f"cam{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert read_ledger(file).counts() == {"acked": 800, "failed": 0, "unknown": 0, "dropped": 0}


def test_a_line_that_cannot_be_written_is_told_and_nothing_follows_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> None:
        whole(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    whole = ledger_module._write_all
    with LedgerWriter(file) as writer:
        writer.frame(frame_line(0))
        monkeypatch.setattr(ledger_module, "_write_all", full)
        with pytest.raises(LedgerError, match=r"No space left on device.*free space"):
            writer.frame(frame_line(1))
        monkeypatch.undo()
        with pytest.raises(LedgerError, match="could not be written before"):
            writer.frame(frame_line(2))
    assert [key.sequence for key in read_ledger(file).frames] == [0]
    with LedgerWriter(file) as writer:
        writer.frame(frame_line(3))
    assert [key.sequence for key in read_ledger(file).frames] == [0, 3]


KILLED = """
import os, signal, sys
from pathlib import Path
from streamproc.ledger import LedgerWriter
from tests.test_ledger import frame_line
writer = LedgerWriter(Path(sys.argv[1]))
for sequence in range(50):
    writer.frame(frame_line(sequence))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_nothing_that_was_written(file: Path) -> None:
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], cwd=root, timeout=60, check=False)
    assert done.returncode == -9
    found: Ledger = read_ledger(file)
    assert [key.sequence for key in found.frames] == list(range(50))
    assert found.counts()["unknown"] == 50
