"""Which broker the tests get; the container way by construction alone, since it needs a container engine."""

from __future__ import annotations

import pytest

from tests.kafka_broker import IMAGE, broker_for_tests, kafka_container


class FakeEngine:
    def host(self) -> str:
        return "localhost"


def test_a_cluster_that_is_named_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMPROC_BOOTSTRAP", "there:9092")
    with broker_for_tests() as bootstrap:
        assert bootstrap == "there:9092"


def test_an_unknown_kind_of_broker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMPROC_BOOTSTRAP", raising=False)
    monkeypatch.setenv("STREAMPROC_TEST_BROKER", "magic")
    with pytest.raises(ValueError, match="STREAMPROC_TEST_BROKER is 'magic'"), broker_for_tests():
        pass


def test_a_container_advertises_the_port_it_has_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testcontainers.core.container.DockerClient", FakeEngine)
    container = kafka_container(40_123)
    assert container.image.endswith(IMAGE)
    assert container.ports == {"9092": 40_123}
    assert container.env["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:40123"
    assert container.env["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_without_a_container_engine_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMPROC_BOOTSTRAP", raising=False)
    monkeypatch.setenv("STREAMPROC_TEST_BROKER", "container")
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="no container engine answers"), broker_for_tests():
        pass
