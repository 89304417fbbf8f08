"""The robot's newest state, and the next one, on a connection that writes."""

import asyncio
from collections.abc import Sequence

from plantgate.sdk import Deadline, Unavailable
from plantgate_connectors.ur.link import Link
from plantgate_connectors.ur.mailbox import State
from plantgate_connectors.ur.recipe import Held


class Live:
    """Of one session; give it the connection and the recipe's fields before anything comes."""

    def __init__(self) -> None:
        self.state: State = {}
        self.at = 0.0
        """When it came, on the loop's clock."""
        self.fields: tuple[str, ...] = ()
        self.link: Link | None = None
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self, package: Sequence[Held]) -> None:
        """A data package."""
        self.state = dict(zip(self.fields, package, strict=True))
        self.at = asyncio.get_running_loop().time()
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        news.set_result(None)

    async def next(self, deadline: Deadline) -> State:
        """The state of a package that comes after this call. Raises `TimeoutError`; `Unavailable` if none will."""
        assert self.link is not None
        news, gone = self._news, self.link.gone
        if not gone.done():
            async with deadline.timeout():
                await asyncio.wait((news, gone), return_when=asyncio.FIRST_COMPLETED)
        if not news.done():
            raise Unavailable(gone.result())
        return self.state
