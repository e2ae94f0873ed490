"""How processes log: one line for each event, on stderr, readable or JSON, and no secret in it.

Code logs a sentence, and beside it, in `extra`, the facts of it under the names that `FIELDS` lists. People read the
sentence; a JSON line has both, so that nobody has to take sentences apart.
"""

from __future__ import annotations

import atexit
import logging
import re
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import structlog

from streamproc.errors import SettingError
from streamproc.foreign_lines import ForeignLines

CLIENTS = ("streamproc.librdkafka", "aiokafka")
SELDOM_S = 10.0
COORDINATOR_S = 10.0  # a new broker has made the topic of its groups in two seconds or three
_STARTING: Final = ("GroupCoordinatorNotAvailable", "Coordinator load in progress")
_FOLLOWS: Final = "Marking the coordinator dead"  # at any other time it says that a broker has gone
_ONCE_MORE_S = 5.0  # asked ten times a second; after so long a silence it is another outage
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FIELDS: Final = (
    *("role", "worker", "pipeline", "group", "partitions", "signal", "seconds", "parent_pid", "exit_status", "kind"),
    *("broker", "topic", "partition", "offset", "records", "events"),
    *("camera", "run", "sequence", "reason", "ending", "ended", "step", "bytes", "file", "url", "retry_s"),
)
"""Names of facts in JSON lines, beside time, level, logger, event and exception."""
DEFAULT_LEVEL: Final = "WARNING"
MASK: Final = "***"
_LEAST_SECRET: Final = 4  # shorter ones stand in too many words
_MOST_SECRETS: Final = 4096  # those named last: more than the cameras of a process

