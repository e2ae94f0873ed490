"""Connection settings as the two Kafka clients want them; librdkafka's own log lines go into logging."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError

from streamproc.settings import DEFAULT_BOOTSTRAP, Settings

librdkafka_log = logging.getLogger("streamproc.librdkafka")


def client_config(settings: Settings, *, client_id: str) -> dict[str, Any]:
    """The part of a confluent-kafka configuration that every client shares."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.bootstrap,
        "client.id": client_id,
        "security.protocol": settings.security_protocol,
        "socket.keepalive.enable": True,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 2000,
        "logger": librdkafka_log,
        "log.connection.close": False,
    }
    if settings.security_protocol.startswith("SASL") and settings.security_password is not None:
        config["sasl.mechanism"] = settings.security_sasl_mechanism
        config["sasl.username"] = settings.security_username
        config["sasl.password"] = settings.security_password.get_secret_value()
    files = {
        "ssl.ca.location": settings.security_ca_file,
        "ssl.certificate.location": settings.security_cert_file,
        "ssl.key.location": settings.security_key_file,
    }
    return {**config, **{name: str(path) for name, path in files.items() if path is not None}}


def unreachable(settings: Settings, error: KafkaError) -> str:
    """One line for a broker that does not answer: where, why, and what to do."""
    hint = "start one with: streamproc broker start"
    if settings.bootstrap != DEFAULT_BOOTSTRAP:
        hint = f"check STREAMPROC_BOOTSTRAP, or {hint}"
    if error.code() == KafkaError._AUTHENTICATION:  # librdkafka's local codes have no public name
        hint = "check STREAMPROC_SECURITY_USERNAME and _PASSWORD"
    return f"no Kafka broker answers at {settings.bootstrap} ({error.str()}): {hint}"
