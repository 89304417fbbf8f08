"""Holds what a connector carries from one session to the next, without loading asyncua before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantgate.sdk import Context

if TYPE_CHECKING:
    from plantgate_connectors.opcua.continuity import Continuity


class Memory:
    """Made with the connector; its content is made, or read from the folder, with the first session."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._continuity: Continuity | None = None

    def continuity(self) -> Continuity:
        """What is carried; the same object each time."""
        if self._continuity is None:
            from plantgate_connectors.opcua.continuity import Continuity

            self._continuity = Continuity.load(self._context)
        return self._continuity
