"""The whole examination, within bounded time: facts are gathered side by side, then judged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from streamproc.doctor.cluster import check_cluster
from streamproc.doctor.connection import Connection, Door, advertised_in, check_advertised, check_connection
from streamproc.doctor.finding import Finding, wrong
from streamproc.doctor.look_cluster import Asking, addresses_of, look_at_cluster
from streamproc.doctor.look_doors import own_certificates, try_doors, with_tls
from streamproc.doctor.look_machine import look_at_machine, port_taken, workers_named
from streamproc.doctor.machine import check_instance, check_machine, check_port, check_variables
from streamproc.errors import StreamprocError
from streamproc.settings import Settings

WHOLE_S: Final = 14.0
"""Longest examination, seconds."""


def examine(
    settings: Settings, *, variables: Collection[str], known: Collection[str], folders: tuple[Path, ...] = ()
) -> list[Finding]:
    """Look at machine, settings and cluster.

    Args:
        settings: What is examined.
        variables: Names of all STREAMPROC_ variables of the environment.
        known: Names of those that are read.
        folders: That are written to, beside the one for temporary files.
    """
    deadline_s = time.monotonic() + WHOLE_S
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "machine": lambda: _machine(settings, variables, known, folders),
        "broker": lambda: _cluster(settings),
    }
    begun = {name: _Part(part) for name, part in parts.items()}
    return [finding for name, part in begun.items() for finding in part.findings(name, deadline_s - time.monotonic())]


class _Part:
    """Findings that are made on a thread of their own, which is left to itself when it takes too long."""

    def __init__(self, make: Callable[[], Iterator[Finding]]) -> None:
        self._make = make
        self._found: list[Finding] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def findings(self, name: str, left_s: float) -> list[Finding]:
        """All of them, or those that were made in time."""
        self._thread.join(max(0.0, left_s))
        found = list(self._found)
        if self._thread.is_alive():
            found.append(
                wrong(name, f"looking at it took longer than {WHOLE_S:.0f} s: what is not said was not looked at")
            )
        elif isinstance(self._error, StreamprocError):
            found.append(wrong(name, str(self._error)))
        elif self._error is not None:
            raise self._error
        return found

    def _run(self) -> None:
        try:
            for finding in self._make():
                self._found.append(finding)
        except BaseException as error:  # noqa: BLE001 - raised again by who asks
            self._error = error


def _machine(
    settings: Settings, variables: Collection[str], known: Collection[str], folders: tuple[Path, ...]
) -> Iterator[Finding]:
    yield from check_machine(look_at_machine(folders), threads=settings.worker_threads)
    yield from check_variables(variables, known=known)
    host, port = settings.metrics_host, settings.metrics_port
    yield check_port(host, port, taken_by=port_taken(host, port))
    yield check_instance(settings.instance_id, workers_named(settings.instance_id))


def _cluster(settings: Settings) -> Iterator[Finding]:
    addresses = [address.strip() for address in settings.bootstrap.split(",")]
    doors = try_doors(addresses)
    asking = metadata = None
    if any(door.reached == "yes" for door in doors):
        asking = Asking(settings)
        metadata = asking.metadata()
    if asking is not None and metadata is None:
        elsewhere = try_doors(advertised_in(asking.errors, bootstrap=addresses))
        if any(door.reached != "yes" for door in elsewhere):
            yield from check_advertised(elsewhere, bootstrap=settings.bootstrap)
            return
    if metadata is None or settings.security_protocol.endswith("SSL"):
        doors = [_looked_at(door, settings) for door in doors]
    connection = Connection(
        protocol=settings.security_protocol,
        doors=tuple(doors),
        answered=metadata is not None,
        errors=asking.errors if asking is not None else (),
        user=settings.security_username,
        own=own_certificates(settings),
    )
    yield from check_connection(connection, now_s=time.time())
    if asking is None or metadata is None:
        return
    advertised = try_doors(addresses_of(metadata))
    yield from check_advertised(advertised, bootstrap=settings.bootstrap)
    if not any(door.reached == "yes" for door in advertised):
        return  # all else would have to be asked there
    cluster = look_at_cluster(asking, metadata, settings)
    yield from check_cluster(cluster, settings, now_ms=int(time.time() * 1000))


def _looked_at(door: Door, settings: Settings) -> Door:
    return with_tls(door, settings) if door.reached == "yes" else door
