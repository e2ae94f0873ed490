"""How processes log: one line for each event, on stderr, readable or JSON."""

from __future__ import annotations

import logging
import sys

import structlog


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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("streamproc").setLevel(level)
    logging.getLogger("producers").setLevel(level)
    logging.getLogger("streamproc.agents.transport").setLevel(logging.WARNING)  # where Faust's services log
