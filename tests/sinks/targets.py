"""Real targets that tests start: PostgreSQL, Redis, and a webhook that answers as it is told."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamproc.broker.ports import choose_ports

HOST = "127.0.0.1"
PASSWORD = "canary-4471"
_READY_S = 30.0


def binary(name: str) -> str:
    """Where a server's program stands; the test is skipped if it is not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install postgresql redis-server")
    return found


@dataclass
class Server:
    """A server process of the test's own; its folder is gone with it."""

    port: int
    start: Callable[[], subprocess.Popen[bytes]]
    process: subprocess.Popen[bytes] | None = None

    def up(self, ready: Callable[[], bool]) -> None:
        self.process = self.start()
        deadline_s = time.monotonic() + _READY_S
        while not ready():
            assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline_s, "the server is not ready"
            time.sleep(0.05)

    def down(self, number: int = signal.SIGINT) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(_READY_S)
            self.process = None


@contextmanager
def postgresql() -> Iterator[Postgres]:
    """PostgreSQL on loopback, with a password for its user `streamproc`."""
    initdb, postgres = binary("initdb"), binary("postgres")
    as_user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="streamproc-pg-") as name:
        folder = Path(name)
        if as_user:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        asked = ["-D", str(folder / "data"), "-U", "streamproc", "--pwfile", str(password), "-A", "scram-sha-256", "-N"]
        subprocess.run([*as_user, initdb, *asked], check=True, capture_output=True, cwd=folder)
        port = choose_ports(0, 1)[0]
        options = ["-p", str(port), "-h", HOST, "-k", str(folder), "-F"]
        database = Postgres(port, as_user, [postgres, "-D", str(folder / "data"), *options], folder)
        database.up()
        try:
            yield database
        finally:
            database.down()


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as Debian's user `postgres`."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


class Postgres:
    """A running PostgreSQL."""

    def __init__(self, port: int, as_user: list[str], command: list[str], folder: Path) -> None:
        def start() -> subprocess.Popen[bytes]:
            with (folder / "log").open("ab") as log:
                return subprocess.Popen([*as_user, *command], stdout=log, stderr=log, cwd=folder)

        self._server = Server(port, start)

    def up(self) -> None:
        self._server.up(self._ready)

    def down(self, number: int = signal.SIGINT) -> None:
        self._server.down(number)

    def url(self, *, password: bool = True) -> str:
        user = f"streamproc:{PASSWORD}" if password else "streamproc"
        return f"postgresql://{user}@{HOST}:{self._server.port}/postgres"

    def fresh(self) -> str:
        """The URL of a new database."""
        name = f"t{secrets.token_hex(4)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url().replace("/postgres", f"/{name}")

    def _ready(self) -> bool:
        import psycopg

        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> Any:
        import psycopg

        return psycopg.connect(self.url(), autocommit=True, connect_timeout=2)


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Redis on loopback, every write synced to its log."""
    program = binary("redis-server")
    with tempfile.TemporaryDirectory(prefix="streamproc-redis-") as name:
        server = Redis(choose_ports(0, 1)[0], program, Path(name))
        server.up()
        try:
            yield server
        finally:
            server.down()


class Redis:
    """A running Redis."""

    def __init__(self, port: int, program: str, folder: Path) -> None:
        self.port, self.folder = port, folder
        options = ["--port", str(port), "--bind", HOST, "--dir", str(folder), "--appendonly", "yes"]
        options += ["--appendfsync", "always", "--save", "", "--requirepass", PASSWORD]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        self._server = Server(port, start)

    def up(self) -> None:
        self._server.up(self._ready)

    def down(self, number: int = signal.SIGTERM) -> None:
        self._server.down(number)

    def url(self, stream: str) -> str:
        return f"redis://:{PASSWORD}@{HOST}:{self.port}/{stream}"

    def client(self) -> Any:
        import redis

        return redis.Redis(host=HOST, port=self.port, password=PASSWORD, socket_timeout=2)

    def _ready(self) -> bool:
        import redis

        client = self.client()
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()


@dataclass
class Asked:
    """A request that a webhook got, and what it answered; 0: it hung up without an answer."""

    headers: dict[str, str]
    body: bytes
    status: int


@dataclass
class Webhook:
    """A server whose answers are scripted: each request takes the next of `script`, then 204 for ever."""

    port: int = 0
    script: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    delay_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/in"

    def taken(self) -> list[str]:
        """Ids of events that were answered with 2xx, in order."""
        with self.lock:
            return [one.headers["idempotency-key"] for one in self.asked if 200 <= one.status < 300]


@contextmanager
def webhook(*script: tuple[int, dict[str, str]]) -> Iterator[Webhook]:
    """Serve on loopback."""
    state = Webhook(script=list(script))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            time.sleep(state.delay_s)
            with state.lock:
                status, headers = state.script.pop(0) if state.script else (204, {})
                told = {name.lower(): value for name, value in self.headers.items()}
                state.asked.append(Asked(told, body, status))
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing is printed."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed is no error."""

    server = Quiet((HOST, 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
