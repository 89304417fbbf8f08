"""Whatever pydantic can report of a settings model becomes a sentence without its jargon, at the right place."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import AnyUrl, Field, ValidationInfo, field_validator, model_validator

from plantgate.config.judge import Judge
from plantgate.config.yaml12 import parse
from plantgate.sdk import Bytes, Secret, Settings

JARGON = re.compile(r"[Ii]nput|[Vv]alue error|pydantic|valid (string|integer|dict)|JSON|instance|\bNone\b")


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Inner(Settings):
    x: int = 0
    """A number."""
    deep: "Inner | None" = None
    """More of it."""


class Shape(Settings):
    kind: Literal["circle"]
    radius: float


class Square(Settings):
    kind: Literal["square"]
    side: float


class Everything(Settings):
    text: Annotated[str, Field(min_length=2, max_length=5, pattern="^[a-z]*$")] = "ab"
    whole: Annotated[int, Field(ge=1, le=10, multiple_of=2)] = 2
    number: Annotated[float, Field(gt=0, lt=1)] = 0.5
    truth: bool = True
    colour: Colour = Colour.RED
    word: Literal["one", "two", 3] = "one"
    texts: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("a",)
    numbers: list[int] = Field(default_factory=list)
    bag: frozenset[int] = frozenset()
    pair: tuple[int, str] = (1, "a")
    names: dict[str, Inner] = Field(default_factory=dict)
    counts: dict[int, float] = Field(default_factory=dict)
    inner: Inner = Inner()
    perhaps: Inner | None = None
    either: int | Inner = 1
    plain: int | str | bool = 1
    shape: Annotated[Shape | Square, Field(discriminator="kind")] | None = None
    path: Path = Path("x")
    size: Bytes = 5
    secret: Secret | None = None
    url: AnyUrl | None = None
    day: date | None = None
    moment: datetime | None = None
    span: timedelta | None = None
    exact: Decimal | None = None
    address: IPv4Address | None = None
    id: UUID | None = None
    nothing: None = None
    checked: int = 0

    @field_validator("checked")
    @classmethod
    def _checked(cls, written: int) -> int:
        if written >= 5:
            raise AssertionError("must stay below 5; write 4")
        return written

    @model_validator(mode="after")
    def _whole(self) -> "Everything":
        if self.whole == 4:
            raise ValueError("whole 4 is unlucky; write 2\nnumbers: nothing is wrong with them\ninner.x: this neither")
        return self


def judged(written: str) -> list[str]:
    document = parse(written.encode())
    judge = Judge(document, "f.yaml", Path("/plant"))
    settings = judge.settings(Everything, document.root, ())
    assert (settings is None) == bool(judge.problems)
    return [str(problem) for problem in judge.problems]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("text: a", "text: must have at least 2 characters"),
        ("text: abcdef", "text: must have at most 5 characters"),
        ("text: ABC", "text: `ABC` does not have the form ^[a-z]*$"),
        ("text: 5", 'text: expected text, not `5`; write it in quotes: "5"'),
        ("text: true", 'text: expected text, not true; write it in quotes: "true"'),
        ("text: [a]", "text: expected text, not a list"),
        ("text:", "text: has no value; write text, or remove the line"),
        ("whole: 0", "whole: must be at least 1, not `0`"),
        ("whole: 12", "whole: must be at most 10, not `12`"),
        ("whole: 3", "whole: must be a multiple of 2, not `3`"),
        ("whole: 2.5", "whole: expected a whole number, not `2.5`"),
        ("whole: 2.0", "whole: expected a whole number, not `2.0`; write 2"),
        ('whole: "2"', "whole: expected a whole number, not the text `2`; write 2 without quotes"),
        ("whole: true", "whole: expected a whole number, not true"),
        ("number: 0", "number: must be more than 0, not `0`"),
        ("number: 1", "number: must be less than 1, not `1`"),
        ("number: half", "number: expected a number, not the text `half`"),
        ("truth: yes", "truth: expected true or false, not the text `yes`; write true, without quotes"),
        ("truth: 0", "truth: expected true or false, not `0`"),
        ("colour: rde", "colour: `rde` is not one of its values; did you mean `red`? (there are red, green)"),
        ("colour: 7", "colour: `7` is not one of its values; write one of red, green"),
        ("colour: [red]", "colour: expected one of red, green, not a list"),
        ("colour:", "colour: has no value; write one of red, green, or remove the line"),
        ("word: three", "word: `three` is not one of its values; write one of one, two"),
        ("texts: []", "texts: must not be empty"),
        ("texts: [a, b, c]", "texts: must have at most 2 members"),
        ("texts: a", "texts: expected a list, not the text `a`; write [a]"),
        ("texts: [a, 5]", 'texts[1]: expected text, not `5`; write it in quotes: "5"'),
        ("numbers: { a: 1 }", "numbers: expected a list, not `name: value` lines; each member begins with `- `"),
        ("bag: 5", "bag: expected a list, not `5`"),
        ("pair: [1]", "pair: needs at least 2 members"),
        ("pair: [1, a, b]", "pair: must have at most 2 members"),
        ("names: { a: { y: 1 } }", "names.a.y: unknown setting; there are x, deep"),
        ("names: [a]", "names: expected `name: value` lines, not a list"),
        ("counts: { a: 1.5 }", "counts.a: expected a whole number, not the text `a`"),
        ("counts: { 5: b }", "counts.5: expected a number, not the text `b`"),
        ("inner: 5", "inner: expected `name: value` lines, not `5`; its settings are x, deep"),
        ("inner: { deep: { deep: { x: a } } }", "inner.deep.deep.x: expected a whole number, not the text `a`"),
        ("inner: { deep: { truth: false } }", "inner.deep.truth: unknown setting here; it belongs at the top"),
        ("perhaps: { z: 1 }", "perhaps.z: unknown setting; there are x, deep"),
        ("either: { z: 1 }", "either.z: unknown setting; there are x, deep"),
        ("either: a", "either: expected a whole number or `name: value` lines, not the text `a`"),
        ("plain: []", "plain: expected a whole number or text or true or false, not a list"),
        ("shape: { kind: cirle, radius: 1 }", "shape: `cirle` is not one of its values; did you mean `circle`?"),
        ("shape: { radius: 1 }", "shape: has no kind; it must be given"),
        ("shape: { kind: circle, radius: a }", "shape.radius: expected a number, not the text `a`"),
        ("path: 5", 'path: expected text, not `5`; write it in quotes: "5"'),
        ("size: 5 potatoes", "size: '5 potatoes' is not a size"),
        ("size: true", "size: expected a whole number, not true"),
        ("secret: hunter2", "secret: a secret is written as a reference"),
        ("secret: 5", "secret: a secret is written as a reference"),
        ("url: nowhere", "url: expected a URL such as https://erp.example/api, not the text `nowhere`"),
        ("day: tomorrow", "day: expected a date such as 2026-01-31, not the text `tomorrow`"),
        ("moment: noon", "moment: expected a time such as 2026-01-31T06:30:00Z, not the text `noon`"),
        ("span: long", "span: expected a duration such as PT90S, not the text `long`"),
        ("exact: x", "exact: expected a number, not the text `x`"),
        ("address: localhost", "address: Expected 4 octets in 'localhost'"),
        ("id: x", "id: expected a UUID, not the text `x`"),
        ("nothing: 5", "nothing: expected null, not `5`"),
        ("checked: 9", "checked: must stay below 5; write 4"),
        ("tuth: true", "tuth: unknown setting; did you mean `truth`?"),
        ("x: 1", "x: unknown setting here; it belongs under `inner:`"),
    ],
)
def test_a_wrong_value_is_told_as_a_sentence(written: str, said: str) -> None:
    (problem,) = judged(written)
    where, _, text = problem.partition(": ")
    assert re.fullmatch(r"f\.yaml:1:\d+", where)
    assert said in text
    assert not JARGON.search(text.replace("(None)", ""))


def test_each_line_of_a_validators_words_is_told_where_it_points() -> None:
    assert judged("whole: 4\nnumbers: [1]\ninner: { x: 1 }\n") == [
        "f.yaml:1:8: whole: whole 4 is unlucky; write 2",
        "f.yaml:2:10: numbers: nothing is wrong with them",
        "f.yaml:3:13: inner.x: this neither",
    ]


def test_a_value_that_may_be_a_secret_is_never_repeated() -> None:
    class Login(Settings):
        password: Annotated[str, Field(max_length=3)] = ""
        api_key: int = 0
        token_of_access: Colour = Colour.RED

    document = parse(b"password: [hunter2]\napi_key: hunter2\ntoken_of_access: hunter2\n")
    judge = Judge(document, "f.yaml", Path("/plant"))
    judge.settings(Login, document.root, ())
    assert len(judge.problems) == 3
    assert not any("hunter2" in problem.text for problem in judge.problems)


def test_validators_are_told_the_folder_of_the_plant_file() -> None:
    class Reading(Settings):
        where: str = ""

        @field_validator("where")
        @classmethod
        def _where(cls, written: str, info: ValidationInfo) -> str:
            assert isinstance(info.context, dict)
            return f"{info.context['folder']}/{written}"

    document = parse(b"where: tags.csv\n")
    settings = Judge(document, "f.yaml", Path("/plant")).settings(Reading, document.root, ())
    assert settings == Reading.model_construct(where="/plant/tags.csv")
