"""Out of Kafka: events into files, databases, streams and webhooks, each of them once."""

from streamproc.sinks.address import Address, parse_address
from streamproc.sinks.driving import Options, Report, drive
from streamproc.sinks.event import Choice, SinkEvent, read_event
from streamproc.sinks.opening import open_sink

__all__ = [
    "Address",
    "Choice",
    "Options",
    "Report",
    "SinkEvent",
    "drive",
    "open_sink",
    "parse_address",
    "read_event",
]
