"""How far we have read, kept by the cluster under the name of a group."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from aiokafka.protocol.api import Request
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest

from plantgate.sdk import Deadline, Unavailable
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.fetch import Place
from plantgate_connectors.kafka.link import Link, Unreached, pause

_NO_MEMBER = (-1, "")
"""We are no member of the group: generation and member of one who only keeps positions there."""
_AS_THE_BROKER_DOES = -1

Note: TypeAlias = Callable[[Any], int]
"""Takes what an answer says; returns its error code, 0 for none."""


class Positions:
    """A group's positions, at whichever broker keeps them now."""

    def __init__(self, link: Link, group: str) -> None:
        self._link = link
        self._group = group
        self._broker: int | None = None

    async def load(self, places: Iterable[Place]) -> dict[Place, int]:
        """Offset of the next record, where there is one."""
        by_topic: defaultdict[str, list[int]] = defaultdict(list)
        for topic, partition in places:
            by_topic[topic].append(partition)
        request = OffsetFetchRequest(self._group, list(by_topic.items()))
        found: dict[Place, int] = {}

        def note(answer: Any) -> int:
            code = int(getattr(answer, "error_code", 0))
            for topic, partitions in getattr(answer, "topics", None) or ():
                for partition, offset, _, error in partitions:
                    code = code or error
                    if offset >= 0:
                        found[topic, partition] = int(offset)
            return code

        await self._at_the_coordinator(request, note)
        return found

    async def save(self, offsets: Mapping[Place, int]) -> None:
        """The cluster has them on return."""
        by_topic: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for (topic, partition), offset in offsets.items():
            by_topic[topic].append((partition, offset, ""))
        request = OffsetCommitRequest(self._group, *_NO_MEMBER, _AS_THE_BROKER_DOES, list(by_topic.items()))

        def note(answer: Any) -> int:
            codes = [code for _, partitions in getattr(answer, "topics", None) or () for _, code in partitions]
            return next((code for code in codes if code), 0)

        await self._at_the_coordinator(request, note)

    async def _at_the_coordinator(self, request: Request[Any], note: Note) -> None:
        """Ask until the coordinator, wherever it is by then, has answered."""
        deadline = Deadline.after(self._link.settings.request_seconds)
        while True:
            trouble: Unavailable
            try:
                if self._broker is None:
                    self._broker = await self._find()
                answer = await self._link.ask(self._broker, request, line="group", patience=max(0.1, deadline.left()))
                with self._link.understood():
                    code = note(answer)
                if not code:
                    return
                trouble = refusals.unwanted(code, self._link.who, f"group {self._group}")
                if code not in refusals.STARTING and code not in refusals.PASSING:
                    raise trouble
            except Unreached as error:
                trouble = error
            self._broker = None
            if deadline.left() <= 0.1:
                raise trouble
            await pause()

    async def _find(self) -> int:
        answer = await self._link.ask(self._link.some_broker(), FindCoordinatorRequest(self._group, 0))
        with self._link.understood():
            code, broker = int(answer.error_code), int(answer.coordinator_id)
        if code in refusals.STARTING:
            raise Unreached(f"{self._link.who}: group {self._group}: {refusals.sentence(code)}")
        if code:
            raise refusals.unwanted(code, self._link.who, f"group {self._group}")
        return broker
