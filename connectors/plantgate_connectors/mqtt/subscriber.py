"""Brings the subscriptions a broker holds for us into line with ours, and says when messages were missed."""

import asyncio
from typing import Final

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.mqtt import reasons
from plantgate_connectors.mqtt.memory import Memory
from plantgate_connectors.mqtt.publisher import REFUSED
from plantgate_connectors.mqtt.routes import Route, Routes
from plantgate_connectors.mqtt.session import Session
from plantgate_connectors.mqtt.settings import MqttSettings, Retained, Version

_AT_ONCE: Final = 200
"""Filters in one SUBSCRIBE."""
_AGAIN_SECONDS: Final = 60.0
"""How often a refused subscription is asked for again."""


class Subscriber:
    """One session's subscriptions."""

    def __init__(
        self, settings: MqttSettings, context: Context, routes: Routes, memory: Memory, complained: set[str]
    ) -> None:
        """`complained` outlives the session: filters whose refusal is in the log already."""
        self._five = settings.version is Version.V5
        self._username = settings.username
        self._context = context
        self._routes = {route.pattern.filter: route for route in routes.all}
        self._memory = memory
        self._complained = complained
        self._granted: dict[str, int] = {}

    async def begin(self, session: Session) -> None:
        """Unsubscribe what is no longer wanted, subscribe the rest, note a gap where the broker cannot have kept all.

        A gap is written down before anything else, so that a crash in between does not lose it.
        """
        memory, wanted = self._memory, self._routes
        known = memory.filters or {}
        if memory.filters is not None:
            if not session.granted.session_present:
                memory.missed("the broker kept no session", self._context.clock.now())
                known = {}
            elif not all(known.values()):
                memory.missed("away, subscribed with QoS 0", self._context.clock.now())
        gone = [name for name in known if name not in wanted]
        for start in range(0, len(gone), _AT_ONCE):
            await session.unsubscribe(gone[start : start + _AT_ONCE])
        fresh = [route for name, route in wanted.items() if known.get(name) != route.subscribe.qos]
        held = [route for name, route in wanted.items() if known.get(name) == route.subscribe.qos]
        await self._ask(session, fresh, first=True)
        if self._five:
            # Held by the session already; asked for all the same, in case it is not.
            await self._ask(session, held, first=False)
        else:
            # A 3.1.1 broker would send everything it retains once more.
            self._granted.update({route.pattern.filter: route.subscribe.qos for route in held})
        self._settle()
        if wanted and not self._granted:
            raise Unavailable(
                f"{session.who} refused every subscription, {next(iter(wanted))!r} the first", retry_after_seconds=30.0
            )

    async def reconcile(self, session: Session) -> None:
        """Ask again, for as long as the session lasts, for what the broker refused."""
        while True:
            await asyncio.sleep(_AGAIN_SECONDS)
            missing = [route for name, route in self._routes.items() if name not in self._granted]
            if missing and not session.paused:
                await self._ask(session, missing, first=True)
                self._settle()

    def _settle(self) -> None:
        self._memory.subscribed(dict(self._granted))
        standing = self._context.standing
        standing.desired, standing.monitored = len(self._routes), len(self._granted)

    async def _ask(self, session: Session, routes: list[Route], *, first: bool) -> None:
        for retained in (Retained.USE, Retained.IGNORE):
            group = [route for route in routes if route.subscribe.retained is retained]
            for start in range(0, len(group), _AT_ONCE):
                part = group[start : start + _AT_ONCE]
                filters = [(route.pattern.filter, route.subscribe.qos) for route in part]
                codes = await session.subscribe(filters, retained=first and retained is Retained.USE)
                if len(codes) != len(part):
                    session.end("it answered SUBSCRIBE with another number of reason codes", abort=True)
                    return
                for (name, qos), code in zip(filters, codes, strict=True):
                    self._heed(name, qos, code)

    def _heed(self, name: str, qos: int, code: int) -> None:
        if code < REFUSED:
            self._granted[name] = code
            self._complained.discard(name)
            if code < qos:
                self._complain(name, "granted with QoS 0 only: what comes while we are away is lost")
            return
        self._granted.pop(name, None)
        why = (
            reasons.sentence(code, client_id="", username=self._username)
            if self._five
            else "the broker gives no reason"
        )
        self._complain(name, f"refused, asking again every {_AGAIN_SECONDS:g} s: {why}")

    def _complain(self, name: str, reason: str) -> None:
        self._context.standing.count("subscriptions_refused")
        if name not in self._complained:
            self._complained.add(name)
            self._context.log.warning("subscription not granted as asked", topic=name, reason=reason)
