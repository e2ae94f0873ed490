"""Topics that change under a running worker: it says which and ends, and nothing is made anew behind one's back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from streamproc.provision import cluster_metadata
from tests.chaos.cluster import Cluster
from tests.chaos.fleet import Member
from tests.chaos.trial import trial

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]

ENDS_S = 60.0
DELETED = ("tiles", "features", "events")
MORE = "features with more partitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a worker ended after a topic had changed, and all it wrote; `there`: whether the topic exists afterwards."""

    status: int
    words: str
    there: bool


def _changed(cluster: Cluster, folder: Path, what: str) -> End:
    with trial(cluster, folder, [Member()], frames=10, fps=20) as one:
        one.wait_for_events()
        topic = f"{one.settings.prefix}{what.split(maxsplit=1)[0]}"
        one.fleet.most_restarts = 0  # the first death is the last
        admin = cluster.admin()  # must outlive its futures
        more = [NewPartitions(topic, one.settings.partitions + 4)]
        futures = admin.create_partitions(more) if what == MORE else admin.delete_topics([topic])
        for future in futures.values():
            future.result(timeout=10)
        one.wait_for_deaths(1, timeout_s=ENDS_S)
        return End(
            status=one.fleet.deaths[0].status,
            words=one.fleet.log(0).read_text().replace(one.settings.prefix, ""),
            there=topic in cluster_metadata(one.settings).topics,
        )


@pytest.fixture(scope="module")
def ends(one_broker: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[End]]]:
    """The ends of four workers, by what had changed, under way."""
    folder = tmp_path_factory.mktemp("topics")
    with ThreadPoolExecutor(4) as pool:
        yield {
            what: pool.submit(_changed, one_broker, folder / what.replace(" ", "-"), what) for what in (*DELETED, MORE)
        }


@pytest.mark.parametrize("name", DELETED)
def test_a_worker_ends_and_names_the_topic_that_was_deleted(name: str, ends: dict[str, Future[End]]) -> None:
    end = ends[name].result()
    assert end.status > 0, end
    assert f"topic {name} was deleted" in end.words
    assert not end.there


def test_a_worker_ends_and_names_the_topic_that_got_more_partitions(ends: dict[str, Future[End]]) -> None:
    end = ends[MORE].result()
    assert end.status > 0, end
    assert "topic features has 12 partitions now, it had 8" in end.words
