from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamproc.errors import BrokerError, UsageError
from streamproc.operators.embedding import DIMENSIONS, embed
from streamproc.retrieval import Entry, IndexWriter, reading, store, writing
from streamproc.retrieval.store import Source, Vector
from tests.retrieval.material import brighter, crops, jpeg, shifted


def entry(number: int, **changes: object) -> Entry:
    return Entry(**{"event": f"event-{number}", "width": 64, "height": 48, **changes})  # type: ignore[arg-type]


def vectors(count: int, seed: int = 0) -> Vector:
    made = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def fill(folder: Path, count: int, *, first: int = 0) -> None:
    with writing(folder) as writer:
        for number, vector in enumerate(vectors(first + count)[first:], start=first):
            assert writer.add(entry(number), vector)


def found(folder: Path, vector: Vector, top: int = 1) -> list[str]:
    with reading(folder) as index:
        return [match.entry.event for match in index.search(vector, top)]


def test_the_nearest_of_2000_real_pictures_is_found_as_by_comparing_with_all(tmp_path: Path) -> None:
    pictures = crops(2000, seed=1)
    known = np.array([embed(one) for one in pictures])
    with writing(tmp_path / "index") as writer:
        for number, vector in enumerate(known):
            writer.add(entry(number), vector)
    asked = [change(pictures[at]) for at in range(0, 2000, 50) for change in (jpeg, brighter, shifted)]
    asked += crops(80, seed=2)  # of which the index knows none
    right = 0
    with reading(tmp_path / "index") as index:
        for picture in asked:
            vector = embed(picture)
            alike = known @ vector
            (best,) = index.search(vector, 1)
            number = int(best.entry.event.removeprefix("event-"))
            right += bool(alike[number] >= alike.max() - 1e-3)  # the file holds half precision
            assert best.similarity == pytest.approx(float(alike[number]), abs=2e-3)
    assert right / len(asked) >= 0.98


def test_an_index_gives_back_what_was_put_into_it_best_first(tmp_path: Path) -> None:
    source = Source(topic="tiles", offsets={"0": (3, 4), "2": (7, 7)})
    put = entry(1, box=(1.5, 2, 30, 40.25), label="bike", score=0.5, camera="gate", run="r", sequence=7, source=source)
    one, other = vectors(2)
    with writing(tmp_path) as writer:
        assert writer.add(put, one)
        assert writer.add(entry(2), other)
        assert len(writer) == 2
    with reading(tmp_path) as index:
        best, second = index.search(one, 10)
        assert len(index) == 2
    assert best.entry == put
    assert best.similarity == pytest.approx(1, abs=1e-3)
    assert second.entry.event == "event-2"
    assert second.similarity < best.similarity


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 5)
    with writing(tmp_path) as writer:
        assert writer.has(entry(3))
        assert not writer.add(entry(3), vectors(1)[0])
        assert writer.add(entry(3, box=(0, 0, 5, 5)), vectors(1)[0])
        assert writer.add(entry(3, box=(0, 0, 5, 5), label="face"), vectors(1)[0])
        assert not writer.add(entry(3, box=(0, 0, 5, 5)), vectors(1)[0])
        assert len(writer) == 7
    with reading(tmp_path) as index:
        assert len(index) == 7


def test_additions_of_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    fill(tmp_path, 30)
    fill(tmp_path, 30, first=30)
    for number in (0, 29, 30, 59):
        assert found(tmp_path, vectors(60)[number]) == [f"event-{number}"]
    assert len(list(tmp_path.glob("vectors-*"))) == 1


def test_a_run_that_fails_leaves_the_index_as_it_was_at_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHECKPOINT", 10)

    def broken(writer: IndexWriter) -> None:
        for number, vector in enumerate(vectors(25)):
            writer.add(entry(number), vector)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), writing(tmp_path) as writer:
        broken(writer)
    with reading(tmp_path) as index:
        assert len(index) == 20
    fill(tmp_path, 5, first=20)
    assert found(tmp_path, vectors(25)[24]) == ["event-24"]


