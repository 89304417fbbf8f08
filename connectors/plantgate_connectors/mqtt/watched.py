"""A session as a block: watched beside its body, and said goodbye to at the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.mqtt.client import Role
from plantgate_connectors.mqtt.session import Flaps, Receiver, Session
from plantgate_connectors.mqtt.settings import MqttSettings


@asynccontextmanager
async def session(
    settings: MqttSettings,
    context: Context,
    role: Role,
    receiver: Receiver,
    flaps: Flaps,
    beside: Callable[[Session], Coroutine[None, None, None]] | None = None,
) -> AsyncIterator[Session]:
    """Connect, watch, and say goodbye at the end. When the session dies, the body is ended with `Unavailable`.

    `beside` runs for as long as the body does.
    """
    talk = Session(settings, context, role, receiver, flaps)
    try:
        await talk.connect()
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(talk.watch())]
            if beside is not None:
                running.append(group.create_task(beside(talk)))
            yield talk
            for task in running:
                task.cancel()
    except BaseExceptionGroup as several:
        error = _the_one(several)
        raise error from error.__cause__
    finally:
        await talk.close()


def _the_one(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the session: a bug before weather, since the weather is often only its consequence."""
    unavailable: BaseException | None = None
    for error in several.exceptions:
        if not isinstance(error, Unavailable):
            return error
        unavailable = error
    assert unavailable is not None, "a group has at least one error"
    return unavailable
