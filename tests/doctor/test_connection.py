"""The doctor's checks of the way to the brokers, against real sockets and certificates."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from streamproc.doctor.connection import (
    DAY_S,
    Connection,
    Door,
    advertised_in,
    check_advertised,
    check_connection,
)
from streamproc.doctor.finding import Finding
from streamproc.doctor.look_doors import own_certificates, split, try_door, try_doors, with_tls
from streamproc.settings import load_settings
from tests.cameras.tls import TlsProxy
from tests.certificates import certificate

NOW_S = 1_800_000_000.0
DOOR = Door(address="kafka:9093", reached="yes")
PLAIN = Connection(protocol="PLAINTEXT", doors=(DOOR,), answered=True)
TLS = Connection(protocol="SSL", doors=(replace(DOOR, tls=True, ends_s=NOW_S + 90 * DAY_S),), answered=True, own=())


def troubles(connection: Connection) -> list[Finding]:
    return [one for one in check_connection(connection, now_s=NOW_S) if one.verdict != "ok"]


def test_a_broker_that_answers_gives_no_warning() -> None:
    assert troubles(PLAIN) == troubles(TLS) == []
    assert troubles(replace(TLS, own=(("STREAMPROC_SECURITY_CA_FILE", NOW_S + 90 * DAY_S),))) == []


@pytest.mark.parametrize(
    ("connection", "what", "words"),
    [
        (replace(PLAIN, doors=(replace(DOOR, reached="refused"),)), "broker", ["nobody listens at kafka:9093"]),
        (replace(PLAIN, doors=(replace(DOOR, reached="no name"),)), "broker", ["not known here", "getent hosts kafka"]),
        (replace(PLAIN, doors=(replace(DOOR, reached="silent"),)), "broker", ["does not answer", "firewalls"]),
        (replace(PLAIN, doors=(replace(DOOR, reached="failed", words="odd"),)), "broker", ["(odd)"]),
        (
            replace(PLAIN, doors=(replace(DOOR, tls=True),)),
            *("security", ["speaks TLS", "STREAMPROC_SECURITY_PROTOCOL is PLAINTEXT: set it to SSL", "CA_FILE"]),
        ),
        (
            replace(PLAIN, protocol="SASL_PLAINTEXT", doors=(replace(DOOR, tls=True),)),
            *("security", ["set it to SASL_SSL"]),
        ),
        (replace(TLS, doors=(replace(DOOR, tls=False),)), "security", ["speaks no TLS", "set it to PLAINTEXT"]),
        (
            replace(TLS, protocol="SASL_SSL", doors=(replace(DOOR, tls=False),)),
            *("security", ["set it to SASL_PLAINTEXT"]),
        ),
        (
            replace(TLS, doors=(replace(DOOR, tls=True, trusted="self-signed certificate", ends_s=NOW_S + DAY_S),)),
            *("security", ["not trusted (self-signed certificate)", "STREAMPROC_SECURITY_CA_FILE"]),
        ),
        (
            replace(TLS, doors=(replace(DOOR, tls=True, trusted="expired", ends_s=NOW_S - 3 * DAY_S),)),
            *("certificate", ["ended 3 days ago"]),
        ),
        (
            replace(PLAIN, protocol="SASL_PLAINTEXT", user="bob", errors=("SASL authentication error: failed",)),
            *("security", ["refuses the login of bob", "STREAMPROC_SECURITY_USERNAME", "kafka-configs.sh"]),
        ),
        (
            replace(PLAIN, protocol="SASL_PLAINTEXT", user="bob", errors=("SASL mechanism handshake failed",)),
            *("security", ["STREAMPROC_SECURITY_SASL_MECHANISM"]),
        ),
        (
            replace(PLAIN, errors=("Disconnected (after 2ms in state UP)",)),
            *("security", ["no Kafka, or wants a login", "SASL_SSL"]),
        ),
        (replace(PLAIN, errors=("0/2 brokers are down",)), "security", ["wants a login"]),
        (replace(PLAIN, errors=("odd",)), "broker", ["does not answer as Kafka (odd)"]),
    ],
)
def test_why_no_broker_answers_is_told_with_what_to_set(connection: Connection, what: str, words: list[str]) -> None:
    (found,) = troubles(replace(connection, answered=False))
    assert (found.what, found.verdict) == (what, "wrong")
    for word in words:
        assert word in found.told
    assert "\n" not in found.told


def test_one_address_of_many_that_is_closed_is_a_warning_while_others_answer() -> None:
    (found,) = troubles(replace(PLAIN, doors=(DOOR, replace(DOOR, address="old:9092", reached="no name"))))
    assert (found.what, found.verdict) == ("address", "warning")
    assert "old:9092" in found.told
    assert "take it out of STREAMPROC_BOOTSTRAP" in found.told


@pytest.mark.parametrize(
    ("end", "verdict", "words"),
    [
        (NOW_S - 3600, "wrong", "ended 1 hours ago"),
        (NOW_S + 5 * DAY_S, "warning", "ends in 5 days"),
        ("cannot be read", "wrong", "cannot be read"),
    ],
)
def test_certificates_of_our_own_that_end_are_told_of(end: float | str, verdict: str, words: str) -> None:
    (found,) = troubles(replace(TLS, own=(("STREAMPROC_SECURITY_CERT_FILE", end),)))
    assert (found.what, found.verdict) == ("certificate", verdict)
    assert words in found.told
    assert "STREAMPROC_SECURITY_CERT_FILE" in found.told


def test_a_brokers_certificate_that_ends_soon_is_told_of_while_it_still_works() -> None:
    (found,) = troubles(replace(TLS, doors=(replace(DOOR, tls=True, ends_s=NOW_S + 2 * DAY_S),)))
    assert (found.what, found.verdict) == ("certificate", "warning")


def test_an_advertised_address_that_cannot_be_reached_is_told_with_the_brokers_setting() -> None:
    (found,) = check_advertised(
        [DOOR, replace(DOOR, address="kafka.internal:9092", reached="no name")], bootstrap="b:1"
    )[:1]
    assert found.verdict == "wrong"
    assert "come to kafka.internal:9092" in found.told
    assert "advertised.listeners" in found.told
    assert check_advertised([DOOR], bootstrap="b:1")[0].verdict == "ok"


def test_addresses_that_a_broker_has_told_are_known_from_the_clients_errors() -> None:
    errors = [
        "kafka.internal:9092/1: Failed to resolve 'kafka.internal:9092': Name or service not known (after 1ms)",
        "sasl_ssl://10.0.0.7:9093/12: Connect to ipv4#10.0.0.7:9093 failed: Connection refused",
        "b:1/bootstrap: Disconnected",
        "b:1/2: Disconnected",
        "2/2 brokers are down",
    ]
    assert advertised_in(errors, bootstrap=["b:1"]) == ["kafka.internal:9092", "10.0.0.7:9093"]


@contextmanager
def closing() -> Iterator[int]:
    """A port that closes what comes after the first bytes, as a Kafka without TLS does with a TLS greeting."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.recv(4)
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(2)


