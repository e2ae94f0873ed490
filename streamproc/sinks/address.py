"""Where events go, from the text a user gives; what is secret in it is shown nowhere."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from streamproc.errors import UsageError

Kind = Literal["jsonl", "parquet", "sql", "redis", "webhook"]

FORMS: Final = (
    "jsonl:PATH, parquet:DIR, sqlite:///FILE, postgresql://USER@HOST/DATABASE, redis://HOST/STREAM or https://HOST/PATH"
)
MASK: Final = "***"
_SECRET_NAME = re.compile(r"pass|token|secret|key|sig|auth|credential", re.IGNORECASE)
_KINDS: Final[dict[str, Kind]] = {
    "postgresql": "sql",
    "redis": "redis",
    "rediss": "redis",
    "http": "webhook",
    "https": "webhook",
}
_MAX_TOLD = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A target of events.

    Attributes:
        kind: Which sink writes there.
        shown: For people: without passwords, and without the path of a webhook, which often is a secret itself.
        path: Of a file or folder; None for the others.
        url: All of it, with whatever is secret in it.
        password: From the URL or given apart; None if there is none.
    """

    kind: Kind
    shown: str
    path: Path | None = None
    url: str = field(default="", repr=False)
    password: str | None = field(default=None, repr=False)

    def clean(self, error: object) -> str:
        """What an error says, as one line of at most 300 characters without our secrets."""
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in sorted(_secrets(self), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text[:_MAX_TOLD]

    def default_name(self, choice: str, prefix: str) -> str:
        """A name for a sink of this target that stays the same for the same target, topics and choice of events."""
        place = str(self.path.resolve()) if self.path is not None else _without_password(urlsplit(self.url))
        digest = hashlib.sha256("\0".join((self.kind, place, choice, prefix)).encode()).hexdigest()
        return f"{self.kind}-{digest[:12]}"


def parse_address(text: str, *, password: str | None = None, visible: bool) -> Address:
    """Read what a user gives as target.

    Args:
        text: A path ending in .jsonl, or one of `FORMS`.
        password: Given apart from the URL.
        visible: It was an argument of a command, which everybody on the machine can read.

    Raises:
        UsageError: Not understood, or a secret stands where it can be seen.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme in ("jsonl", "parquet") and rest:
        path = Path(rest)
        return Address(kind="jsonl" if scheme == "jsonl" else "parquet", shown=f"{scheme}:{path}", path=path)
    if text.endswith(".jsonl") and "://" not in text:
        return Address(kind="jsonl", shown=f"jsonl:{text}", path=Path(text))
    if text.startswith("sqlite:"):
        return _sqlite(text)
    return _parse_url(text, password=password, visible=visible)


def _parse_url(text: str, *, password: str | None, visible: bool) -> Address:
    try:
        parts = urlsplit(text)
        kind = _KINDS.get(parts.scheme)
        known = kind is not None and "://" in text and text.isprintable() and " " not in text and parts.port != 0
    except ValueError:  # a port that is none
        known = False
    if not known or kind is None:
        place = repr(text) if "@" not in text and "?" not in text else "the target"
        raise UsageError(f"{place} is no target for events: use {FORMS}")
    if visible:
        _refuse_secrets(parts)
    if parts.password is not None:
        password = unquote(parts.password)
    if not parts.hostname and parts.scheme != "postgresql":  # PostgreSQL: its socket, or a host in the query
        raise UsageError(f"{_shown(parts)} names no host: use {FORMS}")
    return Address(kind=kind, shown=_shown(parts), url=text, password=password)


def _sqlite(text: str) -> Address:
    file = text.removeprefix("sqlite:///")
    if file == text or not file or file.startswith((":memory:", "file:")) or "?" in file:
        raise UsageError(f"{text!r}: use sqlite:///FILE, or sqlite:////FOLDER/FILE for a full path")
    return Address(kind="sql", shown=text, path=Path(file), url=text)


def _refuse_secrets(parts: SplitResult) -> None:
    if parts.password is not None:
        raise UsageError(
            "the URL of the target has a password, and everybody on this machine can read arguments:"
            " leave it out and set STREAMPROC_SINK_PASSWORD, or set the whole URL as STREAMPROC_SINK_URL"
        )
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if _SECRET_NAME.search(name):
            raise UsageError(
                f"the URL of the target has {name!r} in its query, and everybody on this machine can read arguments:"
                " set the whole URL as STREAMPROC_SINK_URL and give none as argument"
            )


def _shown(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    user = f"{parts.username}:{MASK}@" if parts.password is not None else f"{parts.username}@" if parts.username else ""
    place = f"{parts.scheme}://{user}{host}{f':{parts.port}' if parts.port else ''}"
    if parts.scheme in ("http", "https"):
        return place + ("/..." if parts.path.strip("/") or parts.query else "")
    return place + parts.path


def _without_password(parts: SplitResult) -> str:
    user = f"{parts.username}@" if parts.username else ""
    query = [f"{name}={value}" for name, value in parse_qsl(parts.query) if not _SECRET_NAME.search(name)]
    return f"{parts.scheme}://{user}{parts.hostname}:{parts.port}{parts.path}?{'&'.join(query)}"


def _secrets(address: Address) -> set[str]:
    found = {address.url} if address.kind != "sql" or "@" in address.url else set()
    if address.password:
        found.add(address.password)
    if address.url:
        parts = urlsplit(address.url)
        found |= {parts.password or "", parts.query}
        found |= {value for name, value in parse_qsl(parts.query) if _SECRET_NAME.search(name)}
        if address.kind == "webhook":
            found |= {parts.path} if len(parts.path) > 1 else set()
    return found - {""}
