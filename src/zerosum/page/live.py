"""A page that shows runs while they are played, or afterwards: a server on this machine, for one user.

It listens on 127.0.0.1 alone, under an address that holds a random token; who asks by another name, from
another origin or without the token is refused. Nothing leaves the machine, and nothing is written.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from zerosum.page import film, samples, tour, watched
from zerosum.page.document import fill, static
from zerosum.page.view import difference
from zerosum.run import checkpoints, files
from zerosum.run.log import RunError
from zerosum.run.run import Run
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.page.steering import Game

__all__ = ["Hub", "application", "listen", "serve"]

CLIENTS = 16  # pages open at a time, at most
LARGEST = 2**16  # bytes of a message from a page, at most
PACE = 1.0  # seconds between two looks at the files of runs; each look costs them some of the machine
NICE = 10  # of who looks at them
PLAYED = 0.25  # the same of a game in the page's hands
STATIC = {
    "page.css": "text/css",
    "live.css": "text/css",
    "live.js": "text/javascript",
    "board.js": "text/javascript",
    "play.js": "text/javascript",
    "vendor/uplot/uPlot.min.css": "text/css",
    "vendor/uplot/uPlot.iife.min.js": "text/javascript",
}


class Hub:
    """The runs that are shown, and who looks on; `game` is in the page's hands, where there is one."""

    def __init__(self, paths: Sequence[Path], game: Game | None = None) -> None:
        self.runs = [watched.Watched(path) for path in paths]
        self.game = game
        self.pace = PLAYED if game else PACE
        self.clients = 0
        self._real: dict[int, bytes | None] = {}
        self._films: dict[int, tuple[list[int], film.Film]] = {}
        self._filming = threading.Lock()
        self._called = asyncio.Event()
        self._reader = ThreadPoolExecutor(1, "zerosum-reader")
        self._stood_back = sys.platform != "linux"  # elsewhere a thread has no priority of its own

    def show(self) -> None:
        """Show the runs of the game too, those that it has begun since among them."""
        shown = {run.path for run in self.runs}
        begun = self.game.paths if self.game else []
        self.runs += [watched.Watched(path) for path in begun if path not in shown]

    async def poll(self) -> None:
        """Read on, as long as somebody looks."""
        while True:
            if self.clients:
                with suppress(Exception):  # the next look may do better
                    await asyncio.get_running_loop().run_in_executor(self._reader, self._look)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._called.wait(), self.pace)
            self._called.clear()

    def call(self) -> None:
        """Somebody begins to look: read at once."""
        self.clients += 1
        self._called.set()

    def _look(self) -> None:
        self.read()
        if self.game is None and not self._stood_back:  # for the first look somebody waits
            os.nice(NICE)
            self._stood_back = True

    def read(self) -> None:
        """Look at the files of every run."""
        self.show()
        for run in self.runs:
            run.poll()

    def news(self, sent: dict[int, tuple[int, int, int]]) -> list[dict[str, Any]]:
        """What a page does not have yet; `sent` says what it has, and is brought up to date."""
        messages: list[dict[str, Any]] = []
        for i, run in enumerate(self.runs):
            if not run.standing:  # not looked at yet
                continue
            generation, count, standing = sent.get(i, (-1, 0, 0))
            count = count if generation == run.generation else 0
            fresh = run.records[count:]
            if generation != run.generation or fresh:
                table = watched.columns(fresh)
                anew = generation != run.generation
                messages.append(
                    {
                        "type": "records",
                        "run": i,
                        "anew": anew,
                        "columns": table,
                        "names": watched.names(table),
                    }
                )
            if standing != run.stood:
                messages.append({"type": "standing", "run": i, **run.standing})
            sent[i] = (run.generation, count + len(fresh), run.stood)
        return messages

    def picture(self, run: int, step: int) -> bytes | None:
        """A picture of samples, as it lies in the run; None where there is none, or something else."""
        try:
            log = self.runs[run].log
            data = files.read(log.pictures()[step], within=log.path)
        except (OSError, LookupError, RunError):
            return None
        return data if data.startswith(b"\x89PNG\r\n") else None

    def real(self, run: int) -> bytes | None:
        """Real examples of the run's data, made once."""
        if run not in self._real:
            self._real[run] = _real(self.runs[run].path)
        return self._real[run]

    def film(self, run: int) -> film.Film:
        """What the game of a run looked like at those steps that it keeps, made once."""
        path = self.runs[run].path
        kept = checkpoints.steps(path / "checkpoints")
        with self._filming:
            if self._films.get(run, ([], []))[0] != kept:
                self._films[run] = kept, film.differences(film.of_checkpoints(path))
            return self._films[run][1]


def titled(runs: Sequence[watched.Watched]) -> str:
    """What a page of these runs is called: by their names, or, of many, by the directory that they lie in."""
    folders = {run.path.resolve().parent for run in runs}
    if len(runs) > 2 and len(folders) == 1:
        return f"{printable(folders.pop().name)}: {len(runs)} runs"
    return ", ".join(run.name for run in runs)


def _real(path: Path) -> bytes | None:
    from zerosum import recipe as recipes

    try:
        run = Run.open(path)
        image = samples.real(run, recipes.build_source(run.recipe))
    except Exception:  # the data lie elsewhere, or a source of the user's own raises anything
        return None
    return image.data if image else None


