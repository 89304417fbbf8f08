"""What a device that breaks the rules can do to us: cost itself its polls, and nothing else."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plantgate.sdk import Batch, Source
from plantgate.sdk.quality import GOOD
from plantgate.testing.simloop import running
from plantgate_connectors.modbus import Modbus
from plantgate_connectors.modbus.refusals import BAD_COMMUNICATION, BAD_NO_COMMUNICATION
from tests.connectors.modbus.given import HOST, collect, count_up, counters, device, modbus, settings, tag
from tests.connectors.modbus.twin import Question, Twin, twin

OTHER = "other"
Spoil = Callable[[Twin, Question, bytes], list[bytes | float]]


def header(question: Question, *, transaction: int | None = None, protocol: int = 0, length: int, unit: int) -> bytes:
    number = question.transaction if transaction is None else transaction
    return b"".join(value.to_bytes(2, "big") for value in (number & 0xFFFF, protocol, length)) + bytes((unit,))


def framed(question: Question, pdu: bytes, **wrong: int) -> bytes:
    """An answer with something wrong in its header."""
    fields = {"length": len(pdu) + 1, "unit": question.unit, **wrong}
    return header(question, **fields) + pdu  # type: ignore[arg-type]  # as the test writes them


@asynccontextmanager
async def beside_a_good_one(folder: Path, *, rtu: bool = False) -> AsyncIterator[tuple[Twin, Modbus, Source]]:
    """A device to misbehave, and one that must not notice, each at an address of its own."""
    async with twin(HOST, rtu=rtu) as bad, twin(OTHER, rtu=rtu) as good:
        bad.set(1, 0, 1234)
        count_up(good)
        devices = [device("bad", 1, tag("bad", 0)), device("good", 1, tag("good", 0), host=OTHER)]
        connector = modbus(folder, devices=devices, framing="rtu_over_tcp" if rtu else "tcp", timeout_ms=500)
        async with connector.source() as source:
            yield bad, connector, source


async def watched(source: Source, seconds: float) -> Batch:
    """All that comes in a while."""
    found = Batch.empty()
    try:
        async with asyncio.timeout(seconds):
            while True:
                batch = await source.read()
                found.extend(batch)
                await source.ack(batch.cursor)
    except TimeoutError:
        return found


def of(batch: Batch, name: str) -> list[tuple[object, int]]:
    return [(sample.value, sample.quality) for sample in batch if sample.tag == name]


SPOILT: dict[str, Spoil] = {
    "length 0": lambda twin, q, pdu: [framed(q, pdu, length=0)],
    "length 1": lambda twin, q, pdu: [framed(q, pdu, length=1)],
    "length 65535": lambda twin, q, pdu: [framed(q, pdu, length=65535)],
    "protocol id 1": lambda twin, q, pdu: [framed(q, pdu, protocol=1)],
    "truncated header, then silence": lambda twin, q, pdu: [framed(q, pdu)[:5]],
    "truncated body, then silence": lambda twin, q, pdu: [framed(q, pdu)[:9]],
    "a byte a second": lambda twin, q, pdu: [x for byte in framed(q, pdu) for x in (bytes((byte,)), 1.0)],
    "wrong transaction id": lambda twin, q, pdu: [framed(q, pdu, transaction=q.transaction + 1)],
    "transaction id 0": lambda twin, q, pdu: [framed(q, pdu, transaction=0)],
    "other unit": lambda twin, q, pdu: [framed(q, pdu, unit=9)],
    "other function": lambda twin, q, pdu: [framed(q, b"\x04" + pdu[1:])],
    "byte count one more": lambda twin, q, pdu: [framed(q, bytes((pdu[0], pdu[1] + 1)) + pdu[2:])],
    "byte count one less": lambda twin, q, pdu: [framed(q, bytes((pdu[0], pdu[1] - 1)) + pdu[2:])],
    "byte count 255": lambda twin, q, pdu: [framed(q, bytes((pdu[0], 255)) + pdu[2:])],
    "one register more than asked": lambda twin, q, pdu: [framed(q, bytes((pdu[0], pdu[1] + 2)) + pdu[2:] + b"\0\0")],
    "exception of another function": lambda twin, q, pdu: [framed(q, b"\x84\x02")],
    "an exception with a byte too many": lambda twin, q, pdu: [framed(q, b"\x83\x02\x00")],
    "one MiB of noise": lambda twin, q, pdu: [random.Random(7).randbytes(2**16)] * 16,
    "nothing": lambda twin, q, pdu: [],
}


@pytest.mark.simulated(seeds=2)
@pytest.mark.parametrize("wrong", SPOILT)
async def test_an_answer_that_breaks_the_rules_is_a_bad_sample_and_nobody_else_notices(
    tmp_path: Path, wrong: str
) -> None:
    async with beside_a_good_one(tmp_path) as (bad, _, source):
        bad.reply = lambda question, pdu: SPOILT[wrong](bad, question, pdu)
        found = await watched(source, 20.0)
    told = of(found, "bad")
    assert told, "nothing was said of the bad device"
    assert all(value is None and quality in (BAD_COMMUNICATION, BAD_NO_COMMUNICATION) for value, quality in told)
    assert len(told) < 8, "it is told when it changes, not at each poll"
    assert len(of(found, "good")) >= 195, "the good device waited for the bad one"


@pytest.mark.simulated(seeds=2)
@pytest.mark.parametrize(
    "wrong", ["length 65535", "wrong transaction id", "other function", "a byte a second", "nothing"]
)
async def test_a_device_that_comes_to_its_senses_is_read_again_and_the_gap_is_told(tmp_path: Path, wrong: str) -> None:
    async with beside_a_good_one(tmp_path) as (bad, _, source):
        await collect(source, 4)
        bad.reply = lambda question, pdu: SPOILT[wrong](bad, question, pdu)
        await watched(source, 5.0)
        bad.reply = None
        found = await watched(source, 60.0)
    assert of(found, "bad")[-1] == (1234, GOOD)
    assert [gap.tags for gap in found.gaps] == [("bad",)]
    assert (found.gaps[0].lost or 0) >= 45


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 10, 11, 255])
async def test_every_exception_code_is_a_bad_quality_with_its_name(tmp_path: Path, code: int) -> None:
    async with beside_a_good_one(tmp_path) as (bad, connector, source):
        bad.refused[1, 3, 0] = code
        found = await watched(source, 3.0)
    [(value, quality)] = of(found, "bad")
    assert value is None
    assert quality >> 31, "not bad"
    assert len(of(found, "good")) >= 29
    if code in (1, 2, 3):
        assert any(f"exception {code} (illegal" in str(facts) for _, _, facts in connector.context.log.lines)  # type: ignore[attr-defined]  # recorded


@pytest.mark.simulated(seeds=3)
async def test_two_answers_in_one_piece_and_one_in_seven_are_the_same_answers(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.set(1, 0, 11)
        plc.set(1, 1000, 22)
        held: list[bytes] = []

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            held.append(plc.frame(question, pdu))
            if len(held) % 2:
                return []
            glued = b"".join(held[-2:])
            if len(held) % 4:
                return [glued]
            step = -(-len(glued) // 7)
            return [part for at in range(0, len(glued), step) for part in (glued[at : at + step], 0.01)]

        plc.reply = reply
        connector = modbus(tmp_path, in_flight_max=2, devices=[device("d", 1, tag("a", 0), tag("b", 1000))])
        async with connector.source() as source:
            found = await watched(source, 5.0)
    assert set(found.qualities) == {GOOD}
    assert {(sample.tag, sample.value) for sample in found} == {("a", 11), ("b", 22)}
    assert len(found) >= 98


@pytest.mark.simulated(seeds=3)
async def test_answers_nobody_asked_for_and_answers_sent_twice_are_dropped(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        count_up(plc)

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            stray = framed(question, b"\x03\x02\xbe\xef", transaction=question.transaction + 500)
            return [stray, framed(question, pdu), framed(question, pdu)]

        plc.reply = reply
        connector = modbus(tmp_path)
        async with connector.source() as source:
            found = await watched(source, 5.0)
    assert found.values == list(range(1, len(found) + 1))
    assert counters(connector)["unasked_answers"] >= 2 * len(found) - 2


@pytest.mark.simulated(seeds=3)
async def test_swapped_transaction_ids_are_found_out_by_what_was_asked(tmp_path: Path) -> None:
    """Two questions under way, of different lengths; their answers carry each other's number."""
    async with twin(HOST) as plc:
        plc.set(1, 0, 11)
        plc.set(1, 1000, 22, 22)
        first: list[tuple[Question, bytes]] = []

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            first[:] = [each for each in first if each[0].address != question.address]  # what has timed out since
            first.append((question, pdu))
            if len(first) < 2:
                return []
            (one, one_pdu), (two, two_pdu) = first
            first.clear()
            return [framed(one, two_pdu), framed(two, one_pdu)]

        plc.reply = reply
        tags = (tag("a", 0), tag("b", 1000, type="uint32"))
        connector = modbus(tmp_path, in_flight_max=2, devices=[device("d", 1, *tags)])
        async with connector.source() as source:
            found = await watched(source, 5.0)
    assert BAD_COMMUNICATION in found.qualities
    assert {value for value, _ in (*of(found, "a"), *of(found, "b"))} == {None}


