"""What a later run of the gateway must know: that these devices were polled, and the time of the last values."""

import contextlib
import json
import os
from pathlib import Path
from typing import Final

_SAVE_SECONDS: Final = 10.0


class Memory:
    """A small file in the use's folder, written now and then and on closing; nothing depends on its being exact."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "polled.json"
        self._saved_at = float("-inf")
        self.times: dict[str, int | None] = {}
        """Source time of the last values, by device, as an earlier run left it; a device that is missing is new."""

    def load(self) -> None:
        """A file that cannot be read counts as none."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._file.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                self.times = {
                    device: time if isinstance(time, int) else None
                    for device, time in found.items()
                    if isinstance(device, str)
                }

    def save(self, times: dict[str, int | None], now: float, *, at_once: bool = False) -> None:
        """Keep these; `now` is any clock that goes on."""
        if not at_once and now - self._saved_at < _SAVE_SECONDS:
            return
        self._saved_at = now
        made = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):
            made.write_text(json.dumps(times), encoding="utf-8")
            os.replace(made, self._file)  # noqa: PTH105  the atomic one