def application(hub: Hub, token: str, port: int) -> Starlette:
    """The server's application; all of it lies below the token."""

    async def page(request: Request) -> Response:
        hub.show()
        game, names = hub.game, [run.name for run in hub.runs]
        shown = [game is None or run.path in game.compared for run in hub.runs]
        stop = request.query_params.get("stop", game.name) if game else None
        stop = stop if stop in tour.STOPS else None
        title = tour.STOPS[stop].title if stop else titled(list(compress(hub.runs, shown)))
        links = {name: f"?stop={name}" for name in tour.STOPS} if game else {}
        about: dict[str, Any] = {"stops": tour.STOPS, "stop": stop, "links": links, "title": title}
        return HTMLResponse(
            fill("live.html", names=names, shown=shown, game=game, board=True, recorded=None, **about)
        )

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            return PlainTextResponse("there is no such file", 404)
        return Response(static(name), media_type=STATIC[name])

    async def picture(request: Request) -> Response:
        run, step = request.path_params["run"], request.path_params["step"]
        data = await asyncio.to_thread(hub.picture, run, step)
        return _png(data)

    async def real(request: Request) -> Response:
        run = request.path_params["run"]
        data = await asyncio.to_thread(hub.real, run) if run < len(hub.runs) else None
        return _png(data) if data else Response(status_code=204)  # vectors, or data that lie elsewhere

    async def moments(request: Request) -> Response:
        run = request.path_params["run"]
        if run >= len(hub.runs):
            return PlainTextResponse("there is no such run", 404)
        return JSONResponse(await asyncio.to_thread(hub.film, run))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if hub.game:
            hub.game.player.start()
        task = asyncio.create_task(hub.poll())
        yield
        task.cancel()
        if hub.game:
            await asyncio.to_thread(hub.game.player.close)

    inside = [
        Route("/", page),
        Route("/static/{name:path}", asset),
        Route("/picture/{run:int}/{step:int}.png", picture),
        Route("/real/{run:int}.png", real),
        Route("/film/{run:int}.json", moments),
        WebSocketRoute("/socket", lambda connection: _converse(hub, connection)),
    ]
    app = Starlette(routes=[Mount(f"/{token}", routes=inside)], lifespan=lifespan)
    app.add_middleware(Guard, token=token, port=port)
    return app


def _png(data: bytes | None) -> Response:
    return (
        Response(data, media_type="image/png") if data else PlainTextResponse("there is no such picture", 404)
    )


async def _converse(hub: Hub, connection: WebSocket) -> None:
    """Send a page what is new, at its own pace: who is slow skips what lies between."""
    if hub.clients >= CLIENTS:
        await connection.close(1013)
        return
    await connection.accept()
    hub.call()
    sent: dict[int, tuple[int, int, int]] = {}
    hearing = asyncio.create_task(_hear(hub, connection))
    looked, count = 0.0, (None, 0)
    frame: dict[str, Any] = {}
    try:
        while not hearing.done():
            now = asyncio.get_running_loop().time()
            if now - looked >= hub.pace or len(sent) < len(hub.runs):
                looked = now
                for message in hub.news(sent):
                    await connection.send_text(json.dumps(message))
            if hub.game and (hub.game.player, hub.game.player.count) != count:
                count = hub.game.player, hub.game.player.count
                before, frame = frame, {"runs": len(hub.runs), **hub.game.player.frame}
                await connection.send_text(json.dumps({"type": "frame", **difference(before, frame)}))
            soon = hub.game or len(sent) < len(hub.runs)
            await asyncio.wait([hearing], timeout=1 / 30 if soon else hub.pace)
    except (WebSocketDisconnect, RuntimeError):  # it has gone
        pass
    finally:
        hearing.cancel()
        hub.clients -= 1


async def _hear(hub: Hub, connection: WebSocket) -> None:
    """What the page says, until it is closed: orders to the game, where there is one."""
    try:
        while True:
            text = await connection.receive_text()
            if hub.game:
                await asyncio.to_thread(hub.game.obey, text)
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return


class Guard:
    """Lets in who knows the token, asks by this machine's name, and comes from no other page."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            f"connect-src 'self' {' '.join(f'ws://{host}' for host in sorted(self.hosts))}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._welcome(scope):
            await self.app(scope, receive, self._sealed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse("refused", 403)(scope, receive, send)

    def _welcome(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        first = scope["path"].split("/")[1:2]
        known = bool(first) and secrets.compare_digest(first[0].encode(), self.token.encode())
        here = (
            origin == f"http://{host}" if scope["type"] == "websocket" else origin in (None, f"http://{host}")
        )
        reads = scope.get("method", "GET") in ("GET", "HEAD")
        return known and host in self.hosts and here and reads

    def _sealed(self, send: Send) -> Callable[[Message], Awaitable[None]]:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = self.policy
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cache-control"] = "no-store"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        return sealed


def listen(port: int = 0) -> socket.socket:
    """A socket on this machine's own address; port 0 is any that is free. Raises RunError if it is taken."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or error
        raise RunError(f"port {port}: {why}; give --port another, or leave it out") from error
    return listener


def serve(hub: Hub, listener: socket.socket, token: str) -> None:
    """Serve until it is interrupted."""
    import uvicorn

    app = application(hub, token, listener.getsockname()[1])
    uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            ws_max_size=LARGEST,
            ws_per_message_deflate=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=1,
        )
    ).run([listener])
