"""What a later run of the gateway must know: that these devices were polled, and the time of the last safe values."""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_NEVER: Final = -(2**63)
"""In place of a time: this device has given nothing yet."""
_TIMELESS: Final = _NEVER + 1
"""It has, and without a time."""
_CRC: Final = struct.Struct("<I")


class Memory:
    """A small file in the use's folder. A change is in the kernel's hands at once, so that it survives the process.

    After a power cut an older one may be there: the stretch that a gap record names then begins that much earlier.
    """

    def __init__(self, folder: Path, devices: Sequence[str]) -> None:
        self._path = folder / "polled"
        self._devices = list(devices)
        self._times = struct.Struct(f"<{len(self._devices)}q")
        self._head = json.dumps(self._devices).encode() + b"\n"
        self._file = -1
        self.times: dict[str, int | None] = {}
        """Source time of the last values, by device, as far as they were safe; a device that is missing is new."""

    def load(self) -> None:
        """What an earlier run left. A file that cannot be read counts as none."""
        with contextlib.suppress(OSError, ValueError, TypeError, struct.error):
            head, _, rest = self._path.read_bytes().partition(b"\n")
            devices = json.loads(head)
            size = 8 * len(devices)
            if _CRC.unpack_from(rest, size)[0] == zlib.crc32(rest[:size]):
                times = struct.unpack_from(f"<{len(devices)}q", rest)
                self.times = {
                    str(device): None if time == _TIMELESS else time
                    for device, time in zip(devices, times, strict=True)
                    if time != _NEVER
                }

    def keep(self, times: Mapping[str, int | None]) -> None:
        """These are safe too. A values' time that is not known does not make an earlier one unknown."""
        for device, time in times.items():
            if time is not None or device not in self.times:
                self.times[device] = time
        packed = self._times.pack(*map(self._packed, self._devices))
        with contextlib.suppress(OSError):
            if self._file < 0:
                self._file = self._anew()
            os.pwrite(self._file, packed + _CRC.pack(zlib.crc32(packed)), len(self._head))

    def close(self) -> None:
        """Until it is needed again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _packed(self, device: str) -> int:
        if device not in self.times:
            return _NEVER
        time = self.times[device]
        return _TIMELESS if time is None else time

    def _anew(self) -> int:
        """With the devices there are now, in place at once or not at all."""
        fresh = self._path.with_suffix(".new")
        packed = self._times.pack(*map(self._packed, self._devices))
        fresh.write_bytes(self._head + packed + _CRC.pack(zlib.crc32(packed)))
        fresh.replace(self._path)
        return os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
