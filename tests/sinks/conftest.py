"""One PostgreSQL and one Redis for all tests of sinks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sinks.targets import Postgres, Redis, postgresql, redis_server


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgresql() as running:
        yield running


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with redis_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's proxy does not stand before the test's own servers."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
