"""Facts of the way to the brokers, gathered over sockets; every wait is bounded."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from streamproc.certificates import certificate_ends
from streamproc.doctor.connection import Door
from streamproc.errors import SettingError
from streamproc.settings import Settings
from streamproc.surroundings import certificate_end, certificates_of

TRY_S: Final = 2.0
_AT_ONCE: Final = 16
MOST_DOORS: Final = 64


def try_doors(addresses: Iterable[str]) -> list[Door]:
    """Connect to each, at once; to 64 at most."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(try_door, list(addresses)[:MOST_DOORS]))


def try_door(address: str) -> Door:
    """Connect to one address and leave."""
    try:
        with socket.create_connection(split(address), timeout=TRY_S):
            return Door(address=address, reached="yes")
    except socket.gaierror as error:
        return Door(address=address, reached="no name", words=error.strerror or "")
    except ConnectionRefusedError:
        return Door(address=address, reached="refused")
    except TimeoutError:
        return Door(address=address, reached="silent")
    except OSError as error:
        return Door(address=address, reached="failed", words=error.strerror or str(error))


def with_tls(door: Door, settings: Settings) -> Door:
    """Whether TLS is spoken at an open door, whether we trust it, and until when its certificate lasts."""
    try:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        ended = _shaken(door.address, trusting)
    except (ssl.SSLError, OSError):
        return replace(door, tls=False)
    door = replace(door, tls=True, ends_s=ended)
    file = settings.security_ca_file
    try:
        _shaken(door.address, ssl.create_default_context(cafile=None if file is None else str(file)))
    except ssl.SSLCertVerificationError as error:
        return replace(door, trusted=error.verify_message)
    except OSError as error:
        # It may want our certificate, or the file cannot be read: told elsewhere, by name of the setting.
        return replace(door, trusted="" if isinstance(error, ssl.SSLError) else error.strerror or str(error))
    return door


def _shaken(address: str, context: ssl.SSLContext) -> float | None:
    """Shake hands; when the other's certificate ends."""
    host, port = split(address)
    with (
        socket.create_connection((host, port), timeout=TRY_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    try:
        return None if der is None else certificate_ends(ssl.DER_cert_to_PEM_cert(der).encode())[0]
    except SettingError:
        return None


def own_certificates(settings: Settings) -> tuple[tuple[str, float | str], ...]:
    """When those that settings name end, by name of the setting, or why that is not known."""
    names = {"ca": "STREAMPROC_SECURITY_CA_FILE", "client": "STREAMPROC_SECURITY_CERT_FILE"}
    return tuple((names[what], _end(file, what)) for what, file in certificates_of(settings).items())


def _end(file: Path, what: str) -> float | str:
    try:
        return certificate_end(file, what=what)
    except SettingError as error:
        return str(error)


def split(address: str) -> tuple[str, int]:
    """Host and port of host:port; brackets of IPv6 taken off."""
    host, _, port = address.strip().rpartition(":")
    return host.strip("[]"), int(port)
