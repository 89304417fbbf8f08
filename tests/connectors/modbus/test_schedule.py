"""Polls in time: nobody waits for the dead, every missed poll is on the account, memory has a bound."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from plantgate.sdk import Batch, State
from plantgate.sdk.quality import GOOD
from plantgate_connectors.modbus.account import Account
from plantgate_connectors.modbus.refusals import BAD_CONFIGURATION, BAD_NO_COMMUNICATION
from tests.connectors.modbus.given import HOST, count_up, counters, device, modbus, tag
from tests.connectors.modbus.test_hostile import of, watched
from tests.connectors.modbus.twin import twin


@pytest.mark.simulated(seeds=3)
async def test_a_dead_device_at_its_own_address_delays_nobody(tmp_path: Path) -> None:
    async with twin("dead") as dead, twin(HOST) as plc:
        dead.dead.add(1)
        devices = [device("dead", 1, tag("dead", 0), host="dead")]
        devices += [device(f"d{unit}", unit, tag(f"t{unit}", 0)) for unit in range(1, 4)]
        for unit in range(1, 4):
            count_up(plc, unit)
        async with modbus(tmp_path, devices=devices, in_flight_max=4).source() as source:
            await watched(source, 30.0)
        for unit in range(1, 4):
            asked = [moment for moment, question in plc.asked if question.unit == unit]
            late = max(after - before for before, after in pairwise(asked))
            assert late < 0.15, f"unit {unit} was once not asked for {late:.3f} s"


@pytest.mark.simulated(seeds=3)
@pytest.mark.parametrize("framing", ["tcp", "rtu_over_tcp"])
async def test_a_dead_slave_on_a_shared_line_is_demoted_and_probed_ever_more_seldom(
    tmp_path: Path, framing: str
) -> None:
    async with twin(HOST, rtu=framing != "tcp") as plc:
        plc.dead.add(2)
        count_up(plc, 1)
        devices = [device("alive", 1, tag("a", 0)), device("dead", 2, tag("b", 0))]
        connector = modbus(tmp_path, framing=framing, timeout_ms=100, probe_seconds_max=10, devices=devices)
        async with connector.source() as source:
            found = await watched(source, 60.0)
        asked = [moment for moment, question in plc.asked if question.unit == 2]
        assert of(found, "b") == [(None, BAD_NO_COMMUNICATION)]
        assert 5 <= len(asked) <= 20
        pauses = [after - before for before, after in pairwise(asked)]
        assert max(pauses[:2]) < 1.5
        assert 7 < pauses[-1] < 11
        assert len([1 for _, quality in of(found, "a") if quality == GOOD]) > 560

        plc.dead.clear()
        back = await _session_until(connector, "b")
    assert [(gap.tags, gap.cause) for gap in back.gaps if "b" in gap.tags] == [(("b",), "no answer")]


async def _session_until(connector: object, name: str) -> Batch:
    found = Batch.empty()
    async with connector.source() as source, asyncio.timeout(60):  # type: ignore[attr-defined]  # a Modbus
        while not any(quality == GOOD for _, quality in of(found, name)):
            found.extend(await source.read())
    return found


@pytest.mark.simulated(seeds=5)
async def test_every_missed_poll_is_named_when_the_outbox_is_slow(tmp_path: Path) -> None:
    await _every_poll_is_accounted_for(tmp_path)


@pytest.mark.simulated(seeds=1)
async def test_a_missed_poll_that_nobody_names_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutation: gaps of one poll too few."""
    right = Account.good

    def forgetful(self: Account, poll: int, time: int | None, *, tell_slow: bool) -> object:
        self.settled += 1 if poll - self.settled > 1 else 0
        return right(self, poll, time, tell_slow=tell_slow)

    monkeypatch.setattr(Account, "good", forgetful)
    with pytest.raises(AssertionError):
        await _every_poll_is_accounted_for(tmp_path)