@pytest.mark.simulated(seeds=5)
@pytest.mark.parametrize("rtu", [False, True])
async def test_a_reply_just_after_the_timeout_is_never_taken_for_the_next(tmp_path: Path, rtu: bool) -> None:
    """Register n holds n; every third answer comes a millisecond late. What is late is dropped, or the tag is wrong."""
    async with twin(HOST, rtu=rtu) as plc:
        for address in range(0, 400, 100):
            plc.set(1, address, 7000 + address)
        turn = 0

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            nonlocal turn
            turn += 1
            whole = plc.frame(question, pdu)
            return [0.201, whole] if turn % 3 == 0 else [whole]

        plc.reply = reply
        tags = [tag(f"t{address}", address) for address in range(0, 400, 100)]
        framing = "rtu_over_tcp" if rtu else "tcp"
        connector = modbus(tmp_path, framing=framing, timeout_ms=200, devices=[device("d", 1, *tags)])
        async with connector.source() as source:
            found = await watched(source, 60.0)
    good = [(sample.tag, sample.value) for sample in found if sample.quality == GOOD]
    assert good, "nothing was read at all"
    assert {(name, value) for name, value in good} <= {(f"t{a}", 7000 + a) for a in range(0, 400, 100)}
    assert counters(connector)["timeouts"] > 3


