"""Events to a webhook: one POST each, in order, at least once, with the event's id as idempotency key.

References:
    CloudEvents HTTP protocol binding (structured mode), https://github.com/cloudevents/spec
    Standard Webhooks, https://www.standardwebhooks.com: the headers webhook-id, webhook-timestamp, webhook-signature
    draft-ietf-httpapi-idempotency-key-header: Idempotency-Key
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from streamproc import __version__
from streamproc.errors import SinkError, SinkUnavailable, UsageError
from streamproc.sinks.address import Address
from streamproc.sinks.event import SinkEvent
from streamproc.sinks.files import disk_error, missing_library
from streamproc.sinks.sink import Batch, Limits, Written

if TYPE_CHECKING:
    import httpx

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 2**10
_MAX_ASKED_S: Final = 300.0
_TRY_AGAIN: Final = frozenset({408, 425, 429})


class WebhookSink:
    """Posts events; its position is kept by Kafka, so a kill sends those of the last batch again.

    Answers of 2xx are success. 408, 425, 429, 5xx and no answer at all are tried again, and `Retry-After` is
    kept, up to five minutes. All other answers refuse the event for good; redirects among them, none is followed.

    Args:
        address: http or https.
        secret: Signs requests with HMAC-SHA256; with the prefix `whsec_` its rest is base64. None: not signed.
        refused: File of JSON lines for events that are refused for good; None ends the sink at the first.
        clock: Seconds since 1970, for timestamps.

    Raises:
        UsageError: The secret cannot be used.
        SinkError: The library is not installed.
    """

    limits = Limits(events=16, bytes=2**20, wait_s=0.05)
    keeps_positions = False
    can_rewind = True

    def __init__(
        self, address: Address, *, secret: str | None, refused: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise missing_library(error, "a sink of a webhook") from None
        parts = urlsplit(address.url)
        user = unquote(parts.username) if parts.username else None
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        self._address, self._refused, self._clock = address, refused, clock
        self._key = None if secret is None else signing_key(secret)
        self._transport_error: type[Exception] = httpx.TransportError
        self._client = httpx.Client(
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            follow_redirects=False,
            auth=None if user is None else (user, address.password or ""),
            limits=httpx.Limits(max_connections=1),
        )
        self._done: dict[str, bool] = {}  # of the batch under way: whether each was taken (and not refused)

    def positions(self) -> dict[int, int]:
        """A webhook has no position."""
        return {}

    def begin(self, positions: Mapping[int, int]) -> None:
        """Nothing is noted at a webhook."""

    def write(self, batch: Batch) -> Written:
        """Post the events that were not taken in an earlier try of this batch; an error says how far it came."""
        for number, event in enumerate(batch.events):
            if event.id not in self._done:
                try:
                    self._done[event.id] = self._post(event)
                except SinkError as error:
                    error.taken = tuple(self._done[before.id] for before in batch.events[:number])
                    raise
        refused = sum(not self._done[event.id] for event in batch.events)
        self._done = {}
        return Written(new=len(batch.events) - refused, refused=refused)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _post(self, event: SinkEvent) -> bool:
        """Whether the event was taken; False: it was refused, and stands in the file of refused ones."""
        import httpx

        try:
            request = self._client.build_request("POST", self._url, content=event.line, headers=self._headers(event))
            response = self._client.send(request, stream=True)
            try:
                _drain(response)
            finally:
                response.close()
        except httpx.TransportError as error:
            why = self._address.clean(error) if str(error) else type(error).__name__
            raise SinkUnavailable(f"{self._address.shown} does not answer: {why}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SinkError(f"{self._address.shown} cannot be posted to: {self._address.clean(error)}") from None
        return self._judge(event, response.status_code, response.headers.get("retry-after"))

    def _judge(self, event: SinkEvent, status: int, retry_after: str | None) -> bool:
        if 200 <= status < 300:
            return True
        if status in _TRY_AGAIN or status >= 500:
            asked_s = asked_to_wait(retry_after, now_s=self._clock())
            raise SinkUnavailable(f"{self._address.shown} answers {status}", after_s=asked_s)
        if self._refused is None:
            redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
            raise SinkError(
                f"{self._address.shown} refuses event {event.id} with {status}{redirect}:"
                " correct the target and start again, or give --refused FILE to go on without such events"
            )
        self._keep(event, status, self._refused)
        return False

    def _keep(self, event: SinkEvent, status: int, file: Path) -> None:
        line = json.dumps({"status": status, "target": self._address.shown, "event": event.event}) + "\n"
        try:
            with file.open("a", encoding="utf-8") as out:
                out.write(line)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise disk_error(str(file), error) from None

    def _headers(self, event: SinkEvent) -> dict[str, str]:
        headers = {
            "content-type": "application/cloudevents+json",
            "idempotency-key": event.id,
            "user-agent": f"streamproc/{__version__}",
            "webhook-id": event.id,
        }
        if self._key is not None:
            timestamp = str(int(self._clock()))
            headers["webhook-timestamp"] = timestamp
            headers["webhook-signature"] = sign(self._key, event.id, timestamp, event.line)
        return headers


def sign(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,` and base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`."""
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signing_key(secret: str) -> bytes:
    """The bytes of a secret.

    Raises:
        UsageError: After `whsec_` stands no base64, or nothing at all.
    """
    try:
        plain = not secret.startswith("whsec_")
        key = secret.encode() if plain else base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise UsageError("STREAMPROC_SINK_SECRET: after whsec_ must stand base64")
    return key


def asked_to_wait(retry_after: str | None, *, now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, at most 300; None if it says nothing that can be read.

    Args:
        retry_after: Seconds or an HTTP date.
        now_s: Seconds since 1970.

    References:
        RFC 9110, section 10.2.3.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return min(_MAX_ASKED_S, float(text[:9]))
    try:
        return min(_MAX_ASKED_S, max(0.0, parsedate_to_datetime(text).timestamp() - now_s))
    except (ValueError, TypeError, OverflowError):
        return None


def _drain(response: httpx.Response) -> None:
    """Read a short answer, so that its connection can be used again; a long or slow one costs its connection."""
    deadline_s, held = time.monotonic() + _ANSWER_S, 0
    for chunk in response.iter_raw():
        held += len(chunk)
        if held > _MAX_ANSWER_BYTES or time.monotonic() > deadline_s:
            return
