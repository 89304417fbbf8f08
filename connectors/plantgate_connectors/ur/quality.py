"""Qualities that the gateway's own list has no name for (OPC 10000-4, Table 178; OPC 10000-8, Table 68)."""

from typing import Final

BAD_NO_COMMUNICATION: Final = 0x8031_0000
"""Nobody answers."""
BAD_CONFIGURATION: Final = 0x8089_0000
"""The controller does not have what it was asked for."""