@pytest.mark.simulated(seeds=5)
@pytest.mark.parametrize("converter", ["keeps", "forgets", "keeps and hangs up"])
async def test_without_numbers_a_late_answer_is_told_by_its_length_even_on_a_new_connection(
    tmp_path: Path, converter: str
) -> None:
    """A serial converter that hands what is late to whoever is connected then (the reason for the canary)."""
    async with twin(HOST, rtu=True) as plc:
        late: list[bytes] = []

        def greeting(writer: asyncio.StreamWriter) -> None:
            if converter == "keeps":
                writer.write(b"".join(late))
            if converter == "keeps and hangs up":  # and gives it out with the next answer
                return
            late.clear()

        plc.greeting = greeting
        plc.set(1, 0, 1)
        plc.set(1, 100, 2)
        turn = 0

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            nonlocal turn
            turn += 1
            if turn % 4 == 0:
                late.append(plc.frame(question, pdu))
                if converter == "keeps and hangs up":
                    plc.close()
                return []
            came: list[bytes | float] = [b"".join(late)]
            late.clear()
            return [*came, plc.frame(question, pdu)]

        plc.reply = reply
        devices = [device("d", 1, tag("a", 0), tag("b", 100))]
        connector = modbus(tmp_path, framing="rtu_over_tcp", timeout_ms=200, devices=devices)
        async with connector.source() as source:
            found = await watched(source, 120.0)
    good = {(sample.tag, sample.value) for sample in found if sample.quality == GOOD}
    assert good == {("a", 1), ("b", 2)}


