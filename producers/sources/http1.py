"""As much of HTTP/1.1 (RFC 9112) as reading one camera needs: one request, one answer, no redirects."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.sources.jpeg import BadStream

if TYPE_CHECKING:
    from producers.sources.address import Address

MAX_HEAD_BYTES = 32_768
_MAX_HEAD_LINES = 100
_MAX_CHUNK_BYTES = 64 * 2**20
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: .*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_CHALLENGE = re.compile(r"(?:^|,)\s*(basic|digest)\b", re.IGNORECASE)
_PARAMETER = re.compile(r'([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)
_HASHES = {"md5": "md5", "sha-256": "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of an answer; names in small letters, the first of each."""

    status: int
    fields: dict[str, str]
    challenges: tuple[str, ...] = ()

    @property
    def content_type(self) -> str:
        """With its parameters, as it came."""
        return self.fields.get("content-type", "")


def request(address: Address, authorization: str | None) -> bytes:
    """A GET of the address."""
    lines = [
        f"GET {address.target} HTTP/1.1",
        f"Host: {address.netloc}",
        "User-Agent: streamproc",
        "Accept: multipart/x-mixed-replace, image/jpeg, video/*, */*;q=0.1",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_head(data: bytes | bytearray) -> tuple[Answer, int] | None:
    """Read the head of an answer, and how many bytes it took; None if it is not all here.

    Raises:
        BadStream: It is no HTTP, or too long.
    """
    end = re.search(rb"\r?\n\r?\n", data)
    if (end.end() if end else len(data)) > MAX_HEAD_BYTES:
        raise BadStream(f"has a head of more than {MAX_HEAD_BYTES} bytes")
    if not b"HTTP/1.".startswith(bytes(data[:7])[:7]) and not data.startswith(b"HTTP/1."):
        raise BadStream("does not speak HTTP")
    if end is None:
        return None
    lines = re.split(rb"\r?\n", bytes(data[: end.start()]))
    status = _STATUS.fullmatch(lines[0])
    if status is None or len(lines) > _MAX_HEAD_LINES:
        raise BadStream("answers with a broken HTTP head")
    fields: dict[str, str] = {}
    challenges: list[str] = []
    for line in lines[1:]:
        if (found := _FIELD.fullmatch(line)) is None:
            raise BadStream("answers with a broken HTTP head")
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        if name == "www-authenticate":
            challenges.append(value)
        fields.setdefault(name, value)
    return Answer(status=int(status[1]), fields=fields, challenges=tuple(challenges)), end.end()


class BodyReader:
    """Undoes chunked transfer coding (RFC 9112, 7.1); passes anything else through.

    Attributes:
        ended: The last chunk, or all of Content-Length, was read.
    """

    def __init__(self, answer: Answer) -> None:
        self._chunked = answer.fields.get("transfer-encoding", "").lower() == "chunked"
        length = answer.fields.get("content-length", "")
        self._left: int | None = int(length) if length.isdecimal() and len(length) < 19 and not self._chunked else None
        self._buffer = bytearray()
        self._in_chunk = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """Content in `data`, together with what was left over.

        Raises:
            BadStream: A chunk's head is broken.
        """
        if self.ended:
            return b""
        if not self._chunked:
            if self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
                self.ended = self._left == 0
            return data
        self._buffer += data
        content = bytearray()
        while self._buffer and not self.ended:
            if self._in_chunk:
                part = self._buffer[: self._in_chunk]
                content += part
                self._in_chunk -= len(part)
                del self._buffer[: len(part)]
            elif not self._next_chunk():
                break
        return bytes(content)

    def _next_chunk(self) -> bool:
        """Read a chunk's head; False if it is not all here."""
        head = re.match(rb"(?:\r?\n)?([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,200})?\r?\n", self._buffer)
        if head is None:
            if len(self._buffer) > 256 or re.match(rb"[^0-9a-fA-F\r\n]", self._buffer):
                raise BadStream("has a broken chunk")
            return False
        size = int(head[1], 16)
        if size > _MAX_CHUNK_BYTES:
            raise BadStream(f"has a chunk of {size} bytes")
        del self._buffer[: head.end()]
        self._in_chunk = size
        self.ended = size == 0
        return True


def authorization(answer: Answer, address: Address, *, cnonce: str | None = None) -> str | None:
    """The header that answers a challenge: Digest (RFC 7616: MD5 and SHA-256) before Basic (RFC 7617).

    Args:
        answer: With status 401.
        address: With user and password.
        cnonce: For tests; random if None.

    Returns:
        None if no challenge is one that is known here.
    """
    challenges = [part for line in answer.challenges for part in _split(line)]
    for scheme, text in challenges:
        if scheme == "digest":
            made = _digest(_parameters(text), address, cnonce or secrets.token_hex(8))
            if made is not None:
                return made
    if any(scheme == "basic" for scheme, _text in challenges):
        login = f"{address.user}:{address.password}".encode()
        return f"Basic {base64.b64encode(login).decode()}"
    return None


def _split(line: str) -> list[tuple[str, str]]:
    """Several challenges may share a line; each begins with its scheme."""
    starts = [(found.start(1), found.end(1), found[1].lower()) for found in _CHALLENGE.finditer(line)]
    ends = [start for start, _end, _scheme in starts[1:]] + [len(line)]
    return [(scheme, line[after:end]) for (_start, after, scheme), end in zip(starts, ends, strict=True)]


def _parameters(text: str) -> dict[str, str]:
    return {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(text)
    }


def _digest(given: dict[str, str], address: Address, cnonce: str) -> str | None:
    algorithm = given.get("algorithm", "MD5")
    name = _HASHES.get(algorithm.lower())
    choices = [choice.strip().lower() for choice in given.get("qop", "").split(",") if choice.strip()]
    if name is None or (choices and "auth" not in choices) or "nonce" not in given:
        return None

    def digest(text: str) -> str:
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce = given.get("realm", ""), given["nonce"]
    secret, deed = digest(f"{address.user}:{realm}:{address.password}"), digest(f"GET:{address.target}")
    middle = f"{nonce}:00000001:{cnonce}:auth" if choices else nonce
    fields = {"username": address.user, "realm": realm, "nonce": nonce, "uri": address.target}
    fields["response"] = digest(f"{secret}:{middle}:{deed}")
    if "opaque" in given:
        fields["opaque"] = given["opaque"]
    quoted = ", ".join(f'{key}="{_escaped(value)}"' for key, value in fields.items())
    rest = f", algorithm={algorithm}" + (f', qop=auth, nc=00000001, cnonce="{cnonce}"' if choices else "")
    return f"Digest {quoted}{rest}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
