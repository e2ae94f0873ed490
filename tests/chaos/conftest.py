"""One broker for the short tier, with proxies in front; long trials make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.cluster import Cluster, cluster_for_chaos


@pytest.fixture(scope="session")
def one_broker() -> Iterator[Cluster]:
    """A cluster that tests may kill, if they restore it."""
    with cluster_for_chaos() as cluster:
        yield cluster


@pytest.fixture
def cluster(one_broker: Cluster) -> Iterator[Cluster]:
    """The same, whole again after each test."""
    yield one_broker
    one_broker.restore()
