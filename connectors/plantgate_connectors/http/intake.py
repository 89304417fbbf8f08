"""One request, from its head to its answer, which is the acknowledgement."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from plantgate.sdk import Batch, Context
from plantgate.sdk.porter import is_loopback, names_this_machine, peer_of
from plantgate_connectors.calls import shown
from plantgate_connectors.http.access import Access, Caller
from plantgate_connectors.http.body import read_body
from plantgate_connectors.http.idempotency import Remembered, read_key
from plantgate_connectors.http.knocks import Knocks
from plantgate_connectors.http.paths import PathPattern, read_path
from plantgate_connectors.http.problem import Problem, not_now
from plantgate_connectors.http.readings import Read, reader
from plantgate_connectors.http.receiver import OVERHEAD_BYTES, HttpReceiver, Room
from plantgate_connectors.http.settings import Path, Receive
from plantgate_connectors.http.tls import certificate_name
from plantgate_connectors.payloads.documents import Unreadable

_SAID_MOST: Final = 100
"""Refusals told in the log, one for each address and kind; beyond, only the counters go on."""
_SINGLE: Final = (hdrs.HOST, hdrs.AUTHORIZATION, hdrs.CONTENT_ENCODING, "Idempotency-Key")
"""Headers whose repetition two readers would take differently."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the settings, ready to be used."""

    path: Path
    pattern: PathPattern
    read: Read


def routes(paths: Sequence[Path]) -> tuple[Route, ...]:
    """In the order they were written, which is the order they are tried in."""
    return tuple(Route(path, PathPattern(path.path), reader(path)) for path in paths)


class Guard:
    """What outlives a session: used signatures, keys and their answers, who guesses, what was said of whom."""

    def __init__(self, settings: Receive, context: Context) -> None:
        self.access = Access(settings, context)
        self.remembered = Remembered(settings.keys_max)
        self.knocks = Knocks(settings.failures_max)
        self.room = Room(settings.buffer_bytes_max)
        self._context = context
        self._said: set[tuple[str, object]] = set()

    def failed(self, error: BaseException | None) -> None:
        """A request met a bug of ours; the others go on."""
        self._context.standing.count("request_errors")
        self._context.log.error("a request ended in an unexpected error, it was answered 500", exc_info=error)

    def refused(self, peer: str, kind: object, reason: str, path: str = "") -> None:
        """Count a refusal, and log the first of its kind from this address."""
        self._context.standing.count("refused")
        if (peer, kind) not in self._said and len(self._said) < _SAID_MOST:
            self._said.add((peer, kind))
            self._context.log.warning(
                "a request was refused, more of the kind are only counted", peer=peer, path=shown(path), reason=reason
            )


class Intake:
    """Answers requests; everything that ends one early is a `Problem`."""

    def __init__(self, settings: Receive, context: Context, guard: Guard, receiver: HttpReceiver) -> None:
        self._settings, self._context, self._guard, self._receiver = settings, context, guard, receiver
        self._routes = routes(settings.paths)
        self._local = is_loopback(settings.host)
        self._live: set[str] = set()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """204 when the readings are safe."""
        peer = peer_of(request.transport)
        try:
            await self._take(request, peer)
        except Problem as problem:
            self._guard.refused(peer, problem.status, f"{problem.status}: {problem.detail}", request.raw_path)
            return problem.answer()
        return web.Response(status=204)

    async def _take(self, request: web.BaseRequest, peer: str) -> None:
        self._check_head(request)
        caller = self._caller(request, peer)
        target = request.raw_path
        route, names = self._route(target)
        key = read_key(request.headers.get("Idempotency-Key"))
        room = self._guard.room
        body = await read_body(
            request, bytes_max=self._settings.body_bytes_max, seconds=self._settings.body_seconds, room=room
        )
        size = len(body) + OVERHEAD_BYTES
        try:
            self._check_signature(caller, request, peer, body)
            safe = None if key is None else self._guard.remembered.known(caller.name, key, target, body)
            if safe is None:
                batch = self._read(route, names, body)
                caller.refuse_foreign(batch)
                safe = self._receiver.offer(batch, size)
                size = 0  # the receiver's now
                if key is not None:
                    self._guard.remembered.remember(caller.name, key, target, body, safe)
        finally:
            room.taken -= size
        await self._until_safe(safe)
        self._live.add(route.path.path)
        self._context.standing.live = len(self._live)

    def _check_head(self, request: web.BaseRequest) -> None:
        if request.method != hdrs.METH_POST:
            raise Problem(405, "readings are posted here", headers={"Allow": "POST"}, close=True)
        for name in _SINGLE:
            if len(request.headers.getall(name, ())) > 1:
                raise Problem(400, f"the header {name} stands twice", close=True)
        host = request.headers.get(hdrs.HOST)
        if host is None and request.version >= (1, 1):
            raise Problem(400, "the header Host is missing", close=True)
        if self._local and host is not None and not names_this_machine(host):
            raise Problem(421, "this receiver is for this machine only, and Host names another", close=True)
        if hdrs.ORIGIN in request.headers:
            raise Problem(403, "web pages may not post here", close=True)

    def _caller(self, request: web.BaseRequest, peer: str) -> Caller:
        now = asyncio.get_running_loop().time()
        if wait := self._guard.knocks.wait_seconds(peer, now):
            raise Problem(
                429,
                "too many wrong credentials from this address",
                headers={"Retry-After": str(max(1, round(wait)))},
                close=True,
            )
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        try:
            return self._guard.access.caller(authorization, certificate_name(request.transport), now)
        except Problem:
            if authorization is not None:  # asking what is wanted is no guess
                self._guard.knocks.failed(peer, now)
            raise

    def _check_signature(self, caller: Caller, request: web.BaseRequest, peer: str, body: bytes) -> None:
        try:
            self._guard.access.check_body(caller, method=request.method, target=request.raw_path, body=body)
        except Problem as problem:
            if problem.status == 401:
                self._guard.knocks.failed(peer, asyncio.get_running_loop().time())
            raise

    def _route(self, target: str) -> tuple[Route, Mapping[str, str]]:
        segments = read_path(target)
        if segments is None:
            raise Problem(400, "the path breaks the rules: plain segments in UTF-8, none of them . or ..", close=True)
        for route in self._routes:
            names = route.pattern.match(segments)
            if names is not None:
                return route, names
        raise Problem(404, "nothing is taken at this path", close=True)

    def _read(self, route: Route, names: Mapping[str, str], body: bytes) -> Batch:
        try:
            return route.read(body, names)
        except Unreadable as error:
            self._context.standing.count("undecodable")
            raise Problem(400, f"the body is not {route.path.payload.value}: {error}") from None

    async def _until_safe(self, safe: "asyncio.Future[None]") -> None:
        seconds = self._settings.answer_seconds
        await asyncio.wait((safe,), timeout=seconds)
        if not safe.done():
            raise not_now(f"not safe on disk after {seconds:g} s; send it again", 1.0)
        if safe.cancelled():
            raise not_now("the receiver stops before this is safe; send it again", 2.0, close=True)
