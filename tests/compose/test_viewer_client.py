"""What is asked of the viewer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest

from compose.plan import HOST
from compose.viewer_client import Viewer, not_ready

RUN = "live-20261122T103507Z-ab12"


class Page(BaseHTTPRequestHandler):
    """A viewer with a token, whose camera has an edges picture; ready when asked for the third time."""

    asked = 0

    def do_GET(self) -> None:
        Page.asked += 1
        about = parse_qs(urlparse(self.path).query)
        if self.path == "/readyz":
            self._answer(200 if Page.asked > 2 else 503)
        elif self.headers["Authorization"] != "Bearer hush":
            self._answer(401)
        elif self.path == "/api/state":
            self._answer(200, {"cameras": [{"name": "gate"}]})
        elif self.path.startswith("/api/events?"):
            assert (about["camera"], about["type"]) == (["gate"], ["camera"])
            self._answer(200, {"events": [{"what": "offline"}]})
        elif self.path.startswith("/api/at?") and about["camera"] == ["gate"] and about["kind"] == ["preview"]:
            self._answer(200, {}, frame=json.dumps({"run": RUN}))
        else:
            self._answer(404, {"told": "no such picture"})

    def _answer(self, status: int, content: object = None, *, frame: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Frame", frame)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Page.asked = 0
    with ThreadingHTTPServer((HOST, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_viewer_is_asked_with_its_token_and_only_pictures_of_this_run_count(url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hush\n")
    viewer = Viewer(url, token)
    assert viewer.cameras() == [{"name": "gate"}]
    assert viewer.happenings("gate") == [{"what": "offline"}]
    assert viewer.shows("gate", 0)
    assert not viewer.shows("gate", 4e12)  # that picture is of a run before
    assert not viewer.shows("yard", 0)
    assert Viewer(url).cameras() == []


def test_it_is_waited_until_all_are_ready_or_the_time_is_over_or_it_is_stopped(url: str) -> None:
    looks: list[int] = []
    stop = threading.Event()
    asked = {"worker": f"{url}/readyz"}
    assert not_ready(asked, timeout_s=10, stop=stop, look=lambda: looks.append(1)) == []
    assert len(looks) == 3
    assert not_ready({"worker": f"{url}/none"}, timeout_s=0, stop=stop, look=lambda: None) == ["worker"]
    stop.set()
    assert not_ready({"worker": f"{url}/none"}, timeout_s=0, stop=stop, look=lambda: None) == []
