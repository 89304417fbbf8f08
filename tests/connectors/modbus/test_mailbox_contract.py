"""The contract of actuators, through a PLC's mailbox."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plantgate.sdk import Connector, Setpoint
from plantgate.testing.contract import ActuatorContract
from tests.connectors.modbus.given import HOST
from tests.connectors.modbus.mailboxed import BELT, MAILBOX, OVEN, gateway, plc
from tests.peers.plc_mailbox import BLOCK, Plc, Program, crc


class TestModbusMailboxWrites(ActuatorContract[Plc]):
    """Two tags through the mailbox of our own PLC."""

    host = HOST
    tags = (BELT, OVEN)

    def device(self) -> Any:
        wide = Program(low=(-1e9, -1e9), high=(1e9, 1e9))
        return plc(program=wide)

    def connector(self, device: Plc, tmp_path: Path) -> Connector[Any]:
        return gateway(tmp_path)

    def written(self, device: Plc, tag: str) -> Sequence[Setpoint]:
        return [done.value for done in device.applied if done.tag == MAILBOX["tags"][tag]]  # type: ignore[index]

    def change(self, device: Plc, tag: str, value: Setpoint) -> None:
        assert isinstance(value, float)
        device.program.setpoint[self.tags.index(tag)] = value

    def refuse(self, device: Plc) -> None:
        device.program.low, device.program.high = (1e9, 1e9), (1e9, 1e9)

    def silence(self, device: Plc) -> None:
        device.tells = False

    def lies(self) -> Sequence[Callable[[Plc], None]]:
        def other(change: Callable[[bytes], bytes]) -> Callable[[Plc], None]:
            def lie(device: Plc) -> None:
                def spoil(shown: bytes) -> bytes:
                    if BLOCK.unpack(shown)[1] == 0:
                        return shown
                    spoilt = change(shown)[:-2]
                    return spoilt + struct.pack(">H", crc(spoilt))

                device.lie = spoil

            return lie

        return [
            other(lambda shown: shown[:4] + b"\0\0" + shown[6:]),
            other(lambda shown: shown[:4] + b"\0\7" + shown[6:]),
            other(lambda shown: b"\7" + shown[1:]),
            other(lambda shown: shown[:6] + b"\0\x63" + shown[8:]),
            other(lambda shown: shown[:6] + b"\0\0" + shown[8:]),
            other(lambda shown: shown[:8] + bytes((shown[8] ^ 1,)) + shown[9:]),
        ]
