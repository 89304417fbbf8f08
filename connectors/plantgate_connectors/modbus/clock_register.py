"""The registers in which a device keeps its own time."""

from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Value
from plantgate_connectors.modbus.registers import Field

_LATEST_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ClockRegister:
    """Read together with the tags, and then their source time."""

    field: Field
    nanoseconds: int
    """What one count is."""

    def time(self, raw: Value) -> int | None:
        """ns UTC. None for a clock that was never set (0), and for a time no clock shows."""
        if not isinstance(raw, int) or not 0 < raw <= _LATEST_NS // self.nanoseconds:
            return None
        return raw * self.nanoseconds
