"""The viewer's web server: routes, rights, headers. What it tells comes from `state` and `past`."""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from aiohttp import web

from streamproc.errors import BrokerError, StreamprocError
from streamproc.view import parameters
from streamproc.view.access import HEADERS, Access, is_open
from streamproc.view.bounded import Busy, Desk, Gone, NotThere, TooLong, one_line
from streamproc.view.cameras import Series
from streamproc.view.live import MAX_BROWSERS, Connection, live
from streamproc.view.past import Past
from streamproc.view.state import State

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
STATUS: Final[tuple[tuple[type[StreamprocError], int], ...]] = (
    (parameters.Wrong, 400),
    (NotThere, 404),
    (Gone, 410),
    (Busy, 503),
    (TooLong, 503),
    (BrokerError, 503),
)
_MAX_BODY: Final = 16 * 1024
_LENIENT: Final = "handling=lenient"  # RFC 7240: who prefers it gets what is wrong as a value, as the page does
_GOODBYE_S: Final = 0.4
_json = msgspec.json.Encoder()


def static_files() -> dict[str, Path]:
    """The page's files by name."""
    folder = Path(str(resources.files("streamproc.view"))) / "static"
    return {file.name: file for file in folder.iterdir() if file.suffix in STATIC_TYPES} if folder.is_dir() else {}


def answer(value: Any, *, status: int = 200) -> web.Response:
    """JSON."""
    return web.Response(body=_json.encode(value), status=status, content_type="application/json")


def refusal(told: str, *, status: int) -> web.Response:
    """One line on what is wrong, as JSON."""
    return answer({"told": told}, status=status)


def _gently(request: web.Request, told: str, *, status: int) -> web.Response:
    """A refusal; with 200 and its status in `X-Status` for who prefers it, since browsers call all else an error."""
    if _LENIENT not in request.headers.get("Prefer", ""):
        return refusal(told, status=status)
    response = refusal(told, status=200)
    response.headers.update({"X-Status": str(status), "Preference-Applied": _LENIENT})
    return response


