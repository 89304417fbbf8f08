"""When nothing is written: what the robot's own state says about it, in words that say what to do."""

import asyncio
from typing import Final

from plantgate.sdk import Backoff, Rejected, Unavailable
from plantgate_connectors.ur.dashboard import Misunderstood, Question, dashboard, meaning
from plantgate_connectors.ur.mailbox import State
from plantgate_connectors.ur.modes import (
    NORMAL,
    PLAYING,
    REDUCED,
    ROBOT_MODE,
    RUNNING,
    RUNTIME_STATE,
    SAFETY_STATUS,
    called,
)
from plantgate_connectors.ur.settings import UrSettings

STATE_FIELDS: Final = ("robot_mode", "safety_status", "runtime_state")
_INTERVAL_SECONDS: Final = 0.5
_AGE_MAX_SECONDS: Final = 1.5
_AGAIN: Final = Backoff(first_seconds=0.5, most_seconds=10.0)


def permit(state: State) -> None:
    """Raises `Rejected` unless the arm is powered, no stop is active and the robot program plays."""
    if state["robot_mode"] != RUNNING:
        raise Rejected(f"robot mode is {called(ROBOT_MODE, state['robot_mode'])}, not RUNNING: switch the arm on")
    if state["safety_status"] not in (NORMAL, REDUCED):
        raise Rejected(f"safety status is {called(SAFETY_STATUS, state['safety_status'])}: clear it at the robot")
    if not plays(state):
        raise Rejected(f"the robot program is {called(RUNTIME_STATE, state['runtime_state'])}, not PLAYING: start it")


def plays(state: State) -> bool:
    """Whether the robot program keeps its registers up."""
    return bool(state["runtime_state"] == PLAYING)


class Remote:
    """Whether the robot is in remote control, asked of the dashboard for as long as a session lasts."""

    def __init__(self, settings: UrSettings) -> None:
        self._settings = settings
        self._is: bool | None = None
        self._at = 0.0
        self._reason = "the dashboard does not answer"

    async def ask_once(self) -> None:
        """Before the first write. Raises `Unavailable`."""
        settings = self._settings
        async with dashboard(settings.host, settings.dashboard_port, settings.connect_seconds) as board:
            self._heard(await board.ask(Question.REMOTE_CONTROL))

    async def keep_asking(self) -> None:
        """Until cancelled."""
        settings, attempt = self._settings, 0
        while True:
            try:
                async with dashboard(settings.host, settings.dashboard_port, settings.connect_seconds) as board:
                    while True:
                        self._heard(await board.ask(Question.REMOTE_CONTROL))
                        attempt = 0
                        await asyncio.sleep(_INTERVAL_SECONDS)
            except Unavailable as error:
                self._reason = str(error)
            await asyncio.sleep(_AGAIN.delay(attempt))
            attempt += 1

    def permit(self) -> None:
        """Raises `Rejected` in local control, `Unavailable` if that is not known."""
        if self._is is None or asyncio.get_running_loop().time() - self._at > _AGE_MAX_SECONDS:
            raise Unavailable(f"whether the robot is in remote control is not known: {self._reason}")
        if not self._is:
            raise Rejected("the robot is in local control: switch it to remote control at its pendant")

    def _heard(self, line: str) -> None:
        try:
            self._is = bool(meaning(Question.REMOTE_CONTROL, line))
        except Misunderstood as error:
            self._is, self._reason = None, f"the dashboard answers {error}; for controllers without it: `ignored`"
        self._at = asyncio.get_running_loop().time()
