"""What an operator may write, and what is refused with a sentence."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from plantgate.sdk import Rejected
from plantgate_connectors.ur.setpoint import numbers
from plantgate_connectors.ur.settings import Write
from tests.connectors.ur.given import OFFSET_WRITE, POSE, SPEED_WRITE, settings

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"outputs": []}, "nothing to read or write"),
    ({"outputs": [POSE, {"field": "payload", "tag": "pose"}]}, "tag 'pose' is there twice"),
    ({"outputs": [POSE, {"field": "actual_TCP_pose", "tag": "other"}]}, "is there twice; one tag each"),
    ({"outputs": [{"field": "a,b", "tag": "t"}]}, "should match pattern"),
    ({"frequency_hz": 0.5}, "greater than or equal to 1"),
    ({"frequency_hz": 501}, "less than or equal to 500"),
    ({"dashboard": {}}, "no tag is named"),
    ({"dashboard": {"robot_mode": "pose"}}, "tag 'pose' is there twice"),
    ({"writes": [{**SPEED_WRITE, "registers": ["input_double_register_23"]}]}, "should match pattern"),
    ({"writes": [{**SPEED_WRITE, "registers": ["input_double_register_48"]}]}, "should match pattern"),
    ({"writes": [{**SPEED_WRITE, "registers": ["input_bit_register_63"]}]}, "should match pattern"),
    ({"writes": [{**SPEED_WRITE, "registers": ["speed_slider_fraction"]}]}, "should match pattern"),
    ({"writes": [{**SPEED_WRITE, "confirm": ["output_int_register_24"]}]}, "take one of the same kind"),
    ({"writes": [{**SPEED_WRITE, "confirm": []}]}, "at least 1 item"),
    ({"writes": [{**SPEED_WRITE, "confirm": SPEED_WRITE["confirm"] * 2}]}, "1 registers, 2 to confirm"),
    ({"writes": [{**SPEED_WRITE, "limits": [[1, 0]]}]}, "leave no value"),
    ({"writes": [{**SPEED_WRITE, "limits": [[0, 1], [0, 1]]}]}, "write one each"),
    ({"writes": [OFFSET_WRITE, {**SPEED_WRITE, "tag": OFFSET_WRITE["tag"]}]}, "one write each"),
    (
        {
            "writes": [
                OFFSET_WRITE,
                {**SPEED_WRITE, "registers": ["input_double_register_24"]},
            ]
        },
        "'input_double_register_24' is in",
    ),
    ({"writes": [{**OFFSET_WRITE, "mailbox": {"sequence": "input_int_register_24"}}]}, "Field required"),
    (
        {"writes": [{**OFFSET_WRITE, "mailbox": {**OFFSET_WRITE["mailbox"], "epoch": "input_int_register_26"}}]},  # type: ignore[dict-item]
        "input_int_register_26 is there twice",
    ),
]


@pytest.mark.parametrize(("written", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_cannot_be_is_refused_with_a_sentence(written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings(**written)


@pytest.mark.parametrize(
    "register", ["double_register_24", "double_register_47", "int_register_39", "bit_register_127"]
)
def test_the_upper_registers_are_for_us(register: str) -> None:
    [write] = settings(
        writes=[{"tag": "t", "registers": [f"input_{register}"], "confirm": [f"output_{register}"]}]
    ).writes
    assert write.inputs == (f"input_{register}",)


def test_what_is_unwise_is_said() -> None:
    assert len(settings().doubts()) == 1
    fenced = settings(writes=[OFFSET_WRITE]).doubts()
    assert len(fenced) == 1
    unfenced = settings(writes=[SPEED_WRITE], remote_control="ignored").doubts()
    assert any("no mailbox" in doubt for doubt in unfenced)
    assert any("local control" in doubt for doubt in unfenced)


def test_a_whole_number_that_no_double_holds_is_refused() -> None:
    register, shows = "input_double_register_24", "output_double_register_24"
    wide = Write(tag="t", registers=(register,), confirm=(shows,), limits=((-1e30, 1e30),))
    assert numbers(wide, 2**53) == (2.0**53,)
    with pytest.raises(Rejected, match="9007199254740993 is more exact than a double"):
        numbers(wide, 2**53 + 1)
