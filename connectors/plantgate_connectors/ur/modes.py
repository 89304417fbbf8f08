"""What the numbers of a robot's state are called (RTDE guide; the dashboard uses the same words)."""

from collections.abc import Mapping
from typing import Final

RUNNING: Final = 7
NORMAL: Final = 1
REDUCED: Final = 2
"""Works on within tighter safety limits; no stop."""
PLAYING: Final = 2

ROBOT_MODE: Final[Mapping[int, str]] = {
    -1: "NO_CONTROLLER",
    0: "DISCONNECTED",
    1: "CONFIRM_SAFETY",
    2: "BOOTING",
    3: "POWER_OFF",
    4: "POWER_ON",
    5: "IDLE",
    6: "BACKDRIVE",
    7: "RUNNING",
    8: "UPDATING_FIRMWARE",
}
"""Field `robot_mode`."""

SAFETY_STATUS: Final[Mapping[int, str]] = {
    1: "NORMAL",
    2: "REDUCED",
    3: "PROTECTIVE_STOP",
    4: "RECOVERY",
    5: "SAFEGUARD_STOP",
    6: "SYSTEM_EMERGENCY_STOP",
    7: "ROBOT_EMERGENCY_STOP",
    8: "VIOLATION",
    9: "FAULT",
    10: "VALIDATE_JOINT_ID",
    11: "UNDEFINED_SAFETY_MODE",
    12: "AUTOMATIC_MODE_SAFEGUARD_STOP",
    13: "SYSTEM_THREE_POSITION_ENABLING_STOP",
}
"""Field `safety_status`, since PolyScope 3.10 and 5.4."""

RUNTIME_STATE: Final[Mapping[int, str]] = {
    0: "STOPPING",
    1: "STOPPED",
    2: "PLAYING",
    3: "PAUSING",
    4: "PAUSED",
    5: "RESUMING",
}
"""Field `runtime_state`: of the robot program."""


def called(names: Mapping[int, str], number: object) -> str:
    """The name with its number: ``PROTECTIVE_STOP (3)``."""
    word = names.get(number) if isinstance(number, int) else None
    return f"{word or 'unknown'} ({number})"
