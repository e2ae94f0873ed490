"""From services to processes of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from compose.plan import Local, names_of, pause_s, processes_of, prometheus_config, runs_again
from compose.services import Restart, Service, read_project

FOLDER = Path("/project/compose")
LOCAL = Local(
    folder=FOLDER,
    data=Path("/data"),
    bootstrap="127.0.0.1:9999",
    metrics_ports={"worker-1": 41, "worker-2": 42, "viewer": 43},
    programs={"prometheus": "/usr/bin/prometheus"},
)
TEXT = """
services:
  kafka: {image: "apache/kafka:4.3.0", ports: ["127.0.0.1:9092:19092"]}
  topics:
    image: streamproc:1
    command: [topics, create]
    environment: {STREAMPROC_BOOTSTRAP: "kafka:9092", STREAMPROC_METRICS_PORT: "9100"}
  worker:
    image: streamproc:1
    command: [--log-json, worker, --pipeline, /etc/streamproc/pipeline.toml]
    environment: {STREAMPROC_BOOTSTRAP: "kafka:9092", STREAMPROC_METRICS_HOST: 0.0.0.0, STREAMPROC_METRICS_PORT: "9100"}
    volumes: ["./pipeline.toml:/etc/streamproc/pipeline.toml:ro"]
    deploy: {replicas: 2}
    depends_on: {topics: {condition: service_completed_successfully}}
  viewer:
    image: streamproc:1
    command: [view, --host, 0.0.0.0, --port, "8080", --token-file, /run/secrets/token, --json]
    environment: {STREAMPROC_METRICS_PORT: "9100", PASSWORD_FILE: /run/secrets/token}
    ports: ["127.0.0.1:8081:8080"]
    secrets: [token]
  prometheus:
    image: prom/prometheus:v3
    command: [--config.file=/etc/prometheus/prometheus.yml, --web.listen-address=:9090, --storage.tsdb.path=/prometheus]
    ports: ["127.0.0.1:9091:9090"]
    volumes:
      - ./prometheus.yml:/etc/prometheus/prometheus.yml:ro
      - ../rules.yml:/etc/prometheus/rules.yml:ro
      - data:/prometheus
  grafana: {image: "grafana/grafana:11"}
secrets: {token: {file: ./secrets/token}}
"""
SERVICES = read_project(TEXT, {}).services


def processes(name: str, local: Local = LOCAL) -> list[tuple[str, ...]]:
    return [process.argv for process in processes_of(SERVICES[name], SERVICES, local)]


def test_each_replica_is_a_process_with_a_port_of_its_own_on_loopback() -> None:
    first, second = processes_of(SERVICES["worker"], SERVICES, LOCAL)
    assert (first.name, second.name) == ("worker-1", "worker-2")
    assert first.argv == (
        sys.executable,
        "-P",
        "-m",
        "streamproc",
        "worker",
        "--pipeline",
        str(FOLDER / "pipeline.toml"),
    )
    assert first.environment == {
        "STREAMPROC_BOOTSTRAP": "127.0.0.1:9999",
        "STREAMPROC_METRICS_HOST": "127.0.0.1",
        "STREAMPROC_METRICS_PORT": "41",
    }
    assert second.metrics == "http://127.0.0.1:42/metrics"
    assert second.ready == "http://127.0.0.1:42/readyz"
    assert not second.once


def test_what_others_wait_for_to_end_is_known_to_end_and_is_not_asked_whether_it_is_ready() -> None:
    (topics,) = processes_of(SERVICES["topics"], SERVICES, LOCAL)
    assert topics.once
    assert topics.ready is None
    assert topics.environment["STREAMPROC_METRICS_PORT"] == "0"


def test_a_published_service_listens_at_its_port_of_this_machine_and_without_a_secret_that_is_not_there() -> None:
    (viewer,) = processes_of(SERVICES["viewer"], SERVICES, LOCAL)
    assert viewer.argv[4:] == ("view", "--host", "127.0.0.1", "--port", "8081", "--json")
    assert viewer.url == "http://127.0.0.1:8081"
    assert viewer.ready == "http://127.0.0.1:8081/readyz"
    assert "PASSWORD_FILE" not in viewer.environment


def test_a_secret_that_is_there_is_used_from_its_file() -> None:
    file = FOLDER / "secrets" / "token"
    local = Local(folder=FOLDER, data=LOCAL.data, bootstrap=LOCAL.bootstrap, secrets={"token": file})
    (viewer,) = processes_of(SERVICES["viewer"], SERVICES, local)
    assert viewer.argv[-3:] == ("--token-file", str(file), "--json")
    assert viewer.environment["PASSWORD_FILE"] == str(file)


def test_programs_that_are_not_here_and_the_broker_have_no_process() -> None:
    assert processes("grafana") == []
    assert processes("kafka") == []


def test_prometheus_gets_its_port_folder_and_files_here() -> None:
    ((program, *arguments),) = processes("prometheus")
    assert program == "/usr/bin/prometheus"
    assert arguments == [
        f"--config.file={FOLDER}/prometheus.yml",
        "--web.listen-address=127.0.0.1:9091",
        "--storage.tsdb.path=/data/data",
    ]


def test_prometheus_asks_the_processes_of_this_machine_in_place_of_names() -> None:
    text = """
global: {scrape_interval: 5s}
rule_files: [/etc/prometheus/rules.yml]
scrape_configs:
  - {job_name: worker, dns_sd_configs: [{names: [worker], type: A, port: 9100}]}
  - {job_name: sink, dns_sd_configs: [{names: [sink], type: A, port: 9100}]}
  - {job_name: prometheus, static_configs: [{targets: ["127.0.0.1:9090"]}]}
"""
    everything = [one for service in SERVICES.values() for one in processes_of(service, SERVICES, LOCAL)]
    config = yaml.safe_load(prometheus_config(text, everything, SERVICES, LOCAL))
    assert config["global"] == {"scrape_interval": "5s"}
    assert config["rule_files"] == ["/project/rules.yml"]
    assert config["scrape_configs"] == [
        {"job_name": "worker", "static_configs": [{"targets": ["127.0.0.1:41", "127.0.0.1:42"]}]},
        {"job_name": "prometheus", "static_configs": [{"targets": ["127.0.0.1:9091"]}]},
    ]


def test_one_process_has_the_name_of_its_service() -> None:
    assert names_of(Service(name="viewer", image="streamproc")) == ["viewer"]


@pytest.mark.parametrize(
    ("restart", "code", "restarts", "again"),
    [
        (Restart(after_success=True, at_most=None), 0, 1000, True),
        (Restart(after_success=True, at_most=None), -9, 0, True),
        (Restart(after_success=False, at_most=None), 0, 0, False),
        (Restart(after_success=False, at_most=5), 1, 4, True),
        (Restart(after_success=False, at_most=5), 1, 5, False),
        (Restart(after_success=False, at_most=0), 1, 0, False),
    ],
)
def test_restart_policies_do_as_compose_has_it(restart: Restart, code: int, restarts: int, again: bool) -> None:
    assert runs_again(restart, code, restarts) is again


def test_pauses_between_restarts_grow_and_are_bounded() -> None:
    assert [pause_s(number) for number in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert pause_s(10_000) == 30