KILLED = """
import os, sys
from pathlib import Path
from streamproc.retrieval import store, writing
from tests.retrieval.test_store import entry, vectors

place = sys.argv[2]
if place == "before the table":
    store._digest = lambda file: os._exit(9)
elif place == "before the file":
    store._flush = lambda file: os._exit(9)
with writing(Path(sys.argv[1])) as writer:
    for number, vector in enumerate(vectors(40)[20:], start=20):
        writer.add(entry(number), vector)
    if place == "before all":
        os._exit(9)
    if place == "in the middle of the table":
        writer._table.execute("PRAGMA cache_size = 1")
        for key in range(1000, 1500):
            writer._table.execute("INSERT INTO entries VALUES (?, ?, '', '', zeroblob(4000))", (key, str(key)))
        assert (Path(sys.argv[1]) / "entries.sqlite-journal").stat().st_size > 0
        os._exit(9)
    if place == "in the table":
        table = writer._table
        class Dying:
            def __enter__(self): return table.__enter__()
            def __exit__(self, *exc): os._exit(9)
            def __getattr__(self, name): return getattr(table, name)
        writer._table = Dying()
"""


@pytest.mark.parametrize(
    "place", ["before all", "before the file", "before the table", "in the table", "in the middle of the table"]
)
def test_a_run_that_is_killed_leaves_the_index_whole_and_the_next_one_goes_on(tmp_path: Path, place: str) -> None:
    fill(tmp_path, 20)
    root = Path(__file__).parents[2]
    if place == "before the table":
        # _digest is also asked when the file is opened: let it pass there.
        script = KILLED.replace(
            "store._digest = lambda file: os._exit(9)",
            "real = store._digest; store._digest = lambda f: os._exit(9) if '2.us' in f.name else real(f)",
        )
    else:
        script = KILLED
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), place], cwd=root, check=False)
    assert done.returncode == 9
    with reading(tmp_path) as index:
        assert len(index) == 20
    assert found(tmp_path, vectors(20)[7]) == ["event-7"]
    fill(tmp_path, 20, first=20)
    assert found(tmp_path, vectors(40)[33]) == ["event-33"]
    assert len(list(tmp_path.glob("vectors-*"))) == 1


def test_an_index_may_be_searched_while_it_grows(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    with reading(tmp_path) as index:
        fill(tmp_path, 20, first=20)
        assert len(index) == 20
        assert index.search(vectors(20)[3], 1)[0].entry.event == "event-3"


def test_two_runs_do_not_write_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_WAIT_S", 0.0)
    with writing(tmp_path), pytest.raises(BrokerError, match="another streamproc has been writing this index"):
        fill(tmp_path, 1)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    with writing(tmp_path):
        pass
    assert found(tmp_path, vectors(1)[0], top=5) == []


def test_where_there_is_no_index_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"there is no index in .*: make one with streamproc index --out"),
        reading(tmp_path / "none"),
    ):
        pass


def test_a_folder_of_other_things_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="is no index and not empty"):
        fill(tmp_path, 1)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("opened", [reading, writing])
def test_an_index_of_another_embedding_is_refused_by_name(
    tmp_path: Path, opened: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, 2)
    monkeypatch.setattr(store, "EMBEDDING", "pooled-9.9")
    with (
        pytest.raises(UsageError, match=r"holds embeddings pooled-1\.1, this version makes pooled-9\.9"),
        opened(  # type: ignore[operator]  # either
            tmp_path
        ),
    ):
        pass


@pytest.mark.parametrize("damage", ["bit", "cut", "gone", "table", "row"])
def test_a_damaged_index_is_told_in_one_line_and_not_searched(tmp_path: Path, damage: str) -> None:
    fill(tmp_path, 20)
    (file,) = tmp_path.glob("vectors-*")
    data = bytearray(file.read_bytes())
    if damage == "bit":
        data[len(data) // 2] ^= 4
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:100])
    elif damage == "gone":
        file.unlink()
    elif damage == "table":
        (tmp_path / "entries.sqlite").write_bytes(b"no table" * 1000)
    else:
        table = sqlite3.connect(tmp_path / "entries.sqlite")
        table.execute("DELETE FROM entries WHERE key = 3")
        table.commit()
        table.close()
    for opened in (reading, writing):
        with pytest.raises(UsageError, match=r"is damaged .*: delete it and make it anew"), opened(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        fill(tmp_path / "file" / "index", 1)


def test_a_full_index_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_ENTRIES", 3)
    with pytest.raises(UsageError, match="holds 3 entries: begin another folder"):
        fill(tmp_path, 4)


def test_without_usearch_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(UsageError, match=r"pip install 'streamproc\[recognition\]'"):
        fill(tmp_path, 1)
