"""What devices report of the tags that are written: only what comes while we listen, never what a broker has kept."""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from plantgate.sdk import Batch, GatewayError, Sample, Unavailable
from plantgate.sdk.quality import BAD_DECODING, GOOD
from plantgate_connectors.mqtt.commands import Command, State, same_word
from plantgate_connectors.payloads.documents import MISSING, Unreadable, at, pointer
from plantgate_connectors.payloads.readings import parse_json, reader
from plantgate_connectors.payloads.words import Payload

Look: TypeAlias = Callable[[bytes], Sample | None]
"""What a message says of a tag; None if it says nothing of it."""
_WORDS: Final = bool | int | str


@dataclass(frozen=True, slots=True)
class Report:
    """What a device said it has."""

    sample: Sample
    at: float
    """When it came, on the loop's clock."""


class States:
    """The reports of one session."""

    def __init__(self, commands: Iterable[Command]) -> None:
        self._looks: dict[bytes, list[tuple[str, Look]]] = {}
        for command in commands:
            if command.state is not None:
                looks = self._looks.setdefault(command.state.topic.encode(), [])
                looks.append((command.tag, look_for(command.tag, command.state)))
        self._newest: dict[str, Report] = {}
        self._waiting: dict[str, set[asyncio.Future[Sample | GatewayError]]] = {}
        self.kept: set[bytes] = set()
        """Topics on which the broker gave what it had kept, when we subscribed."""

    def heard(self, topic: bytes, payload: bytes, *, retained: bool) -> bool:
        """A message came; False if it is on nobody's topic."""
        looks = self._looks.get(topic)
        if looks is None:
            return False
        if retained:
            self.kept.add(topic)
            return True
        now = asyncio.get_running_loop().time()
        for tag, look in looks:
            sample = look(payload)
            if sample is not None:
                self._newest[tag] = Report(sample, now)
                self._tell(tag, sample)
        return True

    def newest(self, tag: str) -> Report | None:
        """The last that came in this session."""
        return self._newest.get(tag)

    def next(self, tag: str) -> "asyncio.Future[Sample | GatewayError]":
        """The next report of this tag, or why there will be none; give it back with `forget`."""
        waiting: asyncio.Future[Sample | GatewayError] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tag, set()).add(waiting)
        return waiting

    def forget(self, tag: str, waiting: "asyncio.Future[Sample | GatewayError]") -> None:
        """It is waited for no longer."""
        self._waiting[tag].discard(waiting)

    def fail(self, error: Unavailable) -> None:
        """The connection is gone."""
        for tag in self._waiting:
            self._tell(tag, error)

    def _tell(self, tag: str, word: Sample | GatewayError) -> None:
        for waiting in self._waiting.get(tag, ()):
            if not waiting.done():
                waiting.set_result(word)


def look_for(tag: str, state: State) -> Look:
    """How the messages of a state are read. What cannot be read is a sample of `BAD_DECODING` without value."""
    read, where = reader(state), pointer(state.value)

    def look(payload: bytes) -> Sample | None:
        if state.payload is Payload.JSON and _says_nothing(payload, where):
            return None
        batch = Batch.empty()
        read(batch, tag, payload, GOOD, None)
        return _in_our_words(Sample(tag, batch.values[0], batch.qualities[0], batch.times[0]), state)

    return look


def _says_nothing(payload: bytes, where: tuple[str, ...]) -> bool:
    try:
        return at(parse_json(payload), where) is MISSING
    except Unreadable:
        return False


def _in_our_words(sample: Sample, state: State) -> Sample:
    """True and false for the device's own words for them; nothing for what no machine can have."""
    value = sample.value
    if state.true_is is not None and isinstance(value, _WORDS):
        for word, meaning in ((state.true_is, True), (state.false_is, False)):
            if same_word(value, word):
                return replace(sample, value=meaning)
        return replace(sample, value=None, quality=BAD_DECODING)
    if state.true_is is not None or (isinstance(value, float) and not math.isfinite(value)):
        return replace(sample, value=None, quality=BAD_DECODING)
    return sample