async def _every_poll_is_accounted_for(folder: Path) -> None:
    """Two devices, three tags; nobody reads for a while, three times. Polls due = samples + lost, to the poll."""
    async with twin(HOST) as plc:
        count_up(plc, 1)
        count_up(plc, 2)
        devices = [device("one", 1, tag("a", 0), tag("b", 1)), device("two", 2, tag("c", 0))]
        connector = modbus(folder, devices=devices, buffer_samples_max=60, in_flight_max=2)
        found = Batch.empty()
        began = asyncio.get_running_loop().time()
        async with connector.source() as source:
            for _ in range(3):
                await asyncio.sleep(30.0)  # the outbox is full
                held = connector._polled.backlog._samples  # type: ignore[union-attr]
                assert held <= 63, f"{held} samples were held, the bound is 60"
                found.extend(await watched(source, 10.0))
        polls = round((asyncio.get_running_loop().time() - began) / 0.1)
    assert {gap.cause for gap in found.gaps} == {"outbox slow"}
    assert counters(connector)["polls_held_back"] >= 3
    for name in "abc":
        lost = sum((gap.lost or 0) // len(gap.tags) for gap in found.gaps if name in gap.tags)
        read = len(of(found, name))
        assert abs(read + lost - polls) <= 1, f"{name}: {read} read, {lost} lost, {polls} polls were due"
        assert lost > 500


@pytest.mark.simulated(seeds=3)
async def test_what_was_read_and_not_acknowledged_is_given_again(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        count_up(plc)
        connector = modbus(tmp_path)
        async with connector.source() as source:
            await asyncio.sleep(1.0)
            first = await source.read()
        async with connector.source() as source:
            again = await source.read()
            assert again.values == first.values
            await source.ack(again.cursor)
            assert (await source.read()).values[0] == first.values[-1] + 1  # type: ignore[operator]


@pytest.mark.simulated(seeds=3)
async def test_a_gateway_that_was_stopped_says_that_nobody_polled(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.set(1, 10, 0x6900, 0)
        written = {"time": {"address": 10}}
        async with modbus(tmp_path, **written).source() as source:
            assert (await watched(source, 1.0)).gaps == ()
        plc.set(1, 10, 0x6901, 0)
        async with modbus(tmp_path, **written).source() as source:
            found = await watched(source, 1.0)
    [gap] = found.gaps
    assert (gap.tags, gap.cause, gap.lost) == (("t",), "gateway stopped", None)
    assert (gap.since, gap.until) == (0x69000000 * 10**9, 0x69010000 * 10**9)


@pytest.mark.simulated(seeds=3)
async def test_a_device_slower_than_its_interval_is_read_as_fast_as_it_can_and_the_rest_is_named(
    tmp_path: Path,
) -> None:
    async with twin(HOST) as plc:
        count_up(plc)
        plc.delay_seconds = 0.25
        connector = modbus(tmp_path)
        async with connector.source() as source:
            found = await watched(source, 200.0)
    assert {gap.cause for gap in found.gaps} == {"polled slower than asked"}
    assert 2 <= len(found.gaps) <= 4, "one record a minute, not one a poll"
    assert 700 < len(found) <= 800
    lost = sum(gap.lost or 0 for gap in found.gaps)
    assert abs(lost - counters(connector)["polls_left_out"]) < 450, "what is not told yet is less than a minute old"


@pytest.mark.simulated(seeds=3)
async def test_one_bad_address_does_not_blind_its_neighbours(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        for address in range(100):
            plc.set(1, address, address + 1)
        plc.refused[1, 3, 37] = 2
        tags = [tag(f"t{n}", n) for n in range(100)]
        connector = modbus(tmp_path, devices=[device("d", 1, *tags)])
        async with connector.source() as source:
            first = await watched(source, 1.0)
            before = len(plc.asked)
            await watched(source, 0.95)
            requests = len(plc.asked) - before
            assert of(first, "t37") == [(None, BAD_CONFIGURATION)]
            for n in (0, 36, 38, 99):
                assert of(first, f"t{n}")[-1] == (n + 1, GOOD)
            assert requests <= 9 * 2 + 4, "the neighbours are read in two requests again"
            assert connector.context.standing.monitored == 99
            del plc.refused[1, 3, 37]
            later = await watched(source, 30.0)
    assert of(later, "t37")[-1] == (38, GOOD)
    assert first.gaps == later.gaps == (), "what does not exist is not missed"


@pytest.mark.simulated(seeds=3)
async def test_a_gap_of_registers_that_do_not_exist_is_read_around(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.set(1, 0, 5)
        plc.set(1, 9, 6)
        plc.refused[1, 3, 4] = 2
        async with modbus(tmp_path, devices=[device("d", 1, tag("a", 0), tag("b", 9))]).source() as source:
            found = await watched(source, 3.0)
    assert {(sample.tag, sample.value, sample.quality) for sample in found} == {("a", 5, GOOD), ("b", 6, GOOD)}


@pytest.mark.simulated(seeds=2)
async def test_a_device_that_gives_few_registers_at_a_time_is_asked_for_fewer(tmp_path: Path) -> None:
    """It refuses more than 20 with exception 3, as some do without saying so in their manual."""
    async with twin(HOST) as plc:
        right = plc.pdu
        plc.pdu = lambda question: b"\x83\x03" if question.count > 20 else right(question)  # type: ignore[method-assign]
        tags = [tag(f"t{n}", n) for n in range(100)]
        async with modbus(tmp_path, devices=[device("d", 1, *tags)]).source() as source:
            found = await watched(source, 5.0)
            before = len(plc.asked)
            await watched(source, 0.95)
            assert len(plc.asked) - before <= 10 * 8, "asked in eight parts from then on"
    assert set(found.qualities) == {GOOD}
    assert len(found) >= 4900


@pytest.mark.simulated(seeds=3)
async def test_a_block_that_is_never_answered_costs_the_others_of_its_device_little(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        count_up(plc)
        plc.reply = lambda question, pdu: [] if question.address == 500 else [plc.frame(question, pdu)]
        tags = [tag("a", 0), tag("b", 500), tag("c", 1000)]
        connector = modbus(tmp_path, timeout_ms=200, devices=[device("d", 1, *tags)])
        async with connector.source() as source:
            found = await watched(source, 60.0)
    assert len(of(found, "a")) > 540
    assert len(of(found, "c")) > 500
    assert of(found, "b") == [(None, BAD_NO_COMMUNICATION)]


@pytest.mark.simulated(seeds=3)
async def test_the_connection_is_up_while_any_device_answers_and_says_who_does_not(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        plc.dead.add(2)
        devices = [device("one", 1, tag("a", 0)), device("two", 2, tag("b", 0))]
        connector = modbus(tmp_path, devices=devices, timeout_ms=200)
        standing = connector.context.standing
        async with connector.source() as source:
            await watched(source, 5.0)
            assert (standing.state, standing.desired, standing.monitored) == (State.UP, 2, 1)
            plc.dead.add(1)
            await watched(source, 5.0)
            assert standing.state is State.AWAY
            assert "no answer from plc:502 unit" in standing.reason
            plc.dead.clear()
            await watched(source, 60.0)
            assert (standing.state, standing.monitored, standing.live) == (State.UP, 2, 2)
    said = [
        facts.get("device")
        for _, event, facts in connector.context.log.lines
        if event == "device away, probing until it answers"
    ]  # type: ignore[attr-defined]
    assert sorted(said) == ["one", "two"], "each is told once"


@pytest.mark.simulated(seeds=3)
async def test_a_rest_between_questions_is_kept(tmp_path: Path) -> None:
    async with twin(HOST) as plc:
        tags = [tag("a", 0), tag("b", 500), tag("c", 1000)]
        connector = modbus(tmp_path, pause_ms=50, poll_interval_ms=1000, devices=[device("d", 1, *tags)])
        async with connector.source() as source:
            await watched(source, 10.0)
        asked = [moment for moment, _ in plc.asked]
    assert len(asked) >= 29
    assert min(after - before for before, after in pairwise(asked)) > 0.045


@pytest.mark.simulated(seeds=3)
async def test_a_clock_that_was_never_set_gives_no_time_and_one_ahead_makes_values_uncertain(tmp_path: Path) -> None:
    async with twin(HOST) as plc, modbus(tmp_path, time={"address": 10}).source() as source:
        assert (await source.read()).times == [None]
        plc.set(1, 10, 0xF000, 0)
        await watched(source, 0.5)
        late = await source.read()
    assert late.times[-1] == 0xF0000000 * 10**9
    assert late.qualities[-1] == 0x4000_0000


@pytest.mark.simulated(seeds=3)
async def test_what_was_polled_and_not_safe_when_the_gateway_stopped_lies_within_the_gap(tmp_path: Path) -> None:
    written = {"time": {"address": 10}}
    async with twin(HOST) as plc:
        plc.set(1, 10, 0x6900, 0)
        async with modbus(tmp_path, **written).source() as source:
            await watched(source, 1.0)
            plc.set(1, 10, 0x6901, 0)
            await asyncio.sleep(1.0)  # polled, and never read
        plc.set(1, 10, 0x6902, 0)
        async with modbus(tmp_path, **written).source() as source:
            found = await watched(source, 1.0)
    [gap] = found.gaps
    assert (gap.since, gap.until) == (0x69000000 * 10**9, 0x69020000 * 10**9)
