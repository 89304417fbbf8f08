"""Asks the dashboard at intervals, beside the data packages and without harm to them."""

import asyncio
from typing import Final

from plantgate.sdk import Backoff, Batch, Context, Gap, Scalar, Unavailable
from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate_connectors.ur.backlog import Backlog
from plantgate_connectors.ur.dashboard import Dashboard, Misunderstood, dashboard, meaning
from plantgate_connectors.ur.quality import BAD_NO_COMMUNICATION
from plantgate_connectors.ur.settings import UrSettings

_AGAIN: Final = Backoff(first_seconds=1.0, most_seconds=30.0)


class Polled:
    """Outlives the sessions, so that polls nobody made between them are named."""

    def __init__(self, settings: UrSettings, context: Context, backlog: Backlog, *, resumed: bool) -> None:
        assert settings.dashboard is not None
        self._settings, self._context, self._backlog = settings, context, backlog
        self._interval = settings.dashboard.interval_seconds
        self._asked = settings.dashboard.asked
        self.tags = tuple(tag for _, tag in self._asked)
        self._resumed = resumed
        self._last: float | None = None
        self._cause = ""
        self._told = False
        """The tags were given as bad, and nothing good since."""

    async def keep_asking(self) -> None:
        """Until cancelled; a dashboard that is away is in the qualities and gaps, and ends no session."""
        settings, attempt = self._settings, 0
        while True:
            try:
                async with dashboard(settings.host, settings.dashboard_port, settings.connect_seconds) as board:
                    while True:
                        await self._ask(board)
                        attempt = 0
                        await asyncio.sleep(self._interval)
            except Unavailable as error:
                self.away(str(error))
            await asyncio.sleep(_AGAIN.delay(attempt))
            attempt += 1

    def away(self, reason: str) -> None:
        """It does not answer: said once."""
        self._cause = self._cause or "dashboard away"
        if self._told:
            return
        self._told = True
        self._context.log.warning("dashboard away, asking until it answers", reason=reason)
        count = len(self.tags)
        self._put(Batch([*self.tags], [None] * count, [BAD_NO_COMMUNICATION] * count, [None] * count))

    def session_lost(self) -> None:
        """Nobody asks until the next one."""
        self._cause = self._cause or "session lost"

    async def _ask(self, board: Dashboard) -> None:
        values: list[Scalar] = []
        qualities: list[int] = []
        for question, _ in self._asked:
            line = await board.ask(question)
            try:
                values.append(meaning(question, line))
                qualities.append(GOOD)
            except Misunderstood:
                values.append(None)
                qualities.append(BAD_DECODING)
                self._context.standing.count("dashboard_misunderstood")
        if self._backlog.full:
            self._cause = self._cause or "outbox slow"
            return
        if self._told:
            self._told = False
            self._context.log.info("dashboard answers again")
        self._put(Batch([*self.tags], [*values], qualities, [None] * len(values), gaps=self._gaps()))

    def _gaps(self) -> tuple[Gap, ...]:
        now = asyncio.get_running_loop().time()
        last, self._last = self._last, now
        cause, self._cause = self._cause, ""
        if last is None:
            resumed, self._resumed = self._resumed, False
            return (Gap(self.tags, None, None, "gateway stopped", None),) if resumed else ()
        missing = round((now - last) / self._interval) - 1
        if missing <= 0:
            return ()
        return (Gap(self.tags, None, None, cause or "polled slower than asked", missing * len(self.tags)),)

    def _put(self, batch: Batch) -> None:
        batch.received = self._context.clock.now()
        self._backlog.put(batch)
