"""Who may ask the viewer: token, cookie, Host and Origin. Pure, but for the file of the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streamproc.errors import UsageError

LEAST_TOKEN: Final = 16
MOST_TOKEN: Final = 1000
OPEN_PATHS: Final = ("/login", "/healthz", "/readyz", "/favicon.ico")  # nothing of any camera is there

CONTENT_SECURITY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's own alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path) -> str:
    """The token of a file: its one line.

    Raises:
        UsageError: It cannot be read, is empty, too short, or of several lines; the message has nothing of it.
    """
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(f"token file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"token file {file}: a token is of plain ASCII") from None
    if not LEAST_TOKEN <= len(text) <= MOST_TOKEN or not text.isprintable() or " " in text:
        raise UsageError(
            f"token file {file}: a token is one line of {LEAST_TOKEN} to {MOST_TOKEN} printable characters;"
            " make one with: openssl rand -hex 32"
        )
    return text


def is_open(path: str) -> bool:
    """Whether a path is served to everybody: what the login page needs, and probes."""
    return path in OPEN_PATHS or (path.startswith("/static/") and path.endswith(".css"))


@dataclass(frozen=True, slots=True)
class Access:
    """What a request must have.

    Attributes:
        token: None: it needs none.
        local: The server listens on loopback alone: names of this machine are expected in `Host`, so that no page from
            elsewhere reaches it under a name of its own (DNS rebinding).
        cookie: Name of the cookie that a login sets.
    """

    token: str | None
    local: bool
    cookie: str = "streamproc-view"

    @property
    def session(self) -> str:
        """Value of the cookie: from it the token cannot be told."""
        return hmac.new((self.token or "").encode(), b"streamproc view", hashlib.sha256).hexdigest()

    def host_is_right(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        if not self.local:
            return True
        try:
            return is_loopback(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False

    def origin_is_right(self, origin: str | None, host: str) -> bool:
        """Whether a page of ours, or none at all, asks; browsers always say so where it matters."""
        return origin is None or urlsplit(origin).netloc == host

    def is_token(self, given: str) -> bool:
        """Whether it is the token; takes the same time whatever is wrong with it."""
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def lets_in(self, authorization: str | None, cookie: str | None) -> bool:
        """Whether a request with these may see anything."""
        if self.token is None:
            return True
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return cookie is not None and hmac.compare_digest(cookie.encode(), self.session.encode())
