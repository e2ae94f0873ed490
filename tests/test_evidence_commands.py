"""`show` and `clip` refuse what cannot be in one line, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import streamproc

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "x", "--out", "a.jpg"], 2, "--out a.jpg: the picture is written as PNG, name it so"),
        (["clip", "--camera=a", "--from=2h", "--to=1h", "--out=a.avi"], 2, "is written as MP4, name it so"),
        (["clip", "--camera=a", "--from=1h", "--to=2h", "--out=a.mp4"], 2, "--to 2h is not after --from 1h"),
        (["clip", "--camera=a", "--from=9999999d", "--to=1h", "--out=a.mp4"], 2, "--from '9999999d' is before 1970"),
        (["show", "x", "--out=a.png", "--archive=s3://user:secret@bucket"], 2, "s3://user:***@bucket: a password"),
        (["show", "x", "--out=a.png", "--archive=nothing"], 1, "holds no files of topic streamproc.events"),
        (["show", "x", "--out=a.png", "--events=nothing.jsonl"], 1, "nothing.jsonl cannot be read: No such file"),
    ],
)
def test_wrong_usage_is_told_in_one_line(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    done = streamproc(*arguments, cwd=tmp_path)
    assert done.code == code, done.err
    assert words in done.error_line
    assert "secret" not in done.out + done.err
    assert list(tmp_path.iterdir()) == []


def test_a_broker_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = streamproc("show", "x", "--out=a.png", cwd=tmp_path, STREAMPROC_BOOTSTRAP=NOWHERE)
    assert done.code == 1
    assert f"the log on {NOWHERE}: " in done.error_line
