"""What a subscriber must remember from one session to the next, and over a restart."""

import os
from pathlib import Path
from typing import Final

import msgspec

from plantgate.sdk import Gap, Log, Unavailable

_TAGS_MOST: Final = 10_000
"""A gap names at most this many tags; beyond, it names the subscriptions."""


class _Open(msgspec.Struct, frozen=True):
    """A gap that has not been handed on safely."""

    cause: str
    since: int | None
    until: int | None


class _Kept(msgspec.Struct):
    filters: dict[str, int]
    """Topic filter to QoS: what the broker's session of ours holds."""
    gap: _Open | None = None


class Memory:
    """The filters the broker holds for us, and a gap not yet safe: in a file, so that a crash forgets neither."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "subscriptions.json"
        self._kept: _Kept | None = None
        self.heard: int | None = None
        """When the last message that is safe came (ns UTC), in the life of this process."""
        self.tags: set[str] = set()
        """Tags seen in the life of this process."""

    def load(self, log: Log) -> None:
        """Read the file, if there is one; a damaged one becomes a gap, since nobody knows what it said."""
        if self._kept is not None:
            return
        try:
            self._kept = msgspec.json.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(f"cannot read {self._file}: {error.strerror or error}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.error("record of subscriptions is damaged, a gap is recorded", file=str(self._file), reason=str(error))
            self._keep(_Kept({}, _Open("record of subscriptions damaged", None, None)))

    @property
    def filters(self) -> dict[str, int] | None:
        """What the broker holds for us; None if we never were there."""
        return None if self._kept is None else self._kept.filters

    def subscribed(self, filters: dict[str, int]) -> None:
        """The broker has taken these."""
        if self._kept is None or self._kept.filters != filters:
            self._keep(_Kept(filters, None if self._kept is None else self._kept.gap))

    def missed(self, cause: str, until: int) -> None:
        """Messages are, or may be, missing up to `until`. One that is open already began earlier and stays."""
        assert self._kept is not None, "one can only miss what one was subscribed to"
        if self._kept.gap is None:
            self._keep(_Kept(self._kept.filters, _Open(cause, self.heard, until)))

    def gap(self, filters: tuple[str, ...]) -> Gap | None:
        """The open gap as a record."""
        if self._kept is None or self._kept.gap is None:
            return None
        open_ = self._kept.gap
        tags = tuple(sorted(self.tags)) if 0 < len(self.tags) < _TAGS_MOST else filters
        return Gap(tags, open_.since, open_.until, open_.cause, lost=None)

    def told(self) -> None:
        """The gap's record is safe."""
        if self._kept is not None and self._kept.gap is not None:
            self._keep(_Kept(self._kept.filters))

    def saw(self, tags: list[str]) -> None:
        """Messages for these tags came."""
        if len(self.tags) < _TAGS_MOST:
            self.tags.update(tags)

    def _keep(self, kept: _Kept) -> None:
        """Replace the file as a whole. A few bytes, once a session: it may block the loop for the length of a write."""
        fresh = self._file.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(kept))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._file)
        except OSError as error:
            raise Unavailable(f"cannot write {self._file}: {error.strerror or error}") from error
        self._kept = kept
