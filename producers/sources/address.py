"""Addresses of cameras: URLs with credentials, and how they are shown without them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from streamproc.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

_PORTS = {"rtsp": 554, "rtspu": 554, "rtsps": 322, "http": 80, "https": 443, "hls+http": 80, "hls+https": 443}
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HARMLESS = re.compile(r"[0-9]{1,3}|[0-9]{1,5}x[0-9]{1,5}")  # channel=1, size=640x480
_MAX_CHARS = 2000
_HIDDEN = "***"
_ENCODE = "percent-encode @ : / ? # in user and password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a camera is.

    Attributes:
        host: Name or number; an IPv6 number without brackets.
        target: Path and query, beginning with a slash, percent-encoded.
        user, password: As they are, not percent-encoded; "" where there is none.
        shown_user, shown_target: The same with `***` for what came out of a variable of the environment.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    shown_user: str = field(default="", repr=False)
    shown_target: str = field(default="/", repr=False)

    @property
    def netloc(self) -> str:
        """Host and port, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, with credentials: for the library that opens it, never to be shown."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self.netloc}{self.target}"

    @property
    def masked(self) -> str:
        """What may be shown: no password, nothing out of a variable, of the query no value but numbers and sizes."""
        login = f"{quote(self.shown_user, safe='*')}:***@" if self.password else "***@" if self.user else ""
        path, mark, query = self.shown_target.partition("?")
        shown = "&".join(_masked_pair(pair) for pair in query.split("&"))
        return f"{self.scheme}://{login}{self.netloc}{path}{mark}{shown}"


def parse_address(spec: str, *, variable: Callable[[str], str | None]) -> Address:
    """Read a camera's URL; `${NAME}` in it stands for a variable of the environment.

    Args:
        spec: `rtsp`, `rtspu` (media over UDP), `rtsps`, `http`, `https`, or `hls+http`, `hls+https` (a playlist or film
            whatever its path ends in). A user or password with `@ : / ? # %` is percent-encoded, or comes from a
            variable, whose value is taken as it is.
        variable: Name to value, None if unset.

    Raises:
        UsageError: The URL cannot be read, or a variable is not set. The message shows no secret.
    """
    shown = f"{mask(spec.partition('://')[0])[:10]}://***"  # what cannot be read may hold a password anywhere
    if len(spec) > _MAX_CHARS or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in spec):
        raise UsageError(f"{shown} is no URL: it has blanks, control characters or more than {_MAX_CHARS} characters")
    try:
        parts = urlsplit(spec)
        host = (parts.hostname or "").encode("idna" if parts.hostname else "ascii").decode()
    except ValueError:
        raise UsageError(f"{shown} is no URL: {_ENCODE}") from None
    if not host or parts.scheme not in _PORTS:
        raise UsageError(f"{shown} is no URL of a camera: expected {'://HOST/PATH, '.join(_PORTS)}://HOST/PATH")
    port = _port(parts, shown)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(
        scheme=parts.scheme,
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        target=_expanded(target, shown, variable),
        user=_login(parts.username, shown, variable),
        password=_login(parts.password, shown, variable),
        shown_user=_login(parts.username, shown, lambda _name: _HIDDEN),
        shown_target=_printable(_VARIABLE.sub(_HIDDEN, target)),
    )


def mask(text: str) -> str:
    """Any text that may hold a URL, as one line, without what stands between `://` and the last `@` or after a `?`."""
    without_login = re.sub(r"://.*@", "://***@", text, flags=re.DOTALL)
    shown = re.sub(r"(://[^?]*)\?.*", r"\1?***", without_login, flags=re.DOTALL)
    return "".join(char if char.isprintable() else "?" for char in shown)


def _port(parts: SplitResult, shown: str) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port != 0:
        return port
    rest = f"{parts.path}{parts.query}{parts.fragment}"
    if "@" in rest and "@" not in parts.netloc:  # rather a password with a slash, cut in its middle
        raise UsageError(f"{shown} is no URL: {_ENCODE}")
    raise UsageError(f"{shown} is no URL: its port must be 1 to 65535")


def _login(part: str | None, shown: str, variable: Callable[[str], str | None]) -> str:
    if part is None:
        return ""
    literal = _VARIABLE.split(part)  # text, name, text, name, …
    values = [_value(text, shown, variable) if index % 2 else unquote(text) for index, text in enumerate(literal)]
    return _without_controls("".join(values), shown)


def _expanded(text: str, shown: str, variable: Callable[[str], str | None]) -> str:
    return _printable(_VARIABLE.sub(lambda match: quote(_value(match[1], shown, variable), safe=""), text))


def _printable(text: str) -> str:
    return quote(text, safe="".join(map(chr, range(0x21, 0x7F))))


def _value(name: str, shown: str, variable: Callable[[str], str | None]) -> str:
    value = variable(name) if _NAME.fullmatch(name) else None
    if value is None:
        raise UsageError(f"{shown} names the variable {name!r} of the environment, which is not set: export it")
    return value


def _without_controls(text: str, shown: str) -> str:
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise UsageError(f"{shown}: user and password must not hold control characters")
    return text


def _masked_pair(pair: str) -> str:
    key, mark, value = pair.partition("=")
    if not mark:
        return key if not key or _HARMLESS.fullmatch(key) else "***"
    return f"{key}={value if _HARMLESS.fullmatch(value) else '***'}"
