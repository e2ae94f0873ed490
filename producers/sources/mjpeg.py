"""Cameras that send JPEG pictures over HTTP, one after the other, in one answer without an end ("MJPEG")."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers.sources.connection import Connection, DeadlinePassed, Stopped
from producers.sources.headers import BrokenPicture
from producers.sources.http1 import Answer, BodyReader, authorization, read_head, request
from producers.sources.jpeg import BadStream, decode_jpeg, most_bytes
from producers.sources.live import LiveSource, SameForm
from producers.sources.multipart import MultipartParser, boundary_of
from streamproc.errors import CameraLost
from streamproc.model import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.sources.address import Address

_STREAMS = ("video/", "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")
_MAX_BROKEN = 10  # pictures in a row


class MjpegSource(LiveSource):
    """One camera behind `http://` or `https://`.

    Redirects are not followed, and what answers with a film or a playlist is not handed to a reader that would: who
    gives the address says so. Basic and digest authentication are answered when the camera asks.

    Args:
        address: With its credentials.
    """

    def __init__(self, address: Address, *, max_pixels: int, open_timeout_s: float, read_timeout_s: float) -> None:
        super().__init__(
            address.masked, max_pixels=max_pixels, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s
        )
        self.address = address

    def __iter__(self) -> Iterator[Frame]:
        deadline_s = time.monotonic() + self.open_timeout_s
        opened: _Opened | None = None
        try:
            opened = self._open(deadline_s)
            yield from self._pictures(opened, deadline_s)
        except Stopped:
            return
        except BadStream as error:
            raise CameraLost("malformed", f"{self.name} {error}: check the URL") from None
        except DeadlinePassed:
            raise self._no_frame(answered=opened is not None, seconds=self.open_timeout_s) from None
        finally:
            if opened is not None:
                opened.connection.close()

    def describe(self) -> str:
        """One line for a person."""
        return f"camera {self.name}, pictures over HTTP, live"

    def _open(self, deadline_s: float) -> _Opened:
        """Ask, and ask once more with what the camera wants to know.

        Raises:
            CameraLost: It does not answer 200.
            BadStream, DeadlinePassed, Stopped: As they say.
        """
        opened = self._ask(None, deadline_s)
        if opened.answer.status == 401 and self.address.user:
            header = authorization(opened.answer, self.address)
            opened.connection.close()
            if header is None:
                raise CameraLost("unauthorized", f"{self.name} asks for a login in a way that is not known here")
            opened = self._ask(header, deadline_s)
        problem = _problem(opened.answer, self.name)
        if problem is not None:
            opened.connection.close()
            raise problem
        return opened

    def _ask(self, header: str | None, deadline_s: float) -> _Opened:
        connection = Connection(self.address, name=self.name, deadline_s=deadline_s, stopped=self._is_stopped)
        try:
            connection.send(request(self.address, header), deadline_s=deadline_s)
            data = bytearray()
            while (head := read_head(data)) is None and (received := connection.receive(deadline_s=deadline_s)):
                data += received
        except OSError:
            head = None
        except BaseException:
            connection.close()
            raise
        if head is None:
            connection.close()
            raise CameraLost("refused", f"{self.name} closed the connection before it answered")
        return _Opened(connection, head[0], bytes(data[head[1] :]))

    def _pictures(self, opened: _Opened, deadline_s: float) -> Iterator[Frame]:
        _require_multipart(opened.answer, self.address, self.name)
        parser = MultipartParser(boundary_of(opened.answer.content_type), most=most_bytes(self._max_pixels))
        body, form = BodyReader(opened.answer), SameForm(self.name)
        data, broken, first = opened.rest, 0, True
        while True:
            parser.feed(body.feed(data))
            while (picture := parser.next()) is not None:
                try:
                    pixels = decode_jpeg(picture, max_pixels=self._max_pixels)
                except BrokenPicture as error:
                    broken += 1
                    if broken >= _MAX_BROKEN:
                        raise BadStream(f"sent {broken} broken pictures in a row, the last one {error}") from None
                    continue
                form.require(pixels)
                yield Frame(pixels=pixels, captured_ns=time.time_ns())
                broken, first, deadline_s = 0, False, time.monotonic() + self.read_timeout_s
            if parser.ended or body.ended:
                raise CameraLost("ended", f"{self.name} ended its stream: it is switched off, or starts anew")
            try:
                data = opened.connection.receive(deadline_s=deadline_s)
            except DeadlinePassed:
                seconds = self.open_timeout_s if first else self.read_timeout_s
                raise self._no_frame(answered=True, seconds=seconds) from None
            if not data:
                raise CameraLost("ended", f"{self.name} broke off the connection: it is switched off, or starts anew")


class _Opened:
    def __init__(self, connection: Connection, answer: Answer, rest: bytes) -> None:
        self.connection, self.answer, self.rest = connection, answer, rest


def _problem(answer: Answer, name: str) -> CameraLost | None:
    if answer.status == 200:
        return None
    if answer.status in {401, 403}:
        return CameraLost("unauthorized", f"{name} answers {answer.status}: check user and password")
    if 300 <= answer.status < 400:
        return CameraLost("refused", f"{name} answers {answer.status} and points elsewhere: give the final address")
    return CameraLost("refused", f"{name} answers {answer.status}: check the path of the URL")


def _require_multipart(answer: Answer, address: Address, name: str) -> None:
    kind = answer.content_type
    if kind.lower().startswith("multipart/"):
        return
    shown = kind.partition(";")[0][:60] if kind.isascii() and kind.isprintable() else "something else"
    if kind.lower().startswith(_STREAMS):
        raise CameraLost(
            "malformed",
            f"{name} answers with a film or playlist ({shown!r}) and no stream of pictures: if you trust it to lead to"
            f" other addresses, write hls+{address.scheme}:// for {address.scheme}://",
        )
    raise BadStream(f"sends {shown or 'no content type'!r} and no stream of pictures")
