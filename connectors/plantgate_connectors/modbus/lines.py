"""Which uses of a connection share a line: one that knows no numbers has room for one master only."""

import asyncio
from typing import Final, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from plantgate.sdk import Standing
from plantgate_connectors.modbus.dial import Address
from plantgate_connectors.modbus.line import Line, Manner
from plantgate_connectors.modbus.plan import manner_of
from plantgate_connectors.modbus.settings import ModbusSettings

_Lines: TypeAlias = WeakValueDictionary[tuple[Address, Manner], Line]
_SHARED: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Lines]] = WeakKeyDictionary()


def line_at(settings: ModbusSettings, address: Address, standing: Standing) -> Line:
    """A serial line, directly or behind a converter, is the one that is there already; any other is a new one.

    Whoever has it calls `Line.keep`, which lets one of them keep it connected.
    """
    manner = manner_of(settings, address)
    if not manner.rtu:
        return Line(address, manner, standing)
    there = _SHARED.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    line = there.get((address, manner))
    if line is None:
        line = there[address, manner] = Line(address, manner, standing)
    return line
