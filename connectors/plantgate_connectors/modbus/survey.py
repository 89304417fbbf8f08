"""Asks each device everything a poll would, for `plantgate plan`: what it costs, and what is refused."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from plantgate.sdk import Context, Finding, Survey
from plantgate_connectors.modbus.blocks import Block
from plantgate_connectors.modbus.device import Plan
from plantgate_connectors.modbus.dial import Address
from plantgate_connectors.modbus.line import Line, Manner
from plantgate_connectors.modbus.pdu import Answer
from plantgate_connectors.modbus.plan import address_of, manner_of, plan_of
from plantgate_connectors.modbus.refusals import trouble
from plantgate_connectors.modbus.serial_port import SerialPort
from plantgate_connectors.modbus.settings import ModbusSettings

_TCP_BYTES: Final = 7 + 5, 7 + 2
"""Of a request, and of an answer beside its payload: header, then function and the rest."""
_RTU_BYTES: Final = 1 + 5 + 2, 1 + 2 + 2
_BITS_PER_BYTE: Final = 11
"""On a serial line: start, eight, parity (or a second stop bit), stop."""
_SILENT_CHARACTERS: Final = 3.5
"""Between two frames (Modbus over Serial Line 1.02, 2.5.1.1)."""


async def survey(settings: ModbusSettings, context: Context) -> Survey:
    """Line by line, device by device; changes nothing, since a poll is only reading."""
    lines: dict[Address, list[Plan]] = {}
    for device in settings.devices:
        lines.setdefault(address_of(settings, device), []).append(plan_of(settings, device))
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(_line(address, manner_of(settings, address), plans, context, settings.connect_seconds))
            for address, plans in lines.items()
        ]
    return Survey(tuple(finding for task in asked for finding in task.result()))


async def _line(
    address: Address, manner: Manner, plans: Sequence[Plan], context: Context, seconds: float
) -> list[Finding]:
    findings: list[Finding] = []
    line = Line(address, manner, context.standing)
    running = asyncio.create_task(line.run())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + 1.0):
                await line.up.wait()
        for plan in plans:
            findings += await _device(line, plan, rtu=manner.rtu)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    findings.append(_load(address, manner, plans))
    return findings


async def _device(line: Line, plan: Plan, *, rtu: bool) -> list[Finding]:
    loop = asyncio.get_running_loop()
    findings = []
    for block in plan.blocks():
        began = loop.time()
        (answer,) = await line.ask(plan.unit, [block.read], plan.patience)
        findings.append(_block(plan, block, answer, loop.time() - began, rtu=rtu))
    return findings


def _block(plan: Plan, block: Block, answer: Answer, seconds: float, *, rtu: bool) -> Finding:
    read = block.read
    what = "bits" if read.function in (1, 2) else "registers"
    wanted = f"{read.count} {what} for {_count(len(block.tags), 'tag')}, {_bytes(block, rtu=rtu)} bytes"
    if isinstance(answer, bytes):
        return Finding(f"{plan.name}: {read}", wanted, f"answered in {1000 * seconds:.0f} ms")
    return Finding(f"{plan.name}: {read}", wanted, trouble(answer).reason, fine=False)


def _load(address: Address, manner: Manner, plans: Sequence[Plan]) -> Finding:
    """What all polls of a line come to, in a second; of a serial line also how much of the time it is busy."""
    requests = sum(len(plan.blocks()) / plan.interval_seconds for plan in plans)
    registers = sum(block.read.count / plan.interval_seconds for plan in plans for block in plan.blocks())
    bytes_ = sum(_bytes(block, rtu=manner.rtu) / plan.interval_seconds for plan in plans for block in plan.blocks())
    wanted = f"{requests:.3g} requests/s, {registers:.3g} registers or bits/s, {bytes_:.3g} bytes/s"
    if not isinstance(address, SerialPort):
        return Finding(f"{address}: all polls", wanted, _count(len(plans), "device"))
    characters = bytes_ + 2 * _SILENT_CHARACTERS * requests
    pauses = sum(len(plan.blocks()) * plan.patience.pause_seconds / plan.interval_seconds for plan in plans)
    busy = characters * _BITS_PER_BYTE / address.baud + pauses
    granted = f"{_count(len(plans), 'device')}; the line is busy {100 * busy:.0f} % of the time"
    return Finding(f"{address}: all polls", wanted, granted, fine=busy < 1.0)


def _bytes(block: Block, *, rtu: bool) -> int:
    request, answer = _RTU_BYTES if rtu else _TCP_BYTES
    return request + answer + block.read.payload_bytes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