@pytest.mark.parametrize(("days", "trusted"), [(60, ""), (-2, "certificate has expired")])
def test_tls_trust_and_end_are_seen_at_a_real_port(tmp_path: Path, days: float, trusted: str) -> None:
    file, key = certificate(tmp_path, days=days)
    with TlsProxy(1, certificate_file=file, key_file=key) as proxy:
        door = try_door(f"localhost:{proxy.port}")
        seen = with_tls(door, load_settings(security_protocol="SSL", security_ca_file=file))
        assert (seen.tls, seen.trusted) == (True, trusted)
        assert seen.ends_s == pytest.approx(time.time() + days * DAY_S, abs=60)
        stranger = with_tls(door, load_settings(security_protocol="SSL"))
        assert stranger.trusted
    ((name, end),) = own_certificates(load_settings(security_ca_file=file))
    assert (name, end) == ("STREAMPROC_SECURITY_CA_FILE", seen.ends_s)


def test_a_port_without_tls_is_seen() -> None:
    with closing() as port:
        assert with_tls(Door(address=f"127.0.0.1:{port}", reached="yes"), load_settings()).tls is False


def test_doors_are_tried_for_real() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = try_doors([f"127.0.0.1:{port}", "127.0.0.1:1", "no-such-host.invalid:1"])
    assert [door.reached for door in found] == ["yes", "refused", "no name"]
    assert split("[::1]:9092") == ("::1", 9092)


def test_a_certificate_file_that_is_none_is_told_by_its_setting(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    ((name, told),) = own_certificates(load_settings(security_ca_file=file))
    assert name == "STREAMPROC_SECURITY_CA_FILE"
    assert isinstance(told, str)
