"""The sink of an address. Libraries are imported here and below, when one of their sinks is wanted."""

from __future__ import annotations

from pathlib import Path

from streamproc.errors import SinkError, UsageError
from streamproc.settings import Settings
from streamproc.sinks.address import Address
from streamproc.sinks.sink import Sink


def open_sink(address: Address, settings: Settings, *, name: str, topic: str, refused: Path | None = None) -> Sink:
    """Make the sink of an address; nothing is connected yet.

    Args:
        address: The target.
        settings: For the key that webhooks are signed with.
        name: Of the sink.
        topic: Of the events.
        refused: See `WebhookSink`.

    Raises:
        UsageError: The address cannot be used, or `refused` is given for a target that refuses no single event.
        SinkError: A library is missing; the message names what to install.
    """
    if refused is not None and address.kind != "webhook":
        raise UsageError(f"--refused is for webhooks; {address.shown} takes all events or none")
    if address.kind == "jsonl" and address.path is not None:
        from streamproc.sinks.jsonl import JsonlSink

        return JsonlSink(address.path, name=name, topic=topic)
    if address.kind == "parquet" and address.path is not None:
        from streamproc.sinks.parquet import ParquetSink

        return ParquetSink(address.path, name=name, topic=topic)
    if address.kind == "redis":
        from streamproc.sinks.redis_stream import RedisSink

        return RedisSink(address, name=name, topic=topic)
    if address.kind == "webhook":
        from streamproc.sinks.webhook import WebhookSink

        secret = settings.sink_secret
        key = None if secret is None else secret.get_secret_value()
        return WebhookSink(address, secret=key, refused=refused)
    try:
        from streamproc.sinks.sql import SqlSink
    except ImportError as error:
        raise SinkError(f"a sink of a database needs {error.name}: pip install 'streamproc[sinks]'") from None
    return SqlSink(address, name=name, topic=topic)