@pytest.mark.simulated(seeds=3)
async def test_without_the_canary_the_late_answer_is_taken_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutation of the test above: it must be able to fail."""
    from plantgate_connectors.modbus.canary import Missed

    monkeypatch.setattr(Missed, "canary", lambda self, like: like)
    with pytest.raises(AssertionError):
        await test_without_numbers_a_late_answer_is_told_by_its_length_even_on_a_new_connection(tmp_path, "keeps")


@pytest.mark.simulated(seeds=3)
async def test_a_device_that_answers_with_id_0_is_read_when_told_so(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        count_up(plc)
        plc.reply = lambda question, pdu: [framed(question, pdu, transaction=0)]
        async with modbus(tmp_path, transaction_id="ignored").source() as source:
            found = await watched(source, 3.0)
    assert found.values == list(range(1, len(found) + 1))
    assert len(found) >= 29


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("after_bytes", [0, 3, 9])
async def test_a_connection_that_breaks_in_or_before_an_answer_is_made_anew(tmp_path: Path, after_bytes: int) -> None:
    async with beside_a_good_one(tmp_path) as (bad, _, source):
        turn = 0

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            nonlocal turn
            turn += 1
            if turn % 10 == 0:
                running().network.reset(HOST)
                return []
            if turn % 10 == 5 and after_bytes:
                asyncio.get_running_loop().call_later(0.02, bad.close)
                return [bad.frame(question, pdu)[:after_bytes]]
            return [bad.frame(question, pdu)]

        bad.reply = reply
        found = await watched(source, 60.0)
    told = of(found, "bad")
    assert {value for value, quality in told if quality == GOOD} == {1234}
    assert sum(quality == GOOD for _, quality in told) > 100
    assert len(of(found, "good")) >= 595


@pytest.mark.simulated(seeds=3)
async def test_a_host_that_answers_nothing_at_all_is_a_bad_sample_in_time(tmp_path: Path) -> None:
    """Packets to it vanish, so connecting hangs."""
    running().network.cut("nowhere")
    devices = [device("bad", 1, tag("bad", 0), host="nowhere"), device("good", 1, tag("good", 0))]
    async with twin(HOST) as plc:
        count_up(plc)
        connector = modbus(tmp_path, connect_seconds=2, devices=devices)
        async with connector.source() as source:
            found = await watched(source, 20.0)
    assert of(found, "bad") == [(None, BAD_NO_COMMUNICATION)]
    assert len(of(found, "good")) >= 199
    running().network.heal("nowhere")


@pytest.mark.simulated(seeds=2)
async def test_a_device_that_accepts_and_hangs_up_ten_times_a_second_is_left_alone(tmp_path: Path) -> None:
    async with beside_a_good_one(tmp_path) as (bad, _, source):
        bad.greeting = lambda writer: writer.close()
        found = await watched(source, 120.0)
    assert of(found, "bad") == [(None, BAD_NO_COMMUNICATION)]
    assert bad.connections < 20, "it was dialled without a pause"
    assert len(of(found, "good")) >= 1190


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("spoil", ["noise before", "bad checksum", "foreign frame before"])
async def test_rtu_finds_its_frame_or_gives_none(tmp_path: Path, spoil: str) -> None:
    async with twin(HOST, rtu=True) as plc:
        plc.set(1, 0, 777)
        turn = 0

        def reply(question: Question, pdu: bytes) -> list[bytes | float]:
            nonlocal turn
            turn += 1
            whole = plc.frame(question, pdu)
            if turn % 2:
                return [whole]
            if spoil == "noise before":
                return [b"\x00" + whole]
            if spoil == "bad checksum":
                return [whole[:-1] + bytes((whole[-1] ^ 1,))]
            return [plc.frame(Question(0, 9, 3, 0, 1), b"\x03\x02\x00\x05"), whole]

        plc.reply = reply
        async with modbus(tmp_path, framing="rtu_over_tcp", timeout_ms=50).source() as source:
            found = await watched(source, 10.0)
    assert {value for value, quality in of(found, "t") if quality == GOOD} == {777}
    if spoil != "bad checksum":
        assert [quality for _, quality in of(found, "t") if quality] == []


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"address": 65535, "type": "uint32"}, "takes 2 registers, and the last there is has address 65535"),
        ({"address": 65536}, "address 65536 is outside 0 to 65535"),
        ({"address": 65530, "type": "string", "length": 20}, "takes 10 registers"),
    ],
)
def test_addresses_beyond_the_last_are_refused_before_anyone_is_asked(
    written: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        settings(devices=[{"name": "d", "tags": [{"tag": "t", **written}]}])


@pytest.mark.simulated(seeds=1)
async def test_no_request_asks_for_nothing_or_for_more_than_the_protocol_lets(tmp_path: Path) -> None:
    """However many tags there are: never 0, never 126 registers, never 2001 bits."""
    tags = [tag(f"r{n}", n) for n in range(1000)]
    tags += [tag(f"c{n}", n, table="coil") for n in range(5000)]
    async with (
        twin(HOST) as plc,
        modbus(tmp_path, devices=[device("d", 1, *tags)], poll_interval_ms=5000).source() as source,
    ):
        await collect(source, 6000)
        assert {question.function for question in plc.of(1)} == {1, 3}
        for question in plc.of(1):
            assert 1 <= question.count <= (2000 if question.function == 1 else 125)
        assert len(plc.of(1)) == 8 + 3
