"""The contracts pass a vendor that is right, and each mistake fails the case that is named after it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Connector, Rejected, Sample
from plantgate.testing.contract import LiveSourceContract, SinkContract, SourceContract, lent
from plantgate.testing.simloop import SimulationFailure, simulate
from tests.gateway.testing import acme


class AcmeSource:
    """What the vendor has to say about its device."""

    host = "plc"
    stalled_samples = 6_000
    stalled_bytes_max = 240_000
    made: type[acme.Acme] = acme.Acme

    def device(self) -> AbstractAsyncContextManager[acme.Device]:
        return acme.Device.running()

    def connector(self, device: acme.Device, tmp_path: Path) -> Connector[Any]:
        return self.made(acme.AcmeSettings(), lent(tmp_path))

    async def produce(self, device: acme.Device, samples: Sequence[Sample]) -> None:
        await acme.shown(device, samples)


class AcmeSourceContract(AcmeSource, SourceContract[acme.Device]):
    """For cases one by one."""


class AcmeSinkContract(SinkContract[acme.Device]):
    host = "plc"
    made: type[acme.Acme] = acme.Acme

    def device(self) -> AbstractAsyncContextManager[acme.Device]:
        return acme.Device.running()

    def connector(self, device: acme.Device, tmp_path: Path) -> Connector[Any]:
        return self.made(acme.AcmeSettings(), lent(tmp_path))

    async def arrived(self, device: acme.Device) -> Sequence[Sample]:
        return device.written


class TestAcmeAsASource(AcmeSourceContract):
    """Right."""


class TestAcmeAsALiveSource(AcmeSource, LiveSourceContract[acme.Device]):
    """Right, and held to less."""


class TestAcmeAsASink(AcmeSinkContract):
    """Right."""


def _case(contract: Any, made: type[acme.Acme], case: str, tmp_path: Path, seed: int) -> None:
    vendor = type("Vendor", (contract,), {"made": made, "stalled_samples": 2_000})()
    method = getattr(vendor, case)
    wanted = method.__code__.co_varnames[: method.__code__.co_argcount]
    arguments = {name: value for name, value in (("tmp_path", tmp_path), ("seed", seed)) if name in wanted}
    simulate(lambda: method(**arguments), seed=seed)


def _fails(contract: Any, made: type[acme.Acme], case: str, tmp_path: Path) -> str:
    for seed in range(20):
        try:
            _case(contract, made, case, tmp_path / str(seed), seed)
        except (AssertionError, pytest.fail.Exception) as failure:
            return str(failure)
    pytest.fail(f"{case} did not notice {made.__name__}")


@pytest.mark.parametrize(
    ("mistake", "case", "says"),
    [
        (acme.ForgetfulSource, "test_repeats_what_was_not_acknowledged", "was never acknowledged"),
        (acme.StubbornSource, "test_forgets_what_was_acknowledged", "acknowledged, and given again"),
        (acme.RosySource, "test_bad_quality_is_passed_on", "never came"),
        (acme.InventiveSource, "test_gives_value_quality_and_time_as_the_device_has_them", "time=123"),
        (acme.PatientSource, "test_survives_a_stall", "still missing"),
        (acme.ClumsySource, "test_cancelling_a_read_loses_nothing", "lost by cancelling"),
        (acme.HastySource, "test_keeps_order_within_a_tag", "out of order"),
        (acme.HoardingSource, "test_memory_stays_bounded_under_a_stalled_pump", "more bytes"),
        (acme.HoardingSource, "test_closing_leaves_no_task_or_socket", "left behind"),
        (acme.HoardingSource, "test_cancelling_an_opening_leaves_nothing", "left behind"),
        (acme.PatientSource, "test_a_device_that_accepts_and_says_nothing_is_given_up", "did not say so"),
        (
            acme.ForgetfulSource,
            "test_repeats_after_a_restart_what_was_not_acknowledged_or_names_it_in_a_gap",
            "no gap says so",
        ),
        (
            acme.GreedySource,
            "test_repeats_after_a_crash_what_was_not_acknowledged_or_names_it_in_a_gap",
            "no gap says so",
        ),
    ],
)
def test_a_mistake_in_a_source_is_noticed(mistake: type[acme.AcmeSource], case: str, says: str, tmp_path: Path) -> None:
    assert says in _fails(AcmeSourceContract, acme.with_source(mistake), case, tmp_path)


@pytest.mark.parametrize(
    ("mistake", "case", "says"),
    [
        (acme.TrustingSink, "test_returns_only_after_the_far_end_has_it", "accepted, and not there"),
        (acme.TrustingSink, "test_does_not_return_while_the_far_end_is_cut_off", "nothing can have reached"),
        (acme.TrustingSink, "test_nothing_is_lost_or_rejected_while_the_far_end_comes_and_goes", "not there"),
        (acme.TrustingSink, "test_nothing_is_lost_by_a_cut_at_any_byte", "not there"),
        (acme.TrustingSink, "test_a_far_end_that_accepts_and_says_nothing_is_given_up", "still the batch was accepted"),
    ],
)
def test_a_mistake_in_a_sink_is_noticed(mistake: type[acme.AcmeSink], case: str, says: str, tmp_path: Path) -> None:
    assert says in _fails(AcmeSinkContract, acme.with_sink(mistake), case, tmp_path)


def test_saying_never_where_later_is_meant_is_noticed(tmp_path: Path) -> None:
    case = "test_nothing_is_lost_or_rejected_while_the_far_end_comes_and_goes"
    with pytest.raises(Rejected):
        _case(AcmeSinkContract, acme.with_sink(acme.FinalSink), case, tmp_path, 0)


def test_falling_over_a_value_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        _case(
            AcmeSinkContract,
            acme.with_sink(acme.BrittleSink),
            "test_every_kind_of_value_is_taken_or_rejected",
            tmp_path,
            0,
        )


@pytest.mark.parametrize(
    ("contract", "made", "case", "error"),
    [
        (AcmeSourceContract, acme.with_source(acme.GullibleSource), "test_survives_noise", ValueError),
        (AcmeSourceContract, acme.with_source(acme.BareSource), "test_survives_a_cut_at_any_byte", OSError),
        (AcmeSourceContract, acme.with_source(acme.BareSource), "test_survives_a_reset", OSError),
        (AcmeSourceContract, acme.with_source(acme.GulpingSource), "test_survives_a_slow_link", ValueError),
        (AcmeSourceContract, acme.BareAcme, "test_survives_a_refusal", OSError),
        (AcmeSourceContract, acme.BareAcme, "test_a_device_that_is_not_there_is_unavailable", OSError),
        (AcmeSinkContract, acme.BareAcme, "test_a_far_end_that_is_not_there_is_unavailable", OSError),
        (AcmeSinkContract, acme.with_sink(acme.LiteralSink), "test_survives_noise", ValueError),
    ],
)
def test_an_error_that_is_no_verdict_is_noticed(
    contract: Any, made: type[acme.Acme], case: str, error: type[Exception], tmp_path: Path
) -> None:
    def over_seeds() -> None:
        for seed in range(20):
            _case(contract, made, case, tmp_path / str(seed), seed)

    with pytest.raises(error):
        over_seeds()


def test_failures_of_the_simulation_are_assertions() -> None:
    assert issubclass(SimulationFailure, AssertionError)
