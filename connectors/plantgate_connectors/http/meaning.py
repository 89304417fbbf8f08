"""What a payload means: the part of the settings that receiving and polling share."""

from typing import Self

from pydantic import Field, model_validator

from plantgate.sdk import Settings
from plantgate_connectors.http.paths import Template
from plantgate_connectors.payloads.words import Payload, TimeUnit, check_pointers


class Meaning(Settings):
    """How a payload becomes samples."""

    payload: Payload = Payload.JSON
    """`number`, `text`, `json` (the value at `value`, or several at `values`), `fields` (a JSON object: each field
    becomes `tag/field`), or `plantgate` (what another plantgate sends: tags, times, qualities, gaps as they were)."""
    tag: str | None = None
    """The tag's name, for `number`, `text`, `fields`, and `json` with `value`."""
    value: str | None = None
    """JSON Pointer (RFC 6901) to the value or, with `fields`, to the object: `/readings/0/value`; empty: the whole."""
    values: dict[str, str] = Field(default={})
    """Several tags from one JSON payload, each with the JSON Pointer to its value: `{ oven/temperature: /temp }`."""
    time: str | None = None
    """JSON Pointer to the source time: RFC 3339 text, or a number in `time_unit`; without it samples carry none."""
    time_unit: TimeUnit = TimeUnit.MILLISECONDS
    """What a number at `time` counts: `s`, `ms`, `us` or `ns` since 1970 UTC."""
    quality: str | None = None
    """JSON Pointer to the quality: an OPC UA StatusCode, `true`/`false`, or `Good`, `Uncertain`, `Bad`."""

    @model_validator(mode="after")
    def _reads(self) -> Self:
        named: dict[str, str | None] = {
            "value": self.value,
            "time": self.time,
            "quality": self.quality,
            **{f"values.{tag}": pointer for tag, pointer in self.values.items()},
        }
        check_pointers(self.payload, named, inside="payload")
        if self.values and (self.payload is not Payload.JSON or self.tag is not None or self.value is not None):
            raise ValueError("values is for payload: json, and stands instead of tag and value")
        if self.payload is Payload.PLANTGATE and self.tag is not None:
            raise ValueError("tag: what another plantgate sends has tags of its own; leave tag out")
        if self.payload is not Payload.PLANTGATE and not self.values and self.tag is None:
            raise ValueError("no tag is named; write tag, or for payload: json several under values")
        return self

    def templates(self) -> dict[str, Template]:
        """Every text that makes a tag's name, by where it is written."""
        found = {} if self.tag is None else {"tag": Template(self.tag)}
        return found | {f"values.{tag}": Template(tag) for tag in self.values}

    @property
    def name(self) -> str:
        """What to call it in a log."""
        return self.tag or next(iter(self.values), self.payload.value)
