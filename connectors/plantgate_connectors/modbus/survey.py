"""Asks each device everything a poll would, for `plantgate plan`: what it costs, and what is refused."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from plantgate.sdk import Context, Finding, Survey
from plantgate_connectors.modbus.blocks import Block
from plantgate_connectors.modbus.described import Framing
from plantgate_connectors.modbus.device import Plan
from plantgate_connectors.modbus.line import Line
from plantgate_connectors.modbus.owing import Owing
from plantgate_connectors.modbus.plan import address_of, manner_of, plan_of
from plantgate_connectors.modbus.refusals import absent, divisible, trouble
from plantgate_connectors.modbus.serial_port import SerialPort
from plantgate_connectors.modbus.settings import ModbusSettings

_NAMED_MOST = 3
_TCP_HEADER_BYTES = 7
_RTU_EXTRA_BYTES = 3
"""Unit and checksum."""
_REQUEST_PDU_BYTES = 5
_ANSWER_PDU_BYTES = 2
"""Function and byte count, without the payload."""


@dataclass(slots=True)
class _Asked:
    """What came of asking one device."""

    requests: int = 0
    seconds: float = 0.0
    answered: list[Block] = field(default_factory=list)
    refused: list[tuple[Block, str]] = field(default_factory=list)
    silent: str = ""


async def survey(settings: ModbusSettings, context: Context) -> Survey:
    """One poll of everything, reading only, on connections of its own. Devices are asked in turn on each line."""
    findings: list[Finding] = []
    async with asyncio.TaskGroup() as group:
        by_address: dict[object, list[Plan]] = {}
        lines: dict[object, Line] = {}
        for device in settings.devices:
            address = address_of(settings, device)
            if address not in lines:
                lines[address] = Line(address, manner_of(settings, address), context.standing, Owing())
            by_address.setdefault(address, []).append(plan_of(settings, device))
        running = [group.create_task(line.run()) for line in lines.values()]
        try:
            asking = [group.create_task(_line(settings, line, by_address[key])) for key, line in lines.items()]
            for told in asking:
                findings += await told
        finally:
            for task in running:
                task.cancel()
    return Survey(tuple(findings))


async def _line(settings: ModbusSettings, line: Line, plans: Sequence[Plan]) -> list[Finding]:
    findings: list[Finding] = []
    share = 0.0
    for plan in plans:
        asked = await _device(line, plan)
        findings += _findings(settings, line, plan, asked)
        share += _cost(settings, line, plan.blocks())[1] / plan.interval_seconds
    if isinstance(line.address, SerialPort):
        findings.append(
            Finding(str(line.address), "less than 100 % of the line's time", f"{share:.0%}", fine=share < 1)
        )
    return findings


async def _device(line: Line, plan: Plan) -> _Asked:
    """Every block, and the parts of those that are refused."""
    asked, waiting = _Asked(), list(plan.blocks())
    loop = asyncio.get_running_loop()
    while waiting:
        block = waiting.pop(0)
        began = loop.time()
        [came] = await line.ask(plan.unit, [block.read], plan.patience)
        asked.requests += 1
        if isinstance(came, bytes):
            asked.seconds += loop.time() - began
            asked.answered.append(block)
        elif absent(came):
            asked.silent = trouble(came).reason
            break
        elif divisible(came) and (parts := block.split()) is not None:
            waiting[:0] = parts
        else:
            asked.refused.append((block, trouble(came).reason))
    return asked


def _findings(settings: ModbusSettings, line: Line, plan: Plan, asked: _Asked) -> list[Finding]:
    blocks = plan.blocks()
    size, seconds = _cost(settings, line, blocks)
    registers = sum(block.read.count for block in blocks if not block.table.of_bits)
    bits = sum(block.read.count for block in blocks if block.table.of_bits)
    read = " and ".join(
        f"{count} {what}" for count, what in ((registers, "registers"), (bits, "bits")) if count or what == "registers"
    )
    took = max(asked.seconds, seconds)
    wanted = (
        f"{len(plan.fields)} tags in {len(blocks)} requests, {read}, {size} bytes every {plan.interval_seconds:g} s"
    )
    subject = f"{plan.name} ({line.address} unit {plan.unit})"
    if asked.silent:
        return [Finding(subject, wanted, asked.silent, fine=False)]
    parted = len(asked.answered) + len(asked.refused)
    granted = f"answered in {took * 1000:.0f} ms" + (f", in {parted} parts" if parted != len(blocks) else "")
    found = [Finding(subject, wanted, granted, fine=took <= plan.interval_seconds)]
    found += [
        Finding(f"{plan.name} {block.read}", _several(block.tags), reason, fine=False)
        for block, reason in asked.refused
        if block.tags or block.clock_at is not None
    ]
    return found


def _cost(settings: ModbusSettings, line: Line, blocks: Sequence[Block]) -> tuple[int, float]:
    """Bytes both ways, and the seconds they take on a serial line; the network's are measured."""
    rtu = settings.framing in (Framing.RTU, Framing.RTU_OVER_TCP)
    extra = _RTU_EXTRA_BYTES if rtu else _TCP_HEADER_BYTES
    fixed = _REQUEST_PDU_BYTES + _ANSWER_PDU_BYTES + 2 * extra
    size = sum(fixed + block.read.payload_bytes for block in blocks)
    if not isinstance(line.address, SerialPort):
        return size, 0.0
    return size, line.address.seconds(size) + 2 * len(blocks) * line.address.silence_seconds


def _several(tags: Sequence[str]) -> str:
    if not tags:
        return "the device's clock"
    named = ", ".join(tags[:_NAMED_MOST])
    return named if len(tags) <= _NAMED_MOST else f"{named} and {len(tags) - _NAMED_MOST} more"
