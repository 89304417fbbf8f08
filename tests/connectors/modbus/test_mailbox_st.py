"""The sample program for PLCs and the twin that the tests use: what can be compared without a compiler."""

import re
from pathlib import Path

import plantgate_connectors.modbus
from plantgate_connectors.modbus.mailbox import Verdict
from tests.peers import plc_mailbox

SAMPLE = (Path(plantgate_connectors.modbus.__file__).parent / "mailbox.st").read_text(encoding="utf-8")
CODE = re.sub(r"\(\*.*?\*\)", "", SAMPLE, flags=re.DOTALL)
GIVEN = dict(re.findall(r"^\s*(\w+) : \w+ := (.+?);", CODE, re.MULTILINE))


def numbers(name: str) -> tuple[float, ...]:
    return tuple(float(number) for number in GIVEN[name].strip("[]").split(","))


def test_the_twin_has_the_limits_of_the_sample() -> None:
    assert numbers("LOW") == plc_mailbox.LOW
    assert numbers("HIGH") == plc_mailbox.HIGH
    assert numbers("FALLBACK") == plc_mailbox.FALLBACK
    assert int(GIVEN["SILENCE_MS"]) == plc_mailbox.SILENCE_MS
    assert int(GIVEN["TAGS"]) == len(plc_mailbox.LOW)


def test_sample_twin_and_connector_give_the_verdicts_the_same_numbers() -> None:
    for verdict in Verdict:
        assert int(GIVEN[verdict.name]) == verdict.value == getattr(plc_mailbox, verdict.name)


def test_a_fallback_lies_within_the_limits() -> None:
    for low, fallback, high in zip(numbers("LOW"), numbers("FALLBACK"), numbers("HIGH"), strict=True):
        assert low <= fallback <= high


def test_the_checksum_is_the_last_thing_that_is_written_of_the_echo() -> None:
    assert re.findall(r"echo\[(\d+)\] :=", CODE)[-1] == "11"


def test_every_block_has_its_end() -> None:
    for opens, ends in (("IF", "END_IF"), ("FOR", "END_FOR"), ("WHILE", "END_WHILE"), ("FUNCTION", "END_FUNCTION")):
        assert len(re.findall(rf"^\s*{opens}\b", CODE, re.MULTILINE)) == len(re.findall(rf"\b{ends};?$", CODE, re.M))
