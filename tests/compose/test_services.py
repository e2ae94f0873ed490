"""Reading the compose file."""

from __future__ import annotations

import pytest

from compose.services import Restart, in_order, read_project
from streamproc.errors import UsageError


def one(body: str, **variables: str) -> str:
    """A file with one service `a`; its keys, indented, are `body`."""
    return f"services:\n  a:\n    image: streamproc:1\n{body}"


def test_a_service_is_read_with_all_that_a_process_needs() -> None:
    text = one(
        '    command: [worker, --role, all, "8"]\n'
        '    environment: {STREAMPROC_PARTITIONS: 8, EMPTY: ""}\n'
        '    ports: ["127.0.0.1:${A_PORT:-8080}:80"]\n'
        "    volumes: [./a.toml:/etc/a.toml:ro, data:/var/data]\n"
        "    restart: on-failure:5\n"
        "    stop_grace_period: 1m30s\n"
        "    deploy: {replicas: 3}\n"
        "    secrets: [token]\n"
        "    profiles: [more]\n"
        "secrets: {token: {file: ./token}}\n"
    )
    project = read_project(text, {"A_PORT": "9000"})
    service = project.services["a"]
    assert service.image == "streamproc"
    assert service.command == ("worker", "--role", "all", "8")
    assert service.environment == {"STREAMPROC_PARTITIONS": "8", "EMPTY": ""}
    assert service.ports == ((9000, 80),)
    assert service.volumes == {"/etc/a.toml": "./a.toml", "/var/data": "data"}
    assert service.restart == Restart(after_success=False, at_most=5)
    assert (service.grace_s, service.replicas, service.secrets, service.profiles) == (90, 3, ("token",), ("more",))
    assert project.secrets == {"token": "./token"}


@pytest.mark.parametrize(
    ("text", "variables", "becomes"),
    [
        ("${A:-b}", {}, "b"),
        ("${A:-b}", {"A": ""}, "b"),
        ("${A:-b}", {"A": "c"}, "c"),
        ("x-$A-y", {"A": "c"}, "x-c-y"),
        ("$$A", {"A": "c"}, "$A"),
        ("${A}", {}, ""),
    ],
)
def test_variables_stand_for_their_values_as_compose_has_it(text: str, variables: dict[str, str], becomes: str) -> None:
    assert read_project(one(f"    command: ['{text}']\n"), variables).services["a"].command == (becomes,)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    privileged: true\n", "a: privileged is not understood"),
        ('    ports: ["8080:80"]\n', "write 127.0.0.1:PORT:PORT"),
        ('    ports: ["0.0.0.0:8080:80"]\n', "write 127.0.0.1:PORT:PORT"),
        ('    ports: ["127.0.0.1:70000:80"]\n', "each 1 to 65535"),
        ("    volumes: [data]\n", "write SOURCE:/TARGET"),
        ("    restart: sometimes\n", "use no, always, unless-stopped or on-failure"),
        ("    stop_grace_period: soon\n", "no time like 90s"),
        ("    deploy: {replicas: many}\n", "give a number from 1 to 64"),
        ("    depends_on: {b: {condition: service_started}}\n", "depends on b, and there is no such service"),
        ("    depends_on: {a: {condition: service_well}}\n", "is none of"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(body: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_project(one(body), {})


def test_an_unknown_part_of_the_file_is_refused_and_extensions_are_not() -> None:
    assert read_project("x-more: {}\n" + one(""), {}).services.keys() == {"a"}
    with pytest.raises(UsageError, match="configs is not understood"):
        read_project("configs: {}\n" + one(""), {})


def test_services_start_after_those_they_need_and_a_circle_is_refused() -> None:
    def needing(**needs: str) -> str:
        parts = [
            f"  {name}:\n    image: streamproc:1\n"
            + (f"    depends_on: {{{need}: {{condition: service_started}}}}\n" * bool(need))
            for name, need in needs.items()
        ]
        return "services:\n" + "".join(parts)

    steps = in_order(read_project(needing(c="b", b="a", a="", d="a"), {}).services.values())
    assert [sorted(service.name for service in step) for step in steps] == [["a"], ["b", "d"], ["c"]]
    with pytest.raises(UsageError, match="a, b wait for one another"):
        in_order(read_project(needing(a="b", b="a"), {}).services.values())
