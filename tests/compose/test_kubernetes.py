"""The manifests: by Kubernetes' own schemas, by ours for KEDA and the Prometheus operator, and beside the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # ships no types
import pytest
import yaml

from compose.kubernetes_rules import OUT, RULES, manifest
from compose.sizing import AROUND_BYTE_S, AROUND_S, KERNEL_S
from streamproc.settings import Settings, load_settings
from streamproc.status_server import PATHS
from streamproc.topics import Topics
from tests.compose.test_files import DOCKERFILE, parse

FOLDER = Path(__file__).parent.parent.parent / "compose" / "kubernetes"
COMPOSE = FOLDER.parent
VERSION = "1.33"
SETTINGS = dict(
    line.split("=", 1) for line in (FOLDER / "base" / "settings.env").read_text().splitlines() if "=" in line
)


def manifests(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((FOLDER / folder).glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text())


BASE = list(manifests("base"))
WORKLOADS = {one["metadata"]["name"]: one for one in BASE if "template" in one.get("spec", {})}
SCALED = {one["metadata"]["name"]: one for one in manifests("keda")}


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (only,) = pod(name)["containers"]
    return dict(only)


@pytest.mark.parametrize("one", BASE, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_each_manifest_is_valid_by_the_schemas_of_kubernetes(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, VERSION, strict=True)


def test_each_file_is_named_by_its_kustomization_and_each_named_file_is_there() -> None:
    for folder in ("base", "keda", "monitoring"):
        named = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())["resources"]
        there = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
        assert {*named} == there
    base = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())
    made = {one["name"]: one for one in (*base["configMapGenerator"], *base["secretGenerator"])}
    for one in made.values():
        assert all((FOLDER / "base" / file).is_file() for file in (*one.get("files", ()), *one.get("envs", ())))
    used = set(re.findall(r"(?:configMapRef: \{name|configMap: \{name|secretName): ([a-z-]+)", text("base")))
    assert used == made.keys() | {"streamproc-viewer"}  # which its user makes: a token is nobody else's
    assert {name for name, _ in re.findall(r"^(image): (\S+)", text("base"))} <= {"image"}
    assert {container(name)["image"] for name in WORKLOADS} == {image["name"] for image in base["images"]}


def text(folder: str) -> str:
    return "\n".join(path.read_text() for path in sorted((FOLDER / folder).glob("*.yaml")))


def test_the_files_given_to_pods_are_those_of_compose() -> None:
    for name in ("pipeline.toml", "cameras.toml"):
        assert (FOLDER / "base" / name).read_text() == (COMPOSE / name).read_text(), f"copy compose/{name}"


def test_each_variable_is_a_setting_and_each_value_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SETTINGS.items():
        assert name.removeprefix("STREAMPROC_").lower() in Settings.model_fields, name
        monkeypatch.setenv(name, value)
    settings = load_settings()
    for name in WORKLOADS:
        own = {one["name"] for one in container(name).get("env", ())}
        assert own <= {"STREAMPROC_INSTANCE_ID"}
        assert container(name)["envFrom"] == [{"configMapRef": {"name": "streamproc-settings"}}]
        if name != "topics":
            assert pod(name)["terminationGracePeriodSeconds"] > settings.shutdown_s
    assert settings.replication == 3
    secured = text("secured")
    assert set(re.findall(r"name: (STREAMPROC_[A-Z_]+)", secured)) == {"STREAMPROC_SETTINGS"}
    for name in re.findall(r"^#   (security_[a-z_]+) =", secured, re.MULTILINE):
        assert name in Settings.model_fields, name


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_command_is_one_that_streamproc_understands_with_files_that_are_mounted(name: str) -> None:
    one = container(name)
    parsed = parse(tuple(one["args"]))
    mounts = {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
    assert {*mounts.values()} == {volume["name"] for volume in pod(name)["volumes"]}
    for value in parsed.params.values():
        if isinstance(value, Path):
            assert str(value.parent) in mounts, value
    if name in ("extract", "aggregate"):
        assert parsed.params["role"] == name


def test_probes_ask_what_the_code_serves_at_the_port_it_serves_it() -> None:
    for name in WORKLOADS.keys() - {"topics"}:
        one = container(name)
        ports = {port["name"]: port["containerPort"] for port in one["ports"]}
        assert str(ports["metrics"]) == SETTINGS["STREAMPROC_METRICS_PORT"]
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            asked = one[probe]["httpGet"]
            assert asked == {"path": path, "port": "http" if (name, path) == ("viewer", "/readyz") else "metrics"}
            assert asked["path"] in PATHS
    assert parse(tuple(container("viewer")["args"])).params["port"] == 8080
    (service,) = (one for one in BASE if one["kind"] == "Service" and one["metadata"]["name"] == "viewer")
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert {"name": "http", "containerPort": 8080} in container("viewer")["ports"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_pod_keeps_the_restricted_standard(name: str) -> None:
    user = int(re.search(r"^USER (\d+)", DOCKERFILE, re.MULTILINE)[1])  # type: ignore[index] # it is there
    security = pod(name)["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == user
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(name)["automountServiceAccountToken"] is False
    own = container(name)["securityContext"]
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    resources = container(name)["resources"]
    assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert {"memory"} <= resources["limits"].keys()
    for volume in pod(name)["volumes"]:
        assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


def test_workers_keep_their_names_and_their_session_outlasts_a_restart() -> None:
    for name in ("extract", "aggregate"):
        assert WORKLOADS[name]["kind"] == "StatefulSet"
        (instance,) = container(name)["env"]
        assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert float(SETTINGS["STREAMPROC_SESSION_TIMEOUT_S"]) > float(SETTINGS["STREAMPROC_SHUTDOWN_S"]) + 20
    assert WORKLOADS["ingest"]["spec"]["strategy"] == {"type": "Recreate"}
    assert WORKLOADS["ingest"]["spec"]["replicas"] == 1


def test_disruption_budgets_and_network_policies_select_pods_that_there_are() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in WORKLOADS.values()]
    for one in BASE:
        selector = one.get("spec", {}).get("podSelector", one.get("spec", {}).get("selector"))
        if one["kind"] in ("PodDisruptionBudget", "NetworkPolicy", "Service", "StatefulSet", "Deployment"):
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= have.items() for have in labels), one["metadata"]["name"]
    (everything,) = (one for one in BASE if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "everything")
    assert everything["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/part-of": "streamproc"}
    assert {*everything["spec"]["policyTypes"]} == {"Ingress", "Egress"}
    port = int(SETTINGS["STREAMPROC_BOOTSTRAP"].rpartition(":")[2])
    assert any(rule["port"] == port for egress in everything["spec"]["egress"] for rule in egress["ports"])


def test_keda_scales_what_there_is_on_the_lag_of_our_group_between_bounds_and_in_calm() -> None:
    topics = Topics(SETTINGS["STREAMPROC_PREFIX"])
    assert SCALED.keys() == {"extract", "aggregate"}
    for name, topic in (("extract", topics.tiles), ("aggregate", topics.features)):
        spec = SCALED[name]["spec"]
        assert SCALED[name]["apiVersion"] == "keda.sh/v1alpha1"
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": WORKLOADS[name]["kind"], "name": name}
        assert spec["maxReplicaCount"] == int(SETTINGS["STREAMPROC_PARTITIONS"])
        assert 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300
        session_s = float(SETTINGS["STREAMPROC_SESSION_TIMEOUT_S"])
        assert all(policy["periodSeconds"] > session_s for policy in behavior["scaleDown"]["policies"])
        (trigger,) = spec["triggers"]
        assert trigger["type"] == "kafka"
        metadata = trigger["metadata"]
        assert all(isinstance(value, str) for value in metadata.values())
        assert metadata.keys() <= {
            *("bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold"),
            *("offsetResetPolicy", "allowIdleConsumers", "scaleToZeroOnInvalidOffset", "excludePersistentLag"),
            *("limitToPartitionsWithLag", "version"),
        }
        assert metadata["bootstrapServers"] == SETTINGS["STREAMPROC_BOOTSTRAP"]
        assert (metadata["consumerGroup"], metadata["topic"]) == (topics.group, topic)
        assert metadata["allowIdleConsumers"] == metadata["scaleToZeroOnInvalidOffset"] == "false"
    patch = yaml.safe_load((FOLDER / "keda" / "kustomization.yaml").read_text())["patches"][0]
    assert patch["target"]["name"].split("|") == ["extract", "aggregate"]
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]


def test_the_lag_that_asks_for_another_worker_is_five_seconds_of_one() -> None:
    lag = int(SCALED["extract"]["spec"]["triggers"][0]["metadata"]["lagThreshold"])
    tile_s = KERNEL_S["builtin"] * 640 * 384 + AROUND_S + 50_000 * AROUND_BYTE_S
    assert lag == pytest.approx(5 / tile_s, rel=0.2)


def test_the_operator_has_the_alerts_of_prometheus_and_asks_every_pod() -> None:
    assert OUT.read_text() == manifest(RULES.read_text()), "run: python -m compose.kubernetes_rules"
    rule = yaml.safe_load(OUT.read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    there = yaml.safe_load(RULES.read_text())["groups"]
    assert [group["name"] for group in rule["spec"]["groups"]] == [group["name"] for group in there]
    (monitor,) = (one for one in manifests("monitoring") if one["kind"] == "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "metrics"
    assert endpoint["path"] in PATHS
    part_of, but = monitor["spec"]["selector"]["matchExpressions"]
    for name, one in WORKLOADS.items():
        labels = one["spec"]["template"]["metadata"]["labels"]
        asked = labels[part_of["key"]] in part_of["values"] and labels[but["key"]] not in but["values"]
        assert asked is (name != "topics")


def test_the_overlay_of_the_docs_tells_keda_what_it_tells_the_settings() -> None:
    """`kustomize` is not asked: each path of the patch is walked in each ScaledObject, as JSON 6902 has it."""
    text = (Path(__file__).parent.parent.parent / "docs" / "kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml\n(# kustomization.yaml\n.*?)```", text, re.DOTALL)
    overlay = yaml.safe_load(block)
    (generated,) = overlay["configMapGenerator"]
    said = dict(one.split("=", 1) for one in generated["literals"])
    (patch,) = overlay["patches"]
    assert patch["target"] == {"kind": "ScaledObject"}
    values = {one["path"]: one["value"] for one in yaml.safe_load(patch["patch"])}
    for one in SCALED.values():
        for path in values:
            node: Any = one
            for step in path.strip("/").split("/"):
                node = node[int(step)] if isinstance(node, list) else node[step]
    assert values == {
        "/spec/triggers/0/metadata/bootstrapServers": said["STREAMPROC_BOOTSTRAP"],
        "/spec/maxReplicaCount": int(said["STREAMPROC_PARTITIONS"]),
    }
