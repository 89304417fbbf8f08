"""Which uses of a connection share a line: one that knows no numbers has room for one master only."""

import asyncio
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from plantgate.sdk import Deadline, Standing
from plantgate_connectors.modbus.dial import Address
from plantgate_connectors.modbus.line import Line, Manner
from plantgate_connectors.modbus.owing import Owing
from plantgate_connectors.modbus.pdu import Write
from plantgate_connectors.modbus.plan import manner_of
from plantgate_connectors.modbus.serial_port import SerialPort
from plantgate_connectors.modbus.settings import ModbusSettings

_FRAME_BYTES: Final = 3
"""What RTU adds to a request: unit and checksum."""
_Lines: TypeAlias = WeakValueDictionary[tuple[Address, Manner], Line]
_SHARED: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Lines]] = WeakKeyDictionary()
_OWING: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Address, Manner], Owing]]] = WeakKeyDictionary()
"""Outlives the lines: of a command that was given up, the next session may hear the confirmation."""


def line_at(settings: ModbusSettings, address: Address, standing: Standing) -> Line:
    """A serial line, directly or behind a converter, is the one that is there already; any other is a new one.

    Whoever has it calls `Line.keep`, which lets one of them keep it connected.
    """
    manner = manner_of(settings, address)
    if not manner.rtu:
        return Line(address, manner, standing, Owing())
    there = _SHARED.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    line = there.get((address, manner))
    if line is None:
        owing = _OWING.setdefault(asyncio.get_running_loop(), {}).setdefault((address, manner), Owing())
        line = there[address, manner] = Line(address, manner, standing, owing)
    return line


def latest(line: Line, write: Write, deadline: Deadline) -> float:
    """When its first byte must leave, on the loop's clock: a serial line takes its time for the rest."""
    if isinstance(line.address, SerialPort):
        return deadline.at - line.address.seconds(len(write.pdu) + _FRAME_BYTES)
    return deadline.at
