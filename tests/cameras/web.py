"""A web server for films and playlists, in the test's own process."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class WebServer:
    """Serves `files` by path, with ranges; a value that is None is accepted and never answered.

    Attributes:
        files: Path to content type and content; may be changed while it runs.
        asked: Paths in the order they were asked for.
        login: USER:PASSWORD that is needed, "" for none.
    """

    def __init__(self, files: dict[str, tuple[str, bytes] | None], *, login: str = "") -> None:
        self.files = dict(files)
        self.asked: list[str] = []
        self.login = login
        self._ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_arguments: object) -> None:
                """Nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, path: str, *, login: str = "") -> str:
        """Of a file."""
        return f"http://{login}127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        needed = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and handler.headers.get("Authorization") != needed:
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="films"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        found = self.files.get(handler.path, ("", b""))
        if found is None:
            self._ended.wait(30)
            return
        kind, content = found
        if kind.startswith("redirect "):
            handler.send_response(302)
            handler.send_header("Location", kind.removeprefix("redirect "))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self._send(handler, kind, content)

    def _send(self, handler: BaseHTTPRequestHandler, kind: str, content: bytes) -> None:
        first = 0
        asked = handler.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        if asked.isdecimal() and kind:
            first = min(int(asked), max(0, len(content) - 1))
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200 if kind else 404)
        handler.send_header("Content-Type", kind or "text/plain")
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(len(content) - first))
        handler.end_headers()
        handler.wfile.write(content[first:])
