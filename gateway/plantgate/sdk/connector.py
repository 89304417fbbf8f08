"""The two doors of the data plane: a source gives batches, a sink takes them."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias

from plantgate.sdk.sample import Batch, Cursor

Accept: TypeAlias = Callable[[Batch], Coroutine[Any, Any, None]]
"""Takes a batch. Returning means it is safe; raising means it is still the caller's."""


class Source(Protocol):
    """Gives batches, and gives them again (to the next session) until they are acknowledged."""

    async def read(self) -> Batch:
        """The next batch, in order per tag. Waits for one; cancelling the wait loses nothing.

        Raises `Unavailable` when the session is gone (open a new one), `Exhausted` when there is nothing more, ever.
        """
        ...

    async def ack(self, cursor: Cursor) -> None:
        """Everything up to this batch's cursor is safe: the device may forget it. Called in order."""
        ...


class Sink(Protocol):
    """Takes batches and returns once the far end has confirmed them."""

    async def accept(self, batch: Batch) -> None:
        """Returns when the batch is safe at the far end; giving the same batch twice is harmless.

        Raises `Unavailable` (the same batch can succeed later) or `Rejected` (it never will).
        """
        ...
