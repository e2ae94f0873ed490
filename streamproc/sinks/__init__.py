"""Out of Kafka: events into files, databases, streams and webhooks, each of them once."""

from streamproc.sinks.address import Address, parse_address
from streamproc.sinks.driving import drive
from streamproc.sinks.event import Choice, SinkEvent, read_event
from streamproc.sinks.opening import open_sink
from streamproc.sinks.report import Options, Report

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
