import asyncio
from collections.abc import Awaitable, Callable

import pytest

from plantgate.flow.stop import Stop
from plantgate.runtime.supervisor import Phase, Supervisor, keep_running
from plantgate.sdk import Backoff, Standing, State, Unavailable

SOON = Backoff(first_seconds=0.001, most_seconds=0.001)


class Lines:
    """A log that can be asked what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def info(self, event: str, **facts: object) -> None:
        self.said.append(("info", event))

    def warning(self, event: str, **facts: object) -> None:
        self.said.append(("warning", event))

    def error(self, event: str, **facts: object) -> None:
        self.said.append(("error", event))


def scripted(*ends: BaseException | None) -> tuple[Callable[[Stop], Awaitable[None]], list[BaseException | None]]:
    left = list(ends)

    async def session(stop: Stop) -> None:
        if end := left.pop(0):
            raise end

    return session, left


def test_an_absence_is_waited_out_and_told_once() -> None:
    lines = Lines()
    standing = Standing(lines)
    session, left = scripted(Unavailable("no answer"), Unavailable("no answer"), Unavailable("still none"), None)
    asyncio.run(keep_running(session, stop=Stop(), backoff=SOON, standing=standing, log=lines))
    assert left == []
    assert [said for said in lines.said if said[0] == "warning"] == [("warning", "away, trying again until it returns")]


def test_a_bug_in_a_connector_is_told_in_full_and_survived() -> None:
    lines = Lines()
    standing = Standing(lines)
    session, left = scripted(ZeroDivisionError("oops"), None)
    asyncio.run(keep_running(session, stop=Stop(), backoff=SOON, standing=standing, log=lines))
    assert left == []
    assert ("error", "session ended by an unexpected error, opening the next one") in lines.said
    assert standing.counters == {"session_errors": 1}


def test_a_session_whose_library_cancels_what_it_waits_for_is_opened_again() -> None:
    lines = Lines()
    session, left = scripted(asyncio.CancelledError(), None)
    asyncio.run(keep_running(session, stop=Stop(), backoff=SOON, standing=Standing(lines), log=lines))
    assert left == [], "nobody asked for an end"
    assert ("error", "session ended by an unexpected error, opening the next one") in lines.said


def test_a_stop_ends_the_wait_between_sessions() -> None:
    stop, standing = Stop(), Standing(Lines())

    async def session(_: Stop) -> None:
        stop.set()
        raise Unavailable("gone", retry_after_seconds=3600)

    asyncio.run(keep_running(session, stop=stop, backoff=SOON, standing=standing, log=Lines()))
    assert standing.state is State.STOPPED


def test_a_session_whose_cleanup_fails_does_not_outlive_its_cancellation() -> None:
    """python/cpython#116720: a cancelled group raises what its child raised, and a retry would swallow the cancel."""
    sessions = 0

    async def stumbling() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise OSError("socket already closed")

    async def session(stop: Stop) -> None:
        nonlocal sessions
        sessions += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(stumbling())

    async def main() -> None:
        service = keep_running(session, stop=Stop(), backoff=SOON, standing=Standing(Lines()), log=Lines())
        task = asyncio.create_task(service)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert sessions == 1


def test_phases_stop_in_order_each_with_its_own_grace() -> None:
    ended: list[str] = []

    def service(name: str, *, stuck: bool = False) -> Callable[[Stop], Awaitable[None]]:
        async def run(stop: Stop) -> None:
            await stop.wait()
            if stuck:
                await asyncio.sleep(3600)
            ended.append(name)

        return run

    async def main() -> int:
        graces = {Phase.SOURCES: 0.01, Phase.SINKS: 0.01}
        async with Supervisor(graces=graces, log=Lines()) as supervisor:
            supervisor.start("sink", Phase.SINKS, service("sink"))
            supervisor.start("stuck", Phase.SOURCES, service("stuck", stuck=True))
            supervisor.start("audit", Phase.AUDIT, service("audit"))
            supervisor.start("source", Phase.SOURCES, service("source"))
            await asyncio.sleep(0)
        return supervisor.abandoned

    assert asyncio.run(main()) == 1
    assert ended == ["source", "sink", "audit"]
