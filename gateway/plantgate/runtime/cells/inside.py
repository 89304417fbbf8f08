"""The cell's half of the conversation: holds the connectors, runs their sessions, and answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from plantgate.runtime.cells.hosted import Answer, HostedSession, Use
from plantgate.runtime.cells.messages import Asked, Beat, Build, Drop, NewsLine, Open, Raised, Role, Stood
from plantgate.runtime.cells.orders import Orders, unpacked_plan
from plantgate.runtime.cells.wire import ASKED, Wire
from plantgate.sdk import Context

BEAT_SECONDS: Final = 0.25
UNSENT_BYTES_MAX: Final = 2**20
"""While the gateway takes nothing, it is told nothing that can wait."""


class Inside:
    """Serves until the gateway is gone."""

    def __init__(
        self,
        *,
        context: Callable[[Orders], Context],
        news: Callable[[], list[NewsLine]] = list,
        gone: Callable[[], object] = lambda: None,
    ) -> None:
        """`gone` is called first when the gateway is gone: a process then ends, whatever its connectors are at."""
        self.wire = Wire(ASKED, self._heard)
        self._context, self._news, self._gone = context, news, gone
        self._uses: dict[int, asyncio.Task[Use]] = {}
        self._sessions: dict[int, HostedSession] = {}
        self._begun: dict[tuple[int, Role], list[asyncio.Task[None]]] = {}
        """Of each use and role the last session, and those before it that had not ended when it began."""
        self._group = asyncio.TaskGroup()

    async def serve(self, connect: Callable[[asyncio.Protocol], Awaitable[object]]) -> None:
        """Connect, and serve until the gateway's end of the socket is closed."""
        async with self._group:
            await connect(self.wire)
            beating = self._group.create_task(self._beat(), name="heartbeat")
            await self.wire.over
            self._gone()
            beating.cancel()
            for task in (*self._uses.values(), *(session.task for session in self._sessions.values())):
                task.cancel()

    def _heard(self, message: Asked) -> None:
        match message:
            case Build():
                building = self._build(message.orders)
                self._uses[message.use] = self._group.create_task(building, name=f"build {message.use}")
            case Drop():
                self._uses.pop(message.use).cancel()
                for role in Role:
                    self._begun.pop((message.use, role), None)
            case Open():
                self._open(message)
            case _:
                if (session := self._sessions.get(message.session)) is not None:
                    session.told(message)

    def say(self, answer: Answer, use: Use, number: int) -> None:
        """Answer, and say first how the use stands: the gateway must not hear of it too late."""
        self._tell_standing(number, use)
        self.wire.say(answer)

    def still_there(self) -> bool:
        """Hear what the gateway has told already; False if it is gone."""
        self.wire.catch_up()
        return not self.wire.over.done()

    def end(self) -> None:
        """End the cell, and with it what would not end by itself."""
        self.wire.hang_up()

    def forget(self, session: int) -> None:
        """It has ended."""
        self._sessions.pop(session, None)

    async def _build(self, orders: Orders) -> Use:
        context = self._context(orders)
        try:
            # On a thread: importing a connector can take seconds, and the cell does not stand still meanwhile.
            connector, settings = await asyncio.to_thread(unpacked_plan, orders)
            return Use(connector(settings, context), context)
        except Exception as error:  # the other connections of the cell must not feel it
            context.log.error("the connector cannot be built", exc_info=error)
            return Use(None, context, f"cannot be built: {type(error).__name__}: {error}")

    def _open(self, message: Open) -> None:
        if (building := self._uses.get(message.use)) is None:
            self.wire.say(Raised(message.session, "unavailable", "its flow has ended", None, ended=True))
            return
        key = message.use, message.role
        before = [task for task in self._begun.get(key, ()) if not task.done()]
        session = HostedSession(self, message, building, before)
        self._sessions[message.session] = session
        session.task = self._group.create_task(session.run(), name=f"session {message.session}")
        self._begun[key] = [*before, session.task]

    async def _beat(self) -> None:
        while True:
            if self.wire.unsent < UNSENT_BYTES_MAX:
                for number, building in self._uses.items():
                    if building.done() and not building.cancelled():
                        self._tell_standing(number, building.result())
                self.wire.say(Beat(self._news()))
            await asyncio.sleep(BEAT_SECONDS)

    def _tell_standing(self, number: int, use: Use) -> None:
        standing = use.context.standing
        stood = Stood(
            number,
            standing.state,
            standing.reason,
            standing.changed,
            standing.desired,
            standing.monitored,
            standing.live,
            dict(standing.counters),
        )
        if stood != use.told:
            use.told = stood
            self.wire.say(stood)