# A password may hold a slash that nobody has escaped; digits before a slash are a port.
_USER_PASSWORD = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s/:@\[]*):(?:[^\s/]+@|(?!\d{1,5}[/?#])(?:(?!://)\S)+@)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"(?P<name>(?:[?&;](?:key|signature|sig|auth)|(?<![a-z0-9])(?:password|passwd|pwd|(?:access_)?token|api_?key|secret))=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s&;#'\"]+)",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?P<name>\bauthorization['\"]?\s*[:=]\s*(?:b?['\"])?)"
    r"(?:digest\s[^\r\n]+|(?P<scheme>(?:basic|bearer|token|negotiate|apikey)\s+)?[^\s'\",;]+)",
    re.IGNORECASE,
)
_secrets: dict[str, None] = {}  # in the order in which they were named
_naming = threading.Lock()
_always: dict[str, object] = {}
_options: dict[str, object] = {}  # what was asked for by options or settings, options first
_foreign: ForeignLines | None = None


class Seldom(logging.Filter):
    """Lets one record of a Kafka client's logger through in ten seconds: they say the same again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        if not record.name.startswith(CLIENTS) or record.levelno < logging.WARNING:
            return True
        if record.created < self._next_s.get(record.name, 0.0):
            return False
        self._next_s[record.name] = record.created + SELDOM_S
        return True


class Joining(logging.Filter):
    """Makes information, told once, of what a client calls an error and what passes by itself.

    The first worker that joins a group on a new broker is refused until the broker has made its topic of groups. What
    lasts stays the error that it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since_s = self._last_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        message = record.getMessage() if record.name.startswith(CLIENTS) else ""
        first = record.created - self._last_s > _ONCE_MORE_S
        if not any(words in message for words in _STARTING) and (first or _FOLLOWS not in message):
            return True
        self._last_s = record.created
        if first:
            self._since_s = record.created
        if record.created - self._since_s >= COORDINATOR_S:
            return True
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg = (
            "the broker's coordinator of groups is not ready, as that of one that has just started: asking until it is"
        )
        record.args = ()
        return first and logging.getLogger("streamproc").isEnabledFor(logging.INFO)


class _Handler(logging.StreamHandler[Any]):
    """One that says nothing when nobody reads any more: it would have to say it to the same nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Nothing."""


def configure_logging(*, level: str = "INFO", as_json: bool = False) -> None:
    """Route all logging of this process to stderr through structlog.

    In JSON, all else that this process and its children write to stderr becomes a log line too: warnings, tracebacks,
    what native libraries print. That is not taken back by a later call.

    Args:
        level: Lowest level shown of our own loggers; libraries show warnings and worse.
        as_json: One JSON object a line instead of text.

    Raises:
        SettingError: There is no such level.
    """
    if level not in LEVELS:
        raise SettingError(f"log level {level!r}: use one of {', '.join(LEVELS)}")
    if as_json:
        _take_stderr()
    stream = sys.stderr if _foreign is None else _foreign.real
    handler = _Handler(stream)
    handler.setFormatter(json_formatter() if _foreign is not None else _readable_formatter())
    handler.addFilter(Joining())
    handler.addFilter(Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("streamproc").setLevel(level)
    logging.getLogger("producers").setLevel(level)
    # A broker that is away gives hundreds of lines in seconds; commands say it in one of their own.
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("transport", "thread"):  # where Faust's services log that they start and stop
        logging.getLogger(f"streamproc.agents.{name}").setLevel(logging.WARNING)
    logging.getLogger("streamproc.notice").setLevel(logging.INFO)  # what is said to the user at any level


def prefer_logging(*, level: str | None = None, as_json: bool | None = None) -> None:
    """Configure by options of the command line, which are stronger than settings; None: not given.

    Raises:
        SettingError: There is no such level.
    """
    given = {"level": level, "as_json": as_json}
    _options.update({name: value for name, value in given.items() if value is not None})
    apply_logging(level=None, as_json=False)


def apply_logging(*, level: str | None, as_json: bool) -> None:
    """Configure by settings, where no option says otherwise.

    Raises:
        SettingError: An option names a level that there is not.
    """
    if level is not None:
        _options.setdefault("level", level)
    configure_logging(level=str(_options.get("level", DEFAULT_LEVEL)), as_json=bool(_options.get("as_json", as_json)))


def show_events() -> None:
    """Show what our own loggers tell from INFO on, unless a level was asked for: for those that tell nothing else."""
    if "level" not in _options:
        logging.getLogger("streamproc").setLevel(logging.INFO)


def show_clients() -> None:
    """Show what the Kafka clients have to say, though seldom; for processes that run on and on."""
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)


def as_json() -> bool:
    """Whether this process logs JSON."""
    return _foreign is not None


def bind(**fields: object) -> None:
    """Put facts of this process into each JSON line from now on; None takes one out."""
    _always.update(fields)
    for name in [name for name, value in _always.items() if value is None]:
        del _always[name]


def hide(*secrets: str | None) -> None:
    """Mask these wherever they would stand in a line."""
    with _naming:
        for secret in secrets:
            if secret is not None and len(secret) >= _LEAST_SECRET:
                _secrets.pop(secret, None)
                _secrets[secret] = None
        while len(_secrets) > _MOST_SECRETS:
            del _secrets[next(iter(_secrets))]


def masked(text: str) -> str:
    """A text without passwords and tokens: those of URLs, and those that were named to `hide`."""
    for secret in sorted(_secrets, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(secret, MASK)
    if "://" in text:
        text = _USER_PASSWORD.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    if "uthorization" in text.lower():
        text = _AUTHORIZATION.sub(rf"\g<name>\g<scheme>{MASK}", text)
    return _PARAMETER.sub(rf"\g<name>{MASK}", text) if "=" in text else text


def json_formatter() -> logging.Formatter:
    """One JSON object: time (RFC 3339, UTC), level, logger, event, the facts beside it, exception."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _in_order,
            _without_secrets,
            structlog.processors.JSONRenderer(),
        ],
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
        ],
    )


def _readable_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _without_secrets,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
    )


def _in_order(_logger: object, _name: str, told: structlog.typing.EventDict) -> structlog.typing.EventDict:
    first = {name: told[name] for name in ("time", "level", "logger", "event") if name in told}
    return {**first, **_always, **{name: value for name, value in told.items() if name not in first}}


def _without_secrets(_logger: object, _name: str, told: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: masked(value) if isinstance(value, str) else _masked_within(value) for name, value in told.items()}


def _masked_within(value: object) -> object:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {str(name): _masked_within(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked_within(one) for one in value]
    return value if isinstance(value, int | float | bool | None) else masked(str(value))


def _take_stderr() -> None:
    """Make log lines of all that is not one."""
    global _foreign  # noqa: PLW0603 - the process has one stderr
    if _foreign is not None:
        return
    _foreign = ForeignLines()
    atexit.register(_foreign.close)
    logging.captureWarnings(capture=True)
    sys.excepthook = _tell_uncaught
    threading.excepthook = _tell_thread
    sys.unraisablehook = _tell_unraisable


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        logging.getLogger("streamproc").warning("interrupted")
        return
    logging.getLogger("streamproc").critical("ended by an unforeseen error", exc_info=(kind, error, trace))


def _tell_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None:  # the interpreter is going down
        return
    name = args.thread.name if args.thread is not None else "unknown"
    logging.getLogger("streamproc").error(
        "thread %s ended by an unforeseen error", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


def _tell_unraisable(told: sys.UnraisableHookArgs) -> None:
    if told.exc_value is None:
        return
    logging.getLogger("streamproc").warning(
        "an error that nobody can catch: %s",
        told.err_msg or told.object,
        exc_info=(told.exc_type, told.exc_value, told.exc_traceback),
    )
