"""Conditions in CEL: true, or no."""

import re

import pytest

from plantgate.control.condition import Condition, Expression
from plantgate.sdk import Value

NAN = float("nan")


@pytest.mark.parametrize(
    ("text", "facts", "saw"),
    [
        ("speed < 0.5", {"speed": 0.4}, ""),
        ("speed < 0.5", {"speed": 0.5}, "is not so"),
        ("speed < 0.5", {"speed": NAN}, "not a value that can be judged"),
        ("!(speed > 0.5)", {"speed": NAN}, "not a value that can be judged"),
        ("speed < 0.5", {"speed": float("inf")}, "not a value that can be judged"),
        ("speed < 0.5", {"speed": None}, "not a value that can be judged"),
        ("speed < 0.5", {"speed": "slow"}, "cannot be judged"),
        ("speed", {"speed": 1}, "neither true nor false"),
        ("speed == 1", {"speed": 2**63}, "not a value that can be judged"),
        ("parts.exists(p, p.score > 0.9)", {"parts": [{"score": 0.5}, {"score": 0.95}]}, ""),
        ("parts.exists(p, p.score > 0.9)", {"parts": [{"score": NAN}, {"score": 0.95}]}, "not a value that can be"),
        ("parts.all(p, p.score > 0.9)", {"parts": []}, ""),
        ("1 / count > 0", {"count": 0}, "cannot be judged"),
        ("parts[3] == 1", {"parts": [1]}, "cannot be judged"),
        ("part.missing == 1", {"part": {}}, "cannot be judged"),
    ],
)
def test_an_error_or_anything_but_true_is_no(text: str, facts: dict[str, Value], saw: str) -> None:
    objection = Condition(text, tuple(facts)).objection(facts)
    assert saw in objection
    assert bool(objection) == bool(saw)


@pytest.mark.parametrize(
    ("text", "saw"),
    [
        ("speed <", "is not CEL"),
        ("sped < 0.5", "speaks of `sped`, which is not declared; declared are: speed"),
        ("parts.exists(p, p > speed)", "speaks of `parts`"),
        ("speed < 1.0 " + "&& speed < 1.0 " * 200, "at most 2000 are read"),
        ("(" * 900 + "true" + ")" * 900, "is not CEL"),
    ],
)
def test_what_is_no_condition_is_said_when_it_is_written(text: str, saw: str) -> None:
    with pytest.raises(ValueError, match=re.escape(saw)):
        Condition(text, ("speed",))


def test_a_nest_without_end_is_no_value() -> None:
    nested: Value = 1
    for _ in range(50):
        nested = [nested]
    assert "can be judged" in Condition("nested == 1", ("nested",)).objection({"nested": nested})


def test_an_expression_gives_numbers_and_lists() -> None:
    assert Expression("part.x / 1000.0", ("part",)).of({"part": {"x": 2.5}}) == 0.0025
    assert Expression("[part.x, 0.0]", ("part",)).of({"part": {"x": 2.5}}) == [2.5, 0.0]