class Viewer:
    """Answers requests.

    Args:
        state: What is known now.
        past: The log.
        desk: Runs what blocks.
        access: Who may ask.
    """

    def __init__(self, state: State, past: Past, desk: Desk, access: Access) -> None:
        self._state = state
        self._past = past
        self._desk = desk
        self._access = access
        self._files = static_files()
        self._connections: set[Connection] = set()

    def application(self) -> web.Application:
        """The application, without a port."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY)
        get: dict[str, Handler] = {
            "/": self._page,
            "/static/{name}": self._static,
            "/favicon.ico": self._no_icon,
            "/login": self._login_page,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/api/state": self._state_now,
            "/api/live": self._live,
            "/api/events": self._events,
            "/api/events/{id}": self._event,
            "/api/events/{id}/picture": self._event_picture,
            "/api/at": self._at,
            "/api/frame": self._frame,
            "/api/span": self._span,
            "/api/series": self._series,
        }
        for path, handler in get.items():
            app.router.add_get(path, handler)
        app.router.add_post("/login", self._login)
        app.on_shutdown.append(self._close_all)
        return app

    async def _close_all(self, _app: web.Application) -> None:
        goodbyes = [connection.say_goodbye(within_s=_GOODBYE_S) for connection in self._connections]
        await asyncio.gather(*goodbyes, return_exceptions=True)

    # --- rights and errors ---------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._checked(request, handler)
        if not response.prepared:
            response.headers.update(HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        access = self._access
        if not access.host_is_right(request.host):
            return refusal("this viewer serves this machine alone: use http://127.0.0.1 or localhost", status=403)
        allowed = access.lets_in(request.headers.get("Authorization"), request.cookies.get(access.cookie))
        if not is_open(request.path) and not allowed:
            return self._unknown(request)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return refusal(f"{request.method} {request.path}: {error.reason}", status=error.status)
        except StreamprocError as error:
            status = next((status for kind, status in STATUS if isinstance(error, kind)), 404)
            return _gently(request, one_line(error), status=status)
        except Exception:
            log.exception("request %s failed", request.path)
            return refusal("the viewer failed at this request; its log says more", status=500)

    def _unknown(self, request: web.Request) -> web.Response:
        if request.path != "/" or "login.html" not in self._files:
            return refusal("this viewer needs its token: log in, or send it as Authorization: Bearer", status=401)
        return self._login_form("", status=401)

    def _login_form(self, told: str, *, status: int) -> web.Response:
        text = self._files["login.html"].read_text(encoding="utf-8")
        return web.Response(
            text=text.replace("<!-- told -->", html.escape(told), 1), status=status, content_type="text/html"
        )

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        allowed = self._access.lets_in(None, request.cookies.get(self._access.cookie))
        if allowed or "login.html" not in self._files:
            return web.Response(status=303, headers={"Location": "./"})
        return self._login_form("", status=200)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        access = self._access
        if not access.origin_is_right(request.headers.get("Origin"), request.host):
            return refusal("log in from the viewer's own page", status=403)
        try:
            given = (await request.post()).get("token", "")
        except ValueError:
            return refusal("the form cannot be read", status=400)
        if not isinstance(given, str) or not access.is_token(given.strip()):
            return self._login_form("That token is not right.", status=401)
        response = web.Response(status=303, headers={"Location": "./"})
        # behind a proxy that speaks TLS the connection here is plain; a false header only makes the cookie stricter
        secure = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(access.cookie, access.session, httponly=True, samesite="Strict", secure=secure, path="/")
        return response

    # --- the page and what probes ask ----------------------------------------------------------------------------

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return self._file("index.html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise NotThere(f"there is no file {name[:100]!r}")
        kind = f"{STATIC_TYPES[file.suffix]}; charset=utf-8"
        return web.FileResponse(file, headers={"Content-Type": kind, "Cache-Control": "no-cache", **HEADERS})

    async def _no_icon(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=204)

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        broker = self._state.broker()
        allowed = self._access.lets_in(request.headers.get("Authorization"), request.cookies.get(self._access.cookie))
        told = (
            "ready" if broker["ok"] else broker["told"] if allowed else "not ready: ask with the token for the reason"
        )
        return web.Response(text=told, status=200 if broker["ok"] else 503)

    # --- what is known now ---------------------------------------------------------------------------------------

    async def _state_now(self, _request: web.Request) -> web.StreamResponse:
        return answer(self._state.told())

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if not self._access.origin_is_right(request.headers.get("Origin"), request.host):
            return refusal("the live connection serves the viewer's own page alone", status=403)
        if len(self._connections) >= MAX_BROWSERS:
            return refusal(f"{MAX_BROWSERS} browsers watch already: close one", status=503)
        return await live(request, self._state, self._connections)

    async def _series(self, request: web.Request) -> web.StreamResponse:
        name = parameters.camera(request.query)
        minutes = parameters.whole(request.query, "minutes", least=1, most=60, default=15)
        camera = self._state.cameras.get(name)
        series = camera.series if camera is not None else Series()
        return answer(series.told(self._state.now_ms(), minutes=minutes))

    # --- the log -------------------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the log, if there is one to be asked.

        Raises:
            BrokerError: The broker is gone.
        """
        broker = self._state.broker()
        if not broker["ok"]:
            raise BrokerError(broker["told"])
        return await self._desk.ask(question)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        query = parameters.query(request.query)
        events, more = await self._ask(lambda: self._past.events(query))
        return answer({"events": events, "more": more})

    async def _event(self, request: web.Request) -> web.StreamResponse:
        identity, camera, near_ms = parameters.event(request)
        return answer(await self._ask(lambda: self._past.event(identity, camera=camera, near_ms=near_ms)))

    async def _event_picture(self, request: web.Request) -> web.StreamResponse:
        identity, camera, near_ms = parameters.event(request)
        edges = parameters.whole(request.query, "edges", least=0, most=1, default=1) == 1
        picture, line = await self._ask(
            lambda: self._past.picture(identity, camera=camera, near_ms=near_ms, edges=edges)
        )
        return web.Response(body=picture, content_type="image/png", headers={"X-Edges": _ascii(line)})

    async def _at(self, request: web.Request) -> web.StreamResponse:
        camera, at_ms = parameters.camera(request.query), parameters.moment(request.query, "ms")
        kind = parameters.choice(request.query, "kind", ("preview", "edges"), default="preview")
        found = await self._ask(lambda: self._past.picture_at(camera, at_ms, kind))
        return web.Response(
            body=found.pixels, content_type=found.content_type, headers={"X-Frame": _ascii(found.about.decode())}
        )

    async def _frame(self, request: web.Request) -> web.StreamResponse:
        camera, at_ms = parameters.camera(request.query), parameters.moment(request.query, "ms")
        picture, about = await self._ask(lambda: self._past.frame_at(camera, at_ms))
        return web.Response(body=picture, content_type="image/jpeg", headers={"X-Frame": _ascii(about.decode())})

    async def _span(self, request: web.Request) -> web.StreamResponse:
        name = parameters.camera(request.query)
        span = await self._ask(lambda: self._past.span(name))
        from_ms, to_ms = span or (None, None)
        return answer({"from_ms": from_ms, "to_ms": to_ms})


def _ascii(text: str) -> str:
    """A header's value: printable ASCII alone."""
    return "".join(one if " " <= one <= "~" else "?" for one in text)


async def serve(app: web.Application, *, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Begin to listen.

    Returns:
        What is to be cleaned up at the end, and the port.

    Raises:
        OSError: The port is taken, or there is no such address.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5, keepalive_timeout=30)
    await runner.setup()
    try:
        # the name stands for two addresses, and a free port of both there is none
        site = web.TCPSite(runner, "127.0.0.1" if host == "localhost" else host, port)
        await site.start()
    except BaseException:
        with contextlib.suppress(Exception):
            await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])
