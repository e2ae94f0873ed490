"""Index and search on a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc.cli.events import read_events
from streamproc.operators.embedding import embed
from streamproc.publisher import Publisher
from streamproc.records import NEAR
from streamproc.retrieval import add_events, pixels_of, reading, writing
from streamproc.retrieval.adding import GONE
from streamproc.settings import Settings
from streamproc.topics import Topics, camera_partition
from tests.cli import started, streamproc
from tests.kafka.whole_log import frames_told_of
from tests.retrieval.material import PHOTOGRAPHS, Log, brighter, found, jpeg, photograph
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka


def send(settings: Settings, log: Log) -> None:
    """Put a log in memory on the broker, each record at its offset."""
    topics = Topics(settings.prefix)
    with Publisher(settings, client_id="test") as publisher:
        for partition, records in log.tiles.items():
            for record in records:
                publisher.send(
                    topic=topics.tiles, partition=partition, key=None, value=record.value, headers=record.headers
                )
        for record in log.events:
            publisher.send(
                topic=topics.events,
                partition=camera_partition("gate", settings.partitions),
                key=None,
                value=record.value,
                headers=record.headers,
            )


def test_frames_of_a_broker_are_indexed_found_and_shown_until_retention_takes_them(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=3)
    tiles = Topics(settings.prefix).tiles
    log = Log(topic=tiles)
    for sequence, name in enumerate(PHOTOGRAPHS):
        log.add(photograph(name), sequence, objects=[found("thing", (10, 10, 90, 70))])
        if sequence == 4:
            log.add_noise(NEAR + 1)
    send(settings, log)

    def add(of: str) -> tuple[int, dict[str, int]]:
        records = read_events(settings, camera="gate", since_ms=None, until_ms=None, follow=False)
        with writing(tmp_path) as writer:
            added = add_events(writer, records, settings, of=of, every=2)
        return added.entries, dict(added.passed_over)

    assert add("frames") == (5, {})
    with reading(tmp_path) as index:
        matches = index.search(embed(brighter(photograph("coffee"))), 5)
    assert matches[0].entry.sequence == PHOTOGRAPHS.index("coffee")
    shown = dict(pixels_of(settings, [match.entry for match in matches]))
    for at, match in enumerate(matches):
        assert np.array_equal(np.asarray(shown[at]), photograph(PHOTOGRAPHS[match.entry.sequence]))

    admin = AdminClient({"bootstrap.servers": settings.bootstrap})
    cut = TopicPartition(tiles, 1, 6)  # the tile of each frame before the seventh
    admin.delete_records([cut])[cut].result(20)
    assert add("objects") == (2, {GONE: 3})
    shown = dict(pixels_of(settings, [match.entry for match in matches]))
    for at, match in enumerate(matches):
        assert isinstance(shown[at], str) == (match.entry.sequence < 6)


def test_a_picture_finds_its_frame_by_the_commands_a_user_types(
    topics_ready: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = topics_ready(partitions=3)
    names = ("astronaut", "coffee", "chelsea", "rocket")
    shot = {name: np.asarray(cv2.resize(photograph(name), (320, 240)), np.uint8) for name in names}
    pictures, pipeline, out = tmp_path / "pictures", tmp_path / "edges.toml", tmp_path / "found"
    pictures.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(pictures / f"{number}.png"), shot[name])
    pipeline.write_text('[[step]]\noperator = "canny"\n', encoding="utf-8")
    query = tmp_path / "query.png"
    cv2.imwrite(str(query), jpeg(brighter(shot["chelsea"])))
    variables: dict[str, Any] = {"STREAMPROC_BOOTSTRAP": settings.bootstrap, "STREAMPROC_PREFIX": settings.prefix}

    def told(*asked: str | Path) -> Any:
        done = streamproc(*asked, "--json", cwd=tmp_path, **variables)
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    with started("worker", "--pipeline", pipeline, "--metrics-port", "0", cwd=tmp_path, **variables) as worker:
        sent = ["--camera", "gate", "--run", "run-a", "--codec", "png", "--grid", "2x2", "--fps", "max"]
        told("produce", pictures, *sent, "--pipeline", pipeline)

        def all_are_told_of() -> bool:
            worker.check()
            return len(frames_told_of(settings)) == len(names)

        wait_until(all_are_told_of, "events of all frames", timeout_s=30)
    ids = {event["data"]["sequence"]: event["id"] for event in told("events") if "frame" in event["type"]}
    (indexed,) = told("index", "--camera", "gate")
    assert (indexed["looked_at"], indexed["added"], indexed["passed_over"]) == (4, 4, {})
    ((best, second),) = told("search", query, "--top", "2", "--out", out)
    assert best["event"] == ids[names.index("chelsea")]
    assert (best["camera"], best["run"], best["sequence"]) == ("gate", "run-a", 2)
    assert best["similarity"] > second["similarity"]
    assert np.array_equal(np.asarray(cv2.imread(best["pixels"]["file"])), shot["chelsea"])
    assert len(list(out.iterdir())) == 2
