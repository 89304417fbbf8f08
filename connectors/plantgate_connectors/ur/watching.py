"""What goes on beside a session, and ends with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run these, by name, while the block lasts. An error of the block is raised as it is, in no group."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each, name=name) for name, each in work.items()]
        try:
            yield
        except Exception as error:  # noqa: BLE001  the caller's own; raised below, where the group does not wrap it
            failure = error
        finally:
            for task in tasks:
                task.cancel()
    if failure is not None:
        raise failure
