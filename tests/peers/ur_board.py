"""The dashboard server of our UR twin: a line for each question, as the robot stands."""

import asyncio
from collections.abc import Mapping
from typing import Any

ROBOT_MODES = {3: "POWER_OFF", 5: "IDLE", 7: "RUNNING"}
SAFETY = {1: "NORMAL", 2: "REDUCED", 3: "PROTECTIVE_STOP", 7: "ROBOT_EMERGENCY_STOP"}
STOPPED, PLAYING, PAUSED = 1, 2, 4
PROGRAM = {PLAYING: "PLAYING", PAUSED: "PAUSED"}


class Board:
    """Answers from the robot's own state unless told otherwise."""

    def __init__(self, values: Mapping[str, Any], version: tuple[int, int, int, int], awake: asyncio.Event) -> None:
        self.remote = True
        self.mute = False
        """It takes questions and answers none."""
        self.says: dict[str, str] = {}
        """Other answers, by question."""
        self._values, self._version, self._awake = values, version, awake
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        try:
            writer.write(b"Connected: Universal Robots Dashboard Server\n")
            held = b""
            while more := await reader.read(4096):  # `readline` can wait for ever when the connection breaks (3.11)
                *questions, held = (held + more).split(b"\n")
                await self._awake.wait()
                for question in questions if not self.mute else ():
                    writer.write(f"{self._answer(question.decode().strip())}\n".encode())
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _answer(self, question: str) -> str:
        if question in self.says:
            return self.says[question]
        return {
            "robotmode": f"Robotmode: {ROBOT_MODES.get(self._values['robot_mode'], 'UNKNOWN')}",
            "safetystatus": f"Safetystatus: {SAFETY.get(self._values['safety_status'], 'FAULT')}",
            "programState": f"{PROGRAM.get(self._values['runtime_state'], 'STOPPED')} mailbox.urp",
            "get loaded program": "Loaded program: /programs/mailbox.urp",
            "PolyscopeVersion": "URSoftware {}.{}.{}.{} (Jan 01 2024)".format(*self._version),
            "is in remote control": str(self.remote).lower(),
        }.get(question, f"could not understand: {question}")

    def close(self) -> None:
        """Of every connection."""
        for writer in self._writers:
            writer.transport.abort()
