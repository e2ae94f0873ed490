"""How processes log: one line for each event, on stderr, readable or JSON."""

from __future__ import annotations

import logging
import sys

import structlog

CLIENTS = ("streamproc.librdkafka", "aiokafka")
SELDOM_S = 10.0


class Seldom(logging.Filter):
    """Lets one record of a Kafka client's logger through in ten seconds: they say the same again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        if not record.name.startswith(CLIENTS):
            return True
        if record.created < self._next_s.get(record.name, 0.0):
            return False
        self._next_s[record.name] = record.created + SELDOM_S
        return True


def configure_logging(*, level: str = "INFO", as_json: bool = False) -> None:
    """Route all logging of this process to stderr through structlog.

    Args:
        level: Lowest level shown of our own loggers; libraries show warnings and worse.
        as_json: One JSON object a line instead of text.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("streamproc").setLevel(level)
    logging.getLogger("producers").setLevel(level)
    # A broker that is away gives hundreds of lines in seconds; commands say it in one of their own.
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("streamproc.agents.transport").setLevel(logging.WARNING)  # where Faust's services log


def show_clients() -> None:
    """Show what the Kafka clients have to say, though seldom; for processes that run on and on."""
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)
