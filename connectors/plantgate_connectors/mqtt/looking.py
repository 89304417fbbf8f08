"""What a device has now: its next report, after it was asked for one where it can be asked."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from plantgate.sdk import Context, Deadline, GatewayError, Sample, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.mqtt.commands import Ask, State
from plantgate_connectors.mqtt.post import NOBODY, Post, Word, expiry_seconds, properties
from plantgate_connectors.mqtt.publisher import REFUSED, Message, on_the_wire
from plantgate_connectors.mqtt.settings import MqttSettings, Version
from plantgate_connectors.mqtt.states import States

_LAST_WORD_SECONDS: Final = 0.05
"""So long before the deadline a silent device is given up, so that whoever asked hears why."""


class Looking:
    """Of one session."""

    def __init__(
        self, settings: MqttSettings, context: Context, states: States, post: Post, words: Callable[[int], str]
    ) -> None:
        """`words` are those for a reason code."""
        self._five = settings.version is Version.V5
        self._context, self._states, self._post, self._words = context, states, post, words

    async def look(self, tag: str, state: State, since: float, deadline: Deadline) -> Sample:
        """A report that came after `since` on the loop's clock. Raises `Unavailable` where none comes in time."""
        if (young := self._young(tag, state, since)) is not None:
            return self._plausible(young)
        waiting = self._states.next(tag)
        try:
            if state.ask is not None:
                self._ask(tag, state.ask, deadline, waiting)
            async with asyncio.timeout_at(deadline.at - _LAST_WORD_SECONDS):
                came = await waiting
        except TimeoutError:
            raise Unavailable(f"{tag}: {self._silent(state)}") from None
        finally:
            self._states.forget(tag, waiting)
        if isinstance(came, GatewayError):
            raise came
        return self._plausible(came)

    def _young(self, tag: str, state: State, since: float) -> Sample | None:
        """The last report, where it may be taken for what the machine has."""
        newest = self._states.newest(tag)
        if state.ask is not None or state.fresh_seconds is None or newest is None:
            return None
        young = newest.at >= asyncio.get_running_loop().time() - state.fresh_seconds
        return newest.sample if young and newest.at > since else None

    def _ask(self, tag: str, ask: Ask, deadline: Deadline, waiting: "asyncio.Future[Sample | GatewayError]") -> None:
        """Raises `Unavailable` where the question cannot leave; that nobody heard it is told to who waits."""
        if objection := self._post.objection() or ("too late" if deadline.passed() else ""):
            raise Unavailable(f"{tag}: {objection}; the device was not asked")
        # With QoS 1 it is known whether anybody heard it. Without an expiry it would be kept for a device that is away,
        # question after question.
        qos = 1 if self._five and self._post.qos_max else 0
        written = properties(expires_seconds=expiry_seconds(deadline.left())) if self._five else b""
        word = self._post.send(Message(on_the_wire(ask.topic), ask.payload.encode(), written), qos)
        word.add_done_callback(partial(self._unheard, tag, ask.topic, waiting))

    def _unheard(
        self, tag: str, topic: str, waiting: "asyncio.Future[Sample | GatewayError]", asked: "asyncio.Future[Word]"
    ) -> None:
        word = asked.result()
        if waiting.done() or isinstance(word, Unavailable):
            return
        if word == NOBODY:
            waiting.set_result(Unavailable(f"{tag}: nobody listens at topic {topic!r}, where the device is asked"))
        elif word >= REFUSED:
            why = f"the broker did not take the question on {topic!r}: {self._words(word)}"
            waiting.set_result(Unavailable(f"{tag}: {why}"))

    def _silent(self, state: State) -> str:
        words = f"the device said nothing on {state.topic!r} in time"
        if state.topic.encode() in self._states.kept:
            words += "; what the broker keeps of it (retained) is the broker's memory and no answer"
        if state.ask is None:
            words += "; if something makes it report, write it as state.ask"
        return words

    def _plausible(self, sample: Sample) -> Sample:
        times, qualities = [sample.time], [sample.quality]
        if wrong := doubt_clock(times, qualities, self._context.clock.now()):
            self._context.standing.count("clocks_ahead", wrong)
        return Sample(sample.tag, sample.value, qualities[0], sample.time)
