"""Fixtures: one real broker for the session, fresh topics for each test, workers that always stop."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from streamproc.provision import create_topics
from streamproc.settings import Settings, load_settings
from tests.kafka_broker import broker_for_tests

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """Address of a real Apache Kafka."""
    with broker_for_tests() as address:
        yield address


@pytest.fixture
def new_settings(bootstrap: str) -> Callable[..., Settings]:
    """Make settings for topics of a prefix of their own on the session's broker."""

    def make(**options: Any) -> Settings:
        return load_settings(bootstrap=bootstrap, prefix=f"t-{secrets.token_hex(4)}.", **options)

    return make


@pytest.fixture
def topics_ready(new_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    """Make settings, and the topics they name."""

    def make(**options: Any) -> Settings:
        made = new_settings(**options)
        create_topics(made)
        return made

    return make


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's own variables, cluster and data folder do not change what is tested."""
    for name in [name for name in os.environ if name.startswith("STREAMPROC_")]:
        if name != "STREAMPROC_TEST_BROKER":
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
