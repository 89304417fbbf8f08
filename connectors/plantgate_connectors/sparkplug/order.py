"""Messages numbered 0 to 255 and round again, put back into order as far as one can wait for it."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, TypeVar

T = TypeVar("T")

HELD_MOST: Final = 128
"""Messages held for one that is missing; half of what their numbers can tell apart."""
HELD_BYTES_MOST: Final = 4 * 2**20


class Turn(Enum):
    """What a message's number said."""

    NEXT = "next"
    EARLY = "early"
    """Held until the ones before it have come."""
    REPEATED = "repeated"
    """Of one that is held; dropped."""
    LOST = "lost"
    """Far ahead, which is as far behind: an old message, or more missing than can be waited for."""


@dataclass(slots=True)
class Order(Generic[T]):
    """One edge node's count."""

    next: int | None = None
    """The number that is due; None while no birth has said where the count begins."""
    _held: dict[int, tuple[int, T]] = field(default_factory=dict)
    """Size and message by number."""
    _bytes: int = 0

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def begin(self, seq: int) -> None:
        """A birth has this number."""
        self.forget()
        self.next = (seq + 1) % 256

    def forget(self) -> None:
        """Nothing is due, nothing held."""
        self._held.clear()
        self.next, self._bytes = None, 0

    def pass_over(self) -> None:
        """The number that is due was that of a message nobody could read, as far as one can tell."""
        if self.next is not None:
            self.next = (self.next + 1) % 256

    def give(self, seq: int, size: int, message: T) -> tuple[Turn, list[T]]:
        """Take a message; returns those whose turn it is now. With `Turn.LOST` something is missing before them."""
        assert self.next is not None, "a birth begins the count"
        if seq == self.next:
            self.next = (seq + 1) % 256
            return Turn.NEXT, [message, *self._released()] if self._held else [message]
        if seq in self._held:
            return Turn.REPEATED, []
        if (seq - self.next) % 256 > HELD_MOST or self._bytes + size > HELD_BYTES_MOST:
            ready = [*self.give_up(), message]
            self.next = (seq + 1) % 256
            return Turn.LOST, ready
        self._held[seq] = (size, message)
        self._bytes += size
        return Turn.EARLY, []

    def give_up(self) -> list[T]:
        """All that is held, in order, whatever is missing between."""
        ready: list[T] = []
        while self._held and self.next is not None:
            first = self.next
            self.next = min(self._held, key=lambda number: (number - first) % 256)
            ready += self._released()
        return ready

    def _released(self) -> list[T]:
        ready: list[T] = []
        while self.next in self._held:
            size, message = self._held.pop(self.next)
            self._bytes -= size
            self.next = (self.next + 1) % 256
            ready.append(message)
        return ready
