from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.broker.cluster import LocalCluster
from streamproc.broker.server_properties import NodePorts, escape, render, server_properties
from streamproc.errors import BrokerError

ONE = (NodePorts(client=9092, controller=9093),)
THREE = tuple(NodePorts(client=9092 + i, controller=9095 + i) for i in range(3))


def read_as_java_does(value: str) -> str:
    """The unescaping of java.util.Properties.load, for a value."""
    units = re.sub(r"\\u([0-9A-F]{4})", lambda m: chr(int(m[1], 16)), value.lstrip(" \t\f"))
    units = re.sub(r"\\(.)", r"\1", units)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]).filter(lambda c: c != "\\")))
def test_java_reads_every_value_back_unchanged(value: str) -> None:
    escaped = escape(value)
    assert escaped.isascii()
    assert "\n" not in escaped
    assert read_as_java_does(escaped) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("/a b/c", "/a b/c"),
        (" leading", "\\ leading"),
        ("back\\slash", "back\\\\slash"),
        ("é漢", "\\u00E9\\u6F22"),
        ("🎥", "\\uD83C\\uDFA5"),
        ("a\nb", "a\\u000Ab"),
    ],
)
def test_values_are_escaped_as_java_wants(value: str, written: str) -> None:
    assert escape(value) == written


def test_every_listener_is_on_the_loopback_address() -> None:
    settings = server_properties(node_id=1, ports=ONE, data=Path("/d"))
    for name in ("listeners", "advertised.listeners", "controller.quorum.voters"):
        for address in settings[name].split(","):
            assert "127.0.0.1:" in address


def test_topics_are_never_created_by_accident() -> None:
    assert server_properties(node_id=1, ports=ONE, data=Path("/d"))["auto.create.topics.enable"] == "false"


@pytest.mark.parametrize(("ports", "copies", "in_sync"), [(ONE, "1", "1"), (THREE, "3", "2")])
def test_internal_topics_have_as_many_copies_as_there_are_brokers(
    ports: tuple[NodePorts, ...], copies: str, in_sync: str
) -> None:
    settings = server_properties(node_id=1, ports=ports, data=Path("/d"))
    assert {value for name, value in settings.items() if "replication.factor" in name} == {copies}
    assert {value for name, value in settings.items() if "min.isr" in name or "min.insync" in name} == {in_sync}


def test_each_node_listens_at_its_own_ports_and_knows_all_controllers() -> None:
    settings = server_properties(node_id=2, ports=THREE, data=Path("/d"))
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:9093,CONTROLLER://127.0.0.1:9096"
    assert settings["controller.quorum.voters"] == "1@127.0.0.1:9095,2@127.0.0.1:9096,3@127.0.0.1:9097"


def test_the_file_is_one_line_for_each_setting() -> None:
    settings = server_properties(node_id=1, ports=ONE, data=Path("/d\n2"))
    assert len(render(settings).splitlines()) == len(settings)


@pytest.mark.parametrize(("name", "shown"), [("a,b", "','"), ("a\nb", "'\\\\n'")])
def test_a_path_that_kafka_would_cut_in_two_is_refused(tmp_path: Path, name: str, shown: str) -> None:
    with pytest.raises(BrokerError, match=f"holds {shown}.*choose another folder"):
        LocalCluster(tmp_path / name)


def test_a_path_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="not valid UTF-8"):
        LocalCluster(tmp_path / "\udcff")
