"""What an operator writes of the commands that may be published, and of how a device says what became of them."""

from collections.abc import Iterable
from itertools import combinations
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from plantgate.sdk import Settings
from plantgate_connectors.mqtt.placing import Unplaceable, placed
from plantgate_connectors.mqtt.topics import Template, topic_problem
from plantgate_connectors.payloads.documents import pointer
from plantgate_connectors.payloads.words import Payload, TimeUnit, check_pointers

Word: TypeAlias = bool | int | str
"""What a device writes for one of a few meanings."""
Seconds = Annotated[float, Field(gt=0, le=3600)]
ONE_VALUE = (Payload.NUMBER, Payload.TEXT, Payload.JSON)
OneValue = Annotated[Payload, WithJsonSchema({"type": "string", "enum": [payload.value for payload in ONE_VALUE]})]
Told = Annotated[Payload, WithJsonSchema({"type": "string", "enum": [Payload.JSON.value, Payload.TEXT.value]})]


class Ask(Settings):
    """A question that makes the device report."""

    topic: str
    """Where it is published, never retained: `zigbee2mqtt/valve/get`, `cmnd/pump/POWER`."""
    payload: str = ""
    """What it says; nothing by default."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        return _may_be_published_to(topic)


class State(Settings):
    """Where the device reports what it has, and what its messages mean."""

    topic: str
    """One topic, without wildcards."""
    payload: OneValue = Payload.NUMBER
    """`number`, `text` or `json` (one value at `value`)."""
    value: str = ""
    """JSON Pointer (RFC 6901) to the value; empty: the whole. A message without it says nothing of this tag."""
    time: str | None = None
    """JSON Pointer to the source time: RFC 3339 text, or a number in `time_unit`; without it there is none."""
    time_unit: TimeUnit = TimeUnit.MILLISECONDS
    """What a number at `time` counts: `s`, `ms`, `us` or `ns` since 1970 UTC."""
    quality: str | None = None
    """JSON Pointer to the quality: an OPC UA StatusCode, `true`/`false`, or `Good`, `Uncertain`, `Bad`."""
    true_is: Word | None = None
    """How the device writes true, where it does not write `true` in JSON: `ON`, `1`. Anything but this and `false_is`
    is unreadable then."""
    false_is: Word | None = None
    """How it writes false."""
    ask: Ask | None = None
    """What makes it report. Without it a look at the machine waits for the next report, for five seconds at most."""
    fresh_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Without `ask`: a report this young is taken for what the machine has, if it came after our last command of the
    tag. Write it only for a device that reports as soon as something changes."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        return _may_be_published_to(topic)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.payload not in ONE_VALUE:
            raise ValueError("payload: a state is one value; write number, text or json")
        check_pointers(
            self.payload, {"value": self.value or None, "time": self.time, "quality": self.quality}, inside="message"
        )
        _check_words(self.payload, self.true_is, self.false_is)
        if self.ask is not None and self.fresh_seconds is not None:
            raise ValueError("fresh_seconds: a device that can be asked is asked each time; leave out one of the two")
        return self


class Answer(Settings):
    """How the device answers a command: on a topic of ours, with the command's number (request and response)."""

    topic: str = "plantgate/answers/{client_id}"
    """Where the answers are heard, told to the device as MQTT 5 Response Topic. `{connection}` and `{client_id}` are
    replaced; no two gateways may share it."""
    id: str | None = None
    """JSON Pointer to the command's number, put there in the command and expected there in its answer, for devices that
    know nothing of MQTT 5: `/id`, `/transaction`. Without it the number travels as MQTT 5 Correlation Data."""
    payload: Told = Payload.JSON
    """`json`, or `text`: the whole message is the word."""
    value: str = ""
    """JSON Pointer to the word that says what became of the command; empty: the whole."""
    accepted: tuple[Word, ...] = ()
    """Words that mean that the device took it; without any, whatever stands at `value` means it."""
    refused: tuple[Word, ...] = ()
    """Words that mean that it did not. What is neither is waited past, and in the end an unknown outcome."""
    error: str | None = None
    """JSON Pointer to the reason of a refusal: an answer with anything there but null or an empty text is one."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        Template(topic).only({"connection", "client_id"}, "topic")
        _may_be_published_to(Template(topic).example())
        return topic

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.payload not in (Payload.JSON, Payload.TEXT):
            raise ValueError("payload: an answer is json or text")
        check_pointers(self.payload, {"value": self.value or None, "id": self.id, "error": self.error}, "answer")
        if not self.accepted and not self.value:
            raise ValueError("accepted: write the words that mean yes, or a value that only such an answer has")
        if both := [word for word in self.accepted if any(same_word(word, other) for other in self.refused)]:
            raise ValueError(f"{both[0]!r} cannot mean both accepted and refused")
        return self


class Command(Settings):
    """One tag that can be written: the message that sets it, and how the device says what it has."""

    tag: str
    """The tag, as under `control.writes`."""
    topic: str
    """Where the command is published, never retained."""
    payload: OneValue = Payload.NUMBER
    """`number`, `text` (numbers and texts as they are), or `json` (the value at `value` of `template`)."""
    value: str = ""
    """JSON Pointer (RFC 6901) to where the value is put; objects on the way there are made. Empty: it is the whole."""
    template: dict[str, Any] | None = None
    """With `json`: what else the message says, for example `{ transition: 0 }`."""
    until: str | None = None
    """JSON Pointer to where the command's deadline is put, in whole milliseconds since 1970 UTC by the gateway's clock:
    for a device that refuses what comes later, which no broker can promise."""
    true_is: Word | None = None
    """How true is written to the device, where it is not `true`: `ON`, `1`."""
    false_is: Word | None = None
    """How false is written."""
    qos: Annotated[int, Field(ge=0, le=1)] = 1
    """1: the broker confirms that it has the command; 0: only `answer` or `state` can tell that anybody heard it."""
    confirm_seconds: Seconds = 5.0
    """How long the broker's confirmation, and with `answer` the device's, is waited for before the outcome counts as
    unknown; also beyond the command's deadline. `settle_seconds` of the tag counts as well."""
    state: State | None = None
    """Where the device reports what it has; nothing is written to a tag that cannot be read back."""
    answer: Answer | None = None
    """For a device that answers each command."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        return _may_be_published_to(topic)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.payload not in ONE_VALUE:
            raise ValueError("payload: a command is one value; write number, text or json")
        json = self.payload is Payload.JSON
        check_pointers(self.payload, {"value": self.value or None, "until": self.until}, inside="message")
        if self.template is not None and not json:
            raise ValueError("template: only payload: json has one")
        if self.template is not None and not self.value:
            raise ValueError("value: say where in the template the value goes, for example /state")
        _check_words(self.payload, self.true_is, self.false_is)
        self._check_places()
        return self

    def _check_places(self) -> None:
        """Each thing in the message has a place of its own, and there is a way to it."""
        number = None if self.answer is None else self.answer.id
        beside = {name: place for name, place in (("answer.id", number), ("until", self.until)) if place is not None}
        if beside and not (self.payload is Payload.JSON and self.value):
            raise ValueError(f"{next(iter(beside))}: it needs a place beside the value; write payload: json and value")
        places = [(name, pointer(place)) for name, place in {"value": self.value, **beside}.items()]
        for (one, first), (other, second) in combinations(places, 2):
            if first[: len(second)] == second[: len(first)]:
                raise ValueError(f"{one} and {other} are the same place in the command")
        try:
            self.document(0, "", 0)
        except Unplaceable as error:
            raise ValueError(f"value: {error}") from None

    def document(self, value: object, number: str, until_ms: int) -> object:
        """What a JSON command says."""
        document = placed(self.template, pointer(self.value), value)
        if self.answer is not None and self.answer.id is not None:
            document = placed(document, pointer(self.answer.id), number)
        if self.until is not None:
            document = placed(document, pointer(self.until), until_ms)
        return document


def echoing(commands: Iterable[Command]) -> str:
    """What would be heard there though we have said it ourselves, in a sentence; empty if nothing would.

    A broker gives a message to all who listen, and so to us, who would take it for the device's.
    """
    written, heard = set[str](), set[str]()
    for command in commands:
        written.add(command.topic)
        if command.answer is not None:
            heard.add(command.answer.topic)
        if command.state is not None:
            heard.add(command.state.topic)
            written |= {command.state.ask.topic} if command.state.ask is not None else set()
    if both := sorted(written & heard):
        return f"{both[0]!r} is where we publish; a device is heard on a topic on which only it speaks"
    return ""


def same_word(one: object, other: object) -> bool:
    """Whether two words are the same; true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return type(one) is type(other) and one == other


def _may_be_published_to(topic: str) -> str:
    if problem := topic_problem(topic):
        raise ValueError(f"{topic!r} is not one topic: {problem}")
    return topic


def _check_words(payload: Payload, yes: Word | None, no: Word | None) -> None:
    if (yes is None) != (no is None):
        raise ValueError("true_is and false_is: write both or neither")
    if yes is None or no is None:
        return
    if same_word(yes, no):
        raise ValueError(f"true_is and false_is are both {yes!r}")
    fitting = {Payload.TEXT: str, Payload.NUMBER: int}.get(payload)
    if fitting is not None and not (type(yes) is type(no) is fitting):
        kind = "texts in quotes" if fitting is str else "whole numbers"
        raise ValueError(f"true_is and false_is: with payload: {payload.value} both are {kind}")
