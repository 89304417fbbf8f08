"""One journey: rows from an origin through the gateway to an end, while plugs are pulled, and the verdict on it."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from tests.integration.journey.ends import ENDS, End
from tests.integration.journey.gateway import Gateway
from tests.integration.journey.ledger import Promise, Rows, Verdict, judge, rows_of
from tests.integration.journey.origins import ORIGINS, PREFIX, SCALE, Origin
from tests.integration.journey.plan import Plug, Pull, Scale, pulls
from tests.peers.mosquitto import free_port
from tests.peers.require import data

PLANT: Final = """\
plant: journey
http: {{ listen: "127.0.0.1:{http}" }}
store: {{ folder: data }}
connections:
{origin}{end}flows:
  telemetry: {{ from: transformer, to: broker, outbox: {{ bytes_max: 1GiB }} }}
"""
CELLS: Final = """\
cells:
  machines: { connections: transformer, stall_seconds: 2 }
  office: { connections: broker, stall_seconds: 2 }
"""
_QUIET_SECONDS: Final = 5.0
_NAMED_AFTER_SECONDS: Final = (1.0, 10.0, 55.0)
"""Where polls are counted, those left out by slowness are gathered for a minute before they are named."""
_TIME_KEPT_SECONDS: Final = 12.0
"""And a restarted gateway knows the time of the last value as it was at most so long before."""


async def travel(
    scale: Scale,
    seed: int,
    folder: Path,
    *,
    rows: int | None,
    calm: bool = False,
    cells: bool = False,
    origin: str = "opcua",
    end: str = "mqtt",
) -> Verdict:
    """With everything it needs, from start to verdict."""
    file = data() / "ett" / "ETTh1.csv"
    sent = rows_of(file, rows, scale=SCALE if origin == "modbus" else None)
    planned = [] if calm else pulls(scale, len(sent.sent), seed)
    told = f"{scale.gateway_kills} gateway kills, {scale.broker_kills} broker kills, {scale.cuts} cuts"
    tell(
        f"{origin} to {end}: {len(sent.sent)} rows of {len(sent.names)} values at {scale.rows_per_second:.0f} rows/s; "
        f"seed {seed}; {'no plug pulled' if calm else told}"
    )
    async with AsyncExitStack() as stack:
        machine = await stack.enter_async_context(ORIGINS[origin](file, sent, folder))
        broker = await stack.enter_async_context(ENDS[end](folder))
        gateway = Gateway(folder / "plant.yaml", free_port())
        plan = PLANT.format(http=gateway.port, origin=machine.connection(), end=broker.connection())
        gateway.plant.write_text(plan + CELLS if cells else plan)
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        await gateway.until("all tags to be monitored", lambda status: _monitored(status) == len(sent.names), 60)
        tell("gateway reads; replay begins")
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            replaying = group.create_task(
                machine.replay(len(sent.sent), scale.rows_per_second, _progress(len(sent.sent)))
            )
            group.create_task(_pull(planned, gateway, broker, machine))
            if cells and not calm:
                group.create_task(_hurt(gateway, replaying, random.Random(seed)))
        tell(f"replay and pulls done after {time.monotonic() - began:.0f} s; waiting for the rest to arrive")
        # A poll finds the same row again; a server repeats only what a SIGKILL kept from being told.
        promise = Promise(
            fetched=machine.repeats,
            once=broker.once,
            anew=not machine.repeats or cells or not calm,
            stale_rows=round(_TIME_KEPT_SECONDS * scale.rows_per_second),
        )
        if not machine.repeats:
            await _named(sent, broker, promise)
        await _drained(gateway, len(sent.names), repeats=machine.repeats)
        status = await gateway.status()
        code = await gateway.stop()
        await _settled(broker)
        arrived = await broker.arrived()
        for remark in arrived.remarks:
            tell(f"remark: {remark}")
        verdict = judge(sent, PREFIX, arrived, promise)
        _report(verdict, status or {}, code, gateway.starts)
        return verdict


def _progress(rows: int) -> Callable[[int], None]:
    said = [0]

    def told(row: int) -> None:
        if row - said[0] >= rows // 10 or row == rows:
            said[0] = row
            tell(f"{row:6d} of {rows} rows set")

    return told


async def _pull(planned: list[Pull], gateway: Gateway, broker: End, machine: Origin) -> None:
    """Each pull at its moment, those of different plugs side by side."""
    began = time.monotonic()
    locks = {plug: asyncio.Lock() for plug in Plug}

    async def one(pull: Pull) -> None:
        await asyncio.sleep(max(0.0, pull.at_seconds - (time.monotonic() - began)))
        async with locks[pull.plug]:
            tell(f"{pull.plug.value} for {pull.for_seconds:.1f} s")
            match pull.plug:
                case Plug.GATEWAY:
                    await gateway.kill()
                    await asyncio.sleep(pull.for_seconds)
                    await gateway.start()
                case Plug.BROKER:
                    await broker.kill()
                    await asyncio.sleep(pull.for_seconds)
                    await broker.start()
                case Plug.CABLE:
                    await machine.cable.outage(pull.for_seconds)

    async with asyncio.TaskGroup() as group:
        for pull in planned:
            group.create_task(one(pull))


async def _hurt(gateway: Gateway, replaying: "asyncio.Task[None]", luck: random.Random) -> None:
    """A cell every few seconds, killed or frozen; one that is frozen must be noticed and started again."""
    while not replaying.done():
        await asyncio.sleep(luck.uniform(1.0, 5.0))
        status = await gateway.status()
        alive = [(name, cell["pid"]) for name, cell in (status or {"cells": {}})["cells"].items() if cell["pid"]]
        if alive:
            name, pid = luck.choice(alive)
            how = luck.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
            tell(f"{how.name} to the cell {name}")
            with suppress(ProcessLookupError):
                os.kill(pid, how)


async def _settled(broker: End) -> None:
    """Until there is nothing more, twice in a row."""
    before = -1
    while (now := len((await broker.arrived()).samples)) != before:
        before = now
        await asyncio.sleep(1.0)


def _uses(status: dict[str, object]) -> list[dict[str, object]]:
    connections = status["connections"]
    assert isinstance(connections, dict)
    return [use for connection in connections.values() for use in connection["uses"]]


def _monitored(status: dict[str, object]) -> int:
    return sum(use["monitored"] for use in _uses(status) if isinstance(use["monitored"], int))


async def _named(sent: Rows, broker: End, promise: Promise) -> None:
    """Until every row has arrived or lies in a named stretch; seldom looked at, as looking holds up the cable, too."""
    for pause in _NAMED_AFTER_SECONDS:
        await asyncio.sleep(pause)
        arrived = await broker.arrived()
        if (await asyncio.to_thread(judge, sent, PREFIX, arrived, promise)).fine:
            return


async def _drained(gateway: Gateway, tags: int, *, repeats: bool) -> None:
    """Until all is connected and delivered and, where what was missed is fetched, nothing new has come for a while."""
    accepted = -1
    while True:
        status = await gateway.until("the outbox to drain", lambda status: _delivered(status, tags, repeats), 120)
        before, accepted = accepted, status["flows"]["telemetry"]["destinations"]["broker"]["accepted"]
        if accepted == before or not repeats:
            return
        await asyncio.sleep(_QUIET_SECONDS)


def _delivered(status: dict[str, object], tags: int, repeats: bool) -> bool:
    flows = status["flows"]
    assert isinstance(flows, dict)
    ends = [figures for flow in flows.values() for figures in flow["destinations"].values()]
    all_there = all(end["queued"] == 0 if repeats else end["behind_seconds"] < 1.0 for end in ends)
    return all_there and _monitored(status) == tags and all(use["state"] == "up" for use in _uses(status))


def _report(verdict: Verdict, status: dict[str, object], code: int, starts: int) -> None:
    flows = status.get("flows", {})
    assert isinstance(flows, dict)
    for flow in flows.values():
        for name, figures in flow["destinations"].items():
            tell(
                f"balance towards {name}: accepted {figures['accepted']} = delivered {figures['delivered']} + queued "
                f"{figures['queued']} + dropped {figures['dropped']}, difference {figures['difference']}"
            )
    tell(
        f"gateway started {starts} times, last exit code {code}; {verdict.repeats} samples came again under their "
        f"number, {verdict.again} under another"
    )
    for line in verdict.gaps:
        tell(f"gap: {line}")
    for line in verdict.surprises[:10]:
        tell(f"SURPRISE {line}")


def tell(line: str) -> None:
    """Progress, with the second it was said."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}] {line}", flush=True)


_BEGAN = time.monotonic()
