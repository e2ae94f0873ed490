"""Checks of the way to the brokers: names, ports, TLS, login. Facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from streamproc.doctor.finding import Finding, ok, warning, wrong

DAY_S: Final = 86_400.0
SOON_S: Final = 21 * DAY_S
"""A certificate that ends sooner is told of."""

_NAMED: Final = re.compile(r"(?:^|[\s/])([^\s/]+:\d+)/\d+(?=[:\s])")

Reached = Literal["yes", "no name", "refused", "silent", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One address, tried.

    Attributes:
        address: host:port.
        reached: Whether a connection can be made, or why not.
        words: Of the system, if not.
        tls: Whether TLS is spoken there; None if that was not tried.
        trusted: What is wrong with its certificate for us; empty if nothing, or if it was not tried.
        ends_s: When its certificate ends, seconds since 1970; None if it was not seen.
    """

    address: str
    reached: Reached
    words: str = ""
    tls: bool | None = None
    trusted: str = ""
    ends_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the brokers can be reached.

    Attributes:
        protocol: As set.
        doors: The bootstrap addresses.
        answered: A broker has answered with its metadata.
        errors: What the client said meanwhile.
        user: As set.
        own: When our own certificate files end, by name of the setting; a text says why that is not known.
    """

    protocol: str
    doors: tuple[Door, ...]
    answered: bool
    errors: tuple[str, ...] = ()
    user: str | None = None
    own: tuple[tuple[str, float | str], ...] = ()


def check_connection(connection: Connection, *, now_s: float) -> Iterator[Finding]:
    """All of it; ends with a wrong `broker` if none answered."""
    yield from _own_certificates(connection, now_s=now_s)
    open_doors = [door for door in connection.doors if door.reached == "yes"]
    if connection.answered:
        for door in connection.doors:
            if door.reached != "yes":
                yield warning(
                    "address", f"{_closed(door)}; others answer: mend it, or take it out of STREAMPROC_BOOTSTRAP"
                )
        yield from _ends(open_doors, now_s=now_s)
        return
    if not open_doors:
        for door in connection.doors:
            yield wrong("broker", f"{_closed(door)}: {_mend(door)}")
        return
    yield _why(connection, open_doors[0], now_s=now_s)


def _why(connection: Connection, door: Door, *, now_s: float) -> Finding:
    """Why somebody who listens does not answer us."""
    return (
        _of_tls(connection, door, now_s=now_s)
        or _of_login(connection, door)
        or wrong(
            "broker",
            f"{door.address} takes connections and does not answer as Kafka"
            f"{f' ({connection.errors[-1]})' if connection.errors else ''}: see what listens there",
        )
    )


def _of_tls(connection: Connection, door: Door, *, now_s: float) -> Finding | None:
    with_tls = connection.protocol.endswith("SSL")
    if not with_tls and door.tls:
        other = "SASL_SSL" if connection.protocol.startswith("SASL") else "SSL"
        return wrong(
            "security",
            f"{door.address} speaks TLS, STREAMPROC_SECURITY_PROTOCOL is {connection.protocol}: set it to {other}, and"
            " STREAMPROC_SECURITY_CA_FILE to the authority's file",
        )
    if with_tls and door.tls is False:
        other = "SASL_PLAINTEXT" if connection.protocol.startswith("SASL") else "PLAINTEXT"
        return wrong(
            "security",
            f"{door.address} speaks no TLS, STREAMPROC_SECURITY_PROTOCOL is {connection.protocol}: set it to"
            f" {other}, or use the broker's TLS port",
        )
    if with_tls and door.ends_s is not None and door.ends_s <= now_s:
        return wrong(
            "certificate", f"that of {door.address} ended {_days(now_s - door.ends_s)} ago: renew the broker's"
        )
    if with_tls and door.trusted:
        return wrong(
            "security",
            f"the certificate of {door.address} is not trusted ({door.trusted}): set STREAMPROC_SECURITY_CA_FILE to the"
            " authority that signed it; the name in it must be the one in STREAMPROC_BOOTSTRAP",
        )
    return None


def _of_login(connection: Connection, door: Door) -> Finding | None:
    said = " ".join(connection.errors).lower()
    if "sasl" in said or "authentication" in said:
        if "mechanism" in said:
            return wrong("security", f"{door.address} does not take STREAMPROC_SECURITY_SASL_MECHANISM: set one it has")
        return wrong(
            "security",
            f"{door.address} refuses the login of {connection.user}: see STREAMPROC_SECURITY_USERNAME, _PASSWORD and"
            " _SASL_MECHANISM, and that the user exists (kafka-configs.sh --describe --entity-type users)",
        )
    if not connection.protocol.startswith("SASL") and ("disconnected" in said or "brokers are down" in said):
        return wrong(
            "security",
            f"{door.address} closes the connection ({connection.errors[-1]}): it is no Kafka, or wants a login; then"
            " set STREAMPROC_SECURITY_PROTOCOL=SASL_SSL or SASL_PLAINTEXT, _USERNAME and _PASSWORD",
        )
    return None


def advertised_in(errors: Sequence[str], *, bootstrap: Sequence[str]) -> list[str]:
    """Addresses that a client was told by a broker and cannot use: it names them with the broker's number.

    Args:
        errors: Of the client, such as `kafka:9092/1: Failed to resolve …`.
        bootstrap: Addresses that it was given.
    """
    named = [match[1] for error in errors for match in _NAMED.finditer(error)]
    return [address for address in dict.fromkeys(named) if address not in bootstrap]


def check_advertised(doors: Sequence[Door], *, bootstrap: str) -> list[Finding]:
    """The addresses that the brokers tell their clients to come back to (`advertised.listeners`).

    Args:
        doors: One for each broker, tried.
        bootstrap: As set.
    """
    closed = [door for door in doors if door.reached != "yes"]
    found = [
        wrong(
            "advertised",
            f"the broker tells clients to come to {door.address}, and {_closed(door)}: set advertised.listeners in its"
            f" server.properties to an address that is reached from here, such as that of {bootstrap}, and restart it",
        )
        for door in closed
    ]
    return found or [ok("advertised", f"{len(doors)} of {len(doors)} advertised addresses can be reached")]


def _own_certificates(connection: Connection, *, now_s: float) -> Iterator[Finding]:
    for name, end in connection.own:
        if isinstance(end, str):
            yield wrong("certificate", f"{name}: {end}")
        elif end <= now_s:
            yield wrong("certificate", f"that of {name} ended {_days(now_s - end)} ago: renew it")
        elif end - now_s < SOON_S:
            yield warning("certificate", f"that of {name} ends in {_days(end - now_s)}: renew it before")
        else:
            yield ok("certificate", f"that of {name} lasts {_days(end - now_s)} more")


def _ends(doors: Sequence[Door], *, now_s: float) -> Iterator[Finding]:
    for door in doors:
        if door.ends_s is not None and door.ends_s - now_s < SOON_S:
            yield warning(
                "certificate", f"that of {door.address} ends in {_days(door.ends_s - now_s)}: renew the broker's"
            )


def _closed(door: Door) -> str:
    return {
        "no name": f"{door.address} has a host name that is not known here",
        "refused": f"nobody listens at {door.address}",
        "silent": f"{door.address} does not answer",
    }.get(door.reached, f"{door.address} cannot be reached ({door.words})")


def _mend(door: Door) -> str:
    if door.reached == "no name":
        return f"see STREAMPROC_BOOTSTRAP, getent hosts {door.address.rpartition(':')[0]}"
    if door.reached == "silent":
        return "see STREAMPROC_BOOTSTRAP, and firewalls and network policies on the way"
    return "start a broker with streamproc broker start, or see STREAMPROC_BOOTSTRAP"


def _days(seconds: float) -> str:
    return f"{seconds / DAY_S:.0f} days" if seconds >= 2 * DAY_S else f"{seconds / 3600:.0f} hours"
