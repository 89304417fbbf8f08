"""The end of an actuator's session, noticed while nobody asks anything of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from plantgate.sdk import Actuator, NoticingActuator


@asynccontextmanager
async def noticed(actuator: Actuator, over: Callable[[], object]) -> AsyncIterator[None]:
    """Call `over` as soon as the session is lost; leaving the block then raises why, an `Unavailable`.

    Nothing in the block is interrupted. Of an actuator that cannot notice, nothing is ever told.
    """
    if not isinstance(actuator, NoticingActuator):
        yield
        return
    why: BaseException | None = None

    def ended(losing: asyncio.Task[NoReturn]) -> None:
        nonlocal why
        why = None if losing.cancelled() else losing.exception()
        over()

    losing = asyncio.create_task(actuator.lost(), name="the end of a session for writing")
    losing.add_done_callback(ended)
    try:
        yield
    finally:
        losing.cancel()
        await asyncio.wait([losing])
    if why is not None:
        raise why
