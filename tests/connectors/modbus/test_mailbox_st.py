"""The sample program for PLCs and the twin that the tests use: the same numbers, and scan by scan the same words."""

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import plantgate_connectors.modbus
from plantgate_connectors.modbus.mailbox import Order, Verdict, echo
from tests.connectors.modbus.structured_text import Udint, Word, function_block
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


NUMBERS = (0.0, -0.0, 20.0, 80.0, 120.0, 120.1, -0.1, 1e300, 5e-324, 2.0**64, 2.0**-513, float("inf"), float("nan"))


def boxes(luck: random.Random, twin: plc_mailbox.Program) -> Iterator[bytes]:
    """What may lie in the mailbox: orders that fit the twin, and nearly do; old, damaged and half ones."""
    kept = [bytes(24)]
    while True:
        match luck.randrange(20):
            case 0:
                yield luck.choice(kept[-8:])
            case 1:
                damaged = bytearray(kept[-1])
                damaged[luck.randrange(24)] ^= 1 << luck.randrange(8)
                yield bytes(damaged)
            case 2:
                half = 2 * luck.randrange(12)
                yield kept[-1][:half] + luck.choice(kept[-8:])[half:]
            case 3 | 4 | 5:
                yield kept[-1]
            case _:
                order = Order(
                    (twin.epoch + luck.choice((0, 0, 0, 0, 0, 1, 2, -1))) % 2**32,
                    luck.choice((*[twin.sequence + 1] * 5, twin.sequence, 0, twin.sequence + 2)) % 2**16,
                    luck.choice((twin.heartbeat, luck.randrange(2**16), luck.randrange(2**16))),
                    luck.choice((1, 2, 1, 2, 1, 2, 0, 3, 65_535)),
                    struct.pack(">d", luck.choice((luck.uniform(0.0, 130.0), luck.choice(NUMBERS)))),
                    (twin.beat_ms + luck.choice((0, 1, 5000, 5000, 2**31, -5000))) % 2**32,
                )
                kept.append(order.pack())
                yield kept[-1]


def differs(source: str, seed: int, scans: int) -> str:
    """Where the sample says something else than the twin; empty if nowhere."""
    luck = random.Random(seed)
    its, scan = function_block(source)
    twin, clock = plc_mailbox.Program(), luck.randrange(2**32)
    lies = boxes(luck, twin)
    for number in range(scans):
        clock = (clock + luck.choice((0, 1, 10, 10, 10, 100, 1500, 3000, 3001))) % 2**32
        box = next(lies)
        if luck.random() < 0.005:  # power off and on: what is not RETAIN begins anew
            (its, scan), epoch = function_block(source), its.epoch
            its.epoch, fresh = epoch, plc_mailbox.Program(epoch=twin.epoch)
            vars(twin).update(vars(fresh))
        if luck.random() < 0.002:
            its.sequence, twin.sequence = Word(65_534), 65_534
        if luck.random() < 0.001:
            its.epoch, twin.epoch = Udint(2**32 - 2), 2**32 - 2
        its.box, its.clock_ms = [Word(word) for word in struct.unpack(">12H", box)], Udint(clock)
        scan(its)
        shown, _ = twin.scan(box, clock)
        if struct.pack(">12H", *its.echo) != shown or echo(shown) is None:
            return f"echo after {number} scans"
        if struct.pack(">2d", its.setpoint[1], its.setpoint[2]) != struct.pack(">2d", *twin.setpoint):
            return f"setpoints after {number} scans"
    return ""


@pytest.mark.parametrize("seed", range(2))
def test_sample_and_twin_show_the_same_scan_by_scan(seed: int) -> None:
    assert differs(SAMPLE, seed, 1000) == ""


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("sent_sequence = sequence + 1 THEN", "sent_sequence > sequence THEN"),
        ("sequence < 65535 AND ", ""),
        ("left_ms = 0 OR ", ""),
        ("clock_ms - beat_ms > SILENCE_MS", "clock_ms - beat_ms >= SILENCE_MS"),
        ("IF box[10] <> heartbeat THEN", "IF TRUE THEN"),
        ("sent_epoch > epoch AND sent_sequence = 0", "sent_epoch >= epoch AND sent_sequence = 0"),
        ("epoch := epoch + 1;", "epoch := epoch;"),
        ("value >= LOW[tag]", "value > LOW[tag]"),
        ("    setpoint := FALLBACK;\n    heartbeat := box[10];", "    heartbeat := box[10];"),
        ("number := 1.0 + number / 16.0", "number := 1.0 + number / 8.0"),
        ("16#A001", "16#8408"),
    ],
)
def test_a_sample_that_says_something_else_is_found(line: str, other: str) -> None:
    assert SAMPLE.count(line) == 1
    changed = SAMPLE.replace(line, other)
    assert any(differs(changed, seed, 1500) for seed in range(8))
