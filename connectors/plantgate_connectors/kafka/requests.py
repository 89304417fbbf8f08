"""The request that carries record batches, laid out in one go: the library's own copies every byte five times."""

import struct
from collections.abc import Sequence
from typing import Any, Final

from aiokafka.protocol.produce import ProduceRequest

_HEAD: Final = struct.Struct(">hhii")
"""No transaction, who must confirm, milliseconds for it, how many topics (Kafka's protocol guide, Produce 3 to 8)."""
_NAME: Final = struct.Struct(">h")
_COUNT: Final = struct.Struct(">i")
_BATCH: Final = struct.Struct(">ii")
_ALL_IN_STEP: Final = -1
_FIRST_VERSION: Final = 3
"""With record batches of format 2."""


class Produce(ProduceRequest):  # type: ignore[misc,unused-ignore]
    """Every replica in step confirms it, or the leader says why not."""

    def __init__(
        self, milliseconds: int, topics: Sequence[tuple[str, Sequence[tuple[int, bytes | bytearray]]]]
    ) -> None:
        """Topics, and in each the record batches by partition."""
        super().__init__(None, _ALL_IN_STEP, milliseconds, list(topics))
        self._milliseconds = milliseconds
        self._batches = topics

    def build(self, request_struct_class: Any) -> Any:
        """The library's own, but for how it is laid out."""
        built = super().build(request_struct_class)
        if request_struct_class.API_VERSION >= _FIRST_VERSION:
            built.encode = self._lay_out
        return built

    def _lay_out(self) -> bytes:
        pieces: list[bytes | bytearray] = [_HEAD.pack(-1, _ALL_IN_STEP, self._milliseconds, len(self._batches))]
        for topic, partitions in self._batches:
            name = topic.encode()
            pieces += (_NAME.pack(len(name)), name, _COUNT.pack(len(partitions)))
            for partition, batch in partitions:
                pieces += (_BATCH.pack(partition, len(batch)), batch)
        return b"".join(pieces)
