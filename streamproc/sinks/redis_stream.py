"""Events into a Redis stream: a batch and its position in one script, which Redis runs whole or not at all.

The position is a hash beside the stream, `{STREAM}:positions`; the braces keep both on one node of a cluster.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from streamproc.errors import SinkError, SinkUnavailable, UsageError
from streamproc.sinks.address import Address
from streamproc.sinks.files import missing_library
from streamproc.sinks.sink import Batch, Limits, TargetMoved, Written

_ANSWER_S: Final = 5.0
_STREAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_OPTIONS: Final = {"db": 2**15, "maxlen": 2**53}
_WAIT: Final = ("BUSY", "NOREPLICAS", "MISCONF")  # beginnings of answers that the library has no class for

# KEYS: stream, positions. ARGV: maxlen (0: keep all), number of partitions, then for each: field, start, end;
# then for each event: field, offset, id, type, source, event.
# An answer lost on the way is harmless: the repeated script finds the batch's ends stored and says so.
_WRITE: Final = """
local fields = tonumber(ARGV[2])
local known = true
for at = 3, 2 + 3 * fields, 3 do
  local stored = redis.call('HGET', KEYS[2], ARGV[at]) or ''
  if stored ~= ARGV[at + 2] then known = false end
end
if known then return 'known' end
for at = 3, 2 + 3 * fields, 3 do
  local stored = redis.call('HGET', KEYS[2], ARGV[at]) or ''
  if stored ~= ARGV[at + 1] then return 'moved' end
end
for at = 3 + 3 * fields, #ARGV, 4 do
  local entry = {'id', ARGV[at], 'type', ARGV[at + 1], 'source', ARGV[at + 2], 'event', ARGV[at + 3]}
  if ARGV[1] == '0' then
    redis.call('XADD', KEYS[1], '*', unpack(entry))
  else
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(entry))
  end
end
for at = 3, 2 + 3 * fields, 3 do
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 2])
end
return 'written'
"""


class RedisSink:
    """Adds an entry with the fields id, type, source and event (CloudEvents JSON) for each event.

    Args:
        address: `redis://[USER@]HOST[:PORT]/STREAM[?db=N&maxlen=N]`; rediss for TLS.
        name: Of the sink.
        topic: Of the events.

    Raises:
        UsageError: The address names no stream, or something that is not known.
        SinkError: The library is not installed.
    """

    limits = Limits(events=500, bytes=4 * 2**20, wait_s=0.2)
    keeps_positions = True
    can_rewind = False

    def __init__(self, address: Address, *, name: str, topic: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise missing_library(error, "a sink of a Redis stream") from None
        self._errors = errors = redis.exceptions
        self._passing = (
            errors.OutOfMemoryError,
            errors.ReadOnlyError,
            errors.ClusterDownError,
            errors.MasterDownError,
            errors.TryAgainError,
        )
        self._address, self._of = address, f"{name}/{topic}/"
        self._stream, options = _options(address)
        self._maxlen = options.get("maxlen", 0)
        parts = urlsplit(address.url)
        self._client: Any = redis.Redis(
            host=parts.hostname or "",
            port=parts.port or 6379,
            username=unquote(parts.username) if parts.username else None,
            password=address.password,
            db=options.get("db", 0),
            ssl=parts.scheme == "rediss",
            socket_timeout=_ANSWER_S,
            socket_connect_timeout=_ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # the sink tries again, and says so
        )
        self._script: Any = self._client.register_script(_WRITE)

    @property
    def _places(self) -> str:
        return f"{{{self._stream}}}:positions"

    def positions(self) -> dict[int, int]:
        """Connect and read where this sink is."""
        with self._told():
            held = self._client.hgetall(self._places)
            kind = self._client.type(self._stream)
        if kind not in (b"none", b"stream"):
            raise SinkError(f"{self._address.shown}: {self._stream} is a {kind.decode()}, not a stream")
        prefix = self._of.encode()
        return {int(field[len(prefix) :]): int(offset) for field, offset in held.items() if field.startswith(prefix)}

    def begin(self, positions: Mapping[int, int]) -> None:
        """Store where the first batch begins."""
        fields = {f"{self._of}{partition}": offset for partition, offset in positions.items()}
        if fields:
            with self._told():
                self._client.hset(self._places, mapping=fields)

    def write(self, batch: Batch) -> Written:
        """Add the events and store the position, in one script.

        Raises:
            TargetMoved: The stored positions are not where the batch begins; nothing is written.
        """
        arguments: list[str | bytes | int] = [self._maxlen, len(batch.ends)]
        for partition, end in batch.ends.items():
            start = batch.starts[partition]
            arguments += [f"{self._of}{partition}", "" if start is None else start, end]
        for event in batch.events:
            arguments += [event.id, event.type, str(event.event.get("source", "")), event.line]
        with self._told():
            answer = self._script(keys=[self._stream, self._places], args=arguments)
        if answer == b"moved":
            raise TargetMoved(self.positions())
        new = len(batch.events) if answer == b"written" else 0
        return Written(new=new, known=len(batch.events) - new)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of Redis as one line, sorted by whether another try may help."""
        shown, clean = self._address.shown, self._address.clean
        try:
            yield
        except (self._errors.AuthenticationError, self._errors.AuthorizationError) as error:
            raise SinkError(
                f"{shown} refuses us ({clean(error)}): check the user and STREAMPROC_SINK_PASSWORD"
            ) from None
        except (self._errors.ConnectionError, self._errors.TimeoutError, OSError) as error:
            raise SinkUnavailable(f"{shown} does not answer: {clean(error)}") from None
        except self._errors.RedisError as error:
            passing = isinstance(error, self._passing) or str(error).startswith(_WAIT)
            raise (SinkUnavailable if passing else SinkError)(f"{shown}: {clean(error)}") from None


def _options(address: Address) -> tuple[str, dict[str, int]]:
    parts = urlsplit(address.url)
    stream = unquote(parts.path.removeprefix("/"))
    if not _STREAM.fullmatch(stream):
        raise UsageError(
            f"{address.shown}: name a stream, like redis://HOST/events (letters, digits, '.', '_', ':', '-')"
        )
    options: dict[str, int] = {}
    for name, (text, *_) in parse_qs(parts.query, keep_blank_values=True).items():
        if name == "password":
            continue  # read with the address
        largest = _OPTIONS.get(name)
        if largest is None or not text.isdecimal() or int(text) > largest:
            raise UsageError(f"{address.shown}: {name!r} is not db=NUMBER or maxlen=NUMBER")
        options[name] = int(text)
    return stream, options
