"""Completeness: an intent has one outcome, however often that is said."""

from pathlib import Path

import msgspec
import pytest

from plantgate.audit.archive import Order, archive
from plantgate.audit.entry import Entry, Result
from plantgate.audit.tiles import folder
from plantgate.audit.verify import Verdict, verify
from plantgate.testing.clock import WallClock
from plantgate.testing.disk import SimulatedDisk
from plantgate.testing.simloop import simulate
from tests.gateway.audit.given import LOG, POLICY, intent, outcome
from tests.gateway.audit.test_archive import filled
from tests.gateway.audit.test_log import opened, reading
from tests.gateway.audit.test_rotation import life


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([outcome(1), outcome(1)], Verdict.YES),
        ([outcome(1, Result.UNKNOWN), outcome(1, Result.FAILED)], Verdict.YES),
        ([outcome(1, Result.UNKNOWN), outcome(1, Result.UNKNOWN), outcome(1)], Verdict.YES),
        ([outcome(1), outcome(1, Result.UNKNOWN)], Verdict.NO),
        ([outcome(1), msgspec.structs.replace(outcome(1), after=outcome(2).after)], Verdict.NO),
        ([outcome(1, Result.UNKNOWN), outcome(1), outcome(1, Result.LATE)], Verdict.NO),
    ],
    ids=["the same", "known later", "known at last", "not known any more", "another value", "two after unknown"],
)
def test_an_outcome_may_be_said_again_and_not_otherwise(
    outcomes: list[Entry], verdict: Verdict, tmp_path: Path
) -> None:
    life(tmp_path, [LOG], intent(1), *outcomes)
    assert verify(folder(tmp_path / "public"), POLICY).completeness.verdict is verdict


def test_two_outcomes_of_an_intent_in_the_archive_do_not_contradict_each_other_either() -> None:
    disk = SimulatedDisk()

    async def run() -> None:
        async with await opened(disk) as audit:
            await audit.append(intent(9000))
            await audit.append(outcome(9000))
            await filled(audit, 400)
            order = Order(Path("/archive"), 256, "SOP-12 §4", "u:7", "u:8")
            await archive(audit, order, clock=WallClock(), disk=disk, volume=256)
            await audit.append(outcome(9000))
            await audit.publish()
            assert verify(reading(disk), POLICY).completeness.verdict is Verdict.YES
            await audit.append(outcome(9000, Result.DENIED))
            await audit.publish()

    simulate(run)
    report = verify(reading(disk), POLICY)
    assert report.archived == 256
    assert report.completeness.verdict is Verdict.NO
