"""Cameras behind TLS: certificates are verified, by authority and by name."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from producers.sources import open_source
from tests.cameras import rtsp, until_lost
from tests.cameras.mjpeg import MjpegCamera, number_of
from tests.cameras.tls import TlsProxy
from tests.cameras.web import WebServer
from tests.certificates import certificate
from tests.producers.material import SETTINGS, film, index_first


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


def refused(url: str) -> str:
    frames, problem, silent_s = until_lost(iter(open_source(url, SETTINGS)))
    assert frames == []
    assert silent_s < 5
    assert problem.reason in {"unauthorized", "unreachable"}
    assert "SSL_CERT_FILE" in str(problem)
    return str(problem)


def test_pictures_over_https(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        MjpegCamera(fps=100) as camera,
        TlsProxy(camera.port, certificate_file=files[0], key_file=files[1]) as proxy,
    ):
        refused(f"https://localhost:{proxy.port}/")
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        frames = list(islice(open_source(f"https://localhost:{proxy.port}/", SETTINGS), 2))
        assert [number_of(frame.pixels) for frame in frames] == [0, 1]
        refused(f"https://127.0.0.1:{proxy.port}/")  # the certificate is for another name
        _frames, problem, _silent_s = until_lost(iter(open_source(f"https://localhost:{camera.port}/", SETTINGS)))
    assert problem.reason in {"malformed", "timeout"}  # it does not speak TLS


def test_a_film_over_https(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movie = index_first(film(tmp_path / "a.mp4")).read_bytes()
    with (
        WebServer({"/a.mp4": ("video/mp4", movie)}) as server,
        TlsProxy(server.port, certificate_file=files[0], key_file=files[1]) as proxy,
    ):
        refused(f"https://localhost:{proxy.port}/a.mp4")
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        assert len(list(open_source(f"https://localhost:{proxy.port}/a.mp4", SETTINGS))) == 50
        refused(f"https://127.0.0.1:{proxy.port}/a.mp4")


def test_rtsp_over_tls(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        rtsp.RtspServer("--login", "anna:geheim") as server,
        TlsProxy(server.port, certificate_file=files[0], key_file=files[1]) as proxy,
    ):
        url = f"rtsps://anna:geheim@localhost:{proxy.port}/camera"
        assert "geheim" not in refused(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        frames = list(islice(open_source(url, SETTINGS), 5))
        numbers = [rtsp.number_of(frame.pixels) for frame in frames]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        refused(url.replace("localhost", "127.0.0.1"))
