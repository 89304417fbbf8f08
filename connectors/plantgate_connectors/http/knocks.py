"""Who guesses at credentials is soon not listened to."""

from collections import OrderedDict
from typing import Final

MINUTE: Final = 60.0
_PEERS_MOST: Final = 4096
"""Addresses remembered at a time; the one that has been quiet longest is forgotten first."""


class Knocks:
    """Counts wrong credentials by address, in windows of a minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of_peer: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """By address: when its window began, and how many failed in it."""

    def wait_seconds(self, peer: str, now: float) -> float:
        """How long this address must still wait; 0 if it need not."""
        began, failed = self._of_peer.get(peer, (now, 0))
        left = began + MINUTE - now
        return left if failed >= self._most and left > 0 else 0.0

    def failed(self, peer: str, now: float) -> None:
        """One more."""
        began, failed = self._of_peer.pop(peer, (now, 0))
        if now - began >= MINUTE:
            began, failed = now, 0
        self._of_peer[peer] = (began, failed + 1)
        if len(self._of_peer) > _PEERS_MOST:
            self._of_peer.popitem(last=False)
