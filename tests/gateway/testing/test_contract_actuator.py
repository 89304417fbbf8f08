"""The actuator's contract passes a vendor that is right, and each mistake fails the case that is named after it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Connector, Setpoint
from plantgate.testing.contract import ActuatorContract, lent
from plantgate.testing.simloop import simulate
from tests.gateway.testing import valve


class ValveContract(ActuatorContract[valve.Device]):
    """For cases one by one."""

    host = "plc"
    made: type[valve.ValveActuator] = valve.ValveActuator

    def device(self) -> AbstractAsyncContextManager[valve.Device]:
        return valve.Device.running()

    def connector(self, device: valve.Device, tmp_path: Path) -> Connector[Any]:
        made = type("Made", (valve.Valve,), {"an_actuator": self.made})
        return made(valve.ValveSettings(), lent(tmp_path))

    def written(self, device: valve.Device, tag: str) -> Sequence[Setpoint]:
        return [value for name, value in device.written if name == tag]

    def change(self, device: valve.Device, tag: str, value: Setpoint) -> None:
        device.held[tag] = value

    def refuse(self, device: valve.Device) -> None:
        device.refuses = True

    def silence(self, device: valve.Device) -> None:
        device.silent = True

    def lies(self) -> Sequence[Callable[[valve.Device], None]]:
        def says(change: Callable[[list[Any]], object]) -> Callable[[valve.Device], None]:
            return lambda device: setattr(device, "lie", change)

        return [
            says(lambda answer: [answer[0] + 1, *answer[1:]]),
            says(lambda answer: [answer[0], "line1/b", answer[2]]),
            says(lambda answer: [*answer[:2], 77.0]),
            says(lambda answer: None),
        ]


class TestValve(ValveContract):
    """Right."""


class TestAlertValve(ValveContract):
    """Right, and notices when its session is lost."""

    made = valve.AlertActuator


def _case(made: type[valve.ValveActuator], case: str, tmp_path: Path, seed: int) -> None:
    vendor = type("Vendor", (ValveContract,), {"made": made})()
    method = getattr(vendor, case)
    wanted = method.__code__.co_varnames[: method.__code__.co_argcount]
    arguments = {name: value for name, value in (("tmp_path", tmp_path), ("seed", seed)) if name in wanted}
    simulate(lambda: method(**arguments), seed=seed)


@pytest.mark.parametrize(
    ("mistake", "case", "says"),
    [
        (valve.RepeatingActuator, "test_a_lost_answer_is_an_unknown_outcome", "[1.0, 1.0]"),
        (valve.LateRepeatingActuator, "test_cancelled_after_sending_it_is_not_sent_again", "written once more"),
        (valve.InvitingActuator, "test_a_lost_answer_is_an_unknown_outcome", "it was done, and the verdict is Unav"),
        (valve.InvitingActuator, "test_a_connection_that_breaks_at_any_byte_is_judged_right", "the device has it"),
        (valve.InvitingActuator, "test_a_connection_cut_after_sending_is_an_unknown_outcome", "reset: done, and it"),
        (valve.TimelessActuator, "test_nothing_is_sent_after_the_deadline", "too late, and the verdict is None"),
        (valve.DeafActuator, "test_nothing_is_sent_of_a_command_that_was_recalled", "recalled, and the verdict"),
        (valve.EarlyActuator, "test_a_command_that_waited_its_turn_too_long_is_not_sent", "sent after its deadline"),
        (valve.ParkingActuator, "test_a_command_that_waited_for_a_connection_too_long_is_not_sent", "nothing was sent"),
        (valve.TrustingActuator, "test_a_device_that_confirms_something_else_has_an_unknown_outcome", "it lied"),
        (valve.TrustingActuator, "test_a_refusal_is_rejected", "refused, and the verdict is None"),
        (valve.HastyActuator, "test_writes_once_what_it_was_told", "[] == [1.0]"),
        (valve.HastyActuator, "test_a_lost_answer_is_an_unknown_outcome", "the verdict is None"),
        (valve.RememberingActuator, "test_reads_what_the_machine_has_and_not_what_was_written", "remembered value"),
        (valve.LeavingActuator, "test_closing_leaves_no_task_or_socket", "left behind"),
        (valve.LeavingActuator, "test_cancelling_at_any_moment_leaves_nothing", "left behind"),
        (valve.BluntActuator, "test_a_refusal_is_rejected", "refused, and the verdict is OutcomeUnknown"),
        (valve.RefusingActuator, "test_a_lost_answer_is_an_unknown_outcome", "the verdict is Rejected"),
        (valve.RefusingActuator, "test_a_connection_that_breaks_at_any_byte_is_judged_right", "nobody refused"),
        (valve.PatientActuator, "test_a_lost_answer_is_an_unknown_outcome", "still no verdict"),
        (valve.PatientActuator, "test_a_device_that_accepts_and_says_nothing_is_given_up", "did not say so"),
        (valve.SleepingActuator, "test_a_session_lost_while_nothing_is_asked_is_noticed", "nobody had noticed"),
        (valve.AnxiousActuator, "test_a_session_lost_while_nothing_is_asked_is_noticed", "nothing had happened"),
        (valve.BrittleActuator, "test_a_session_lost_while_nothing_is_asked_is_noticed", "nothing had happened"),
        (valve.RawActuator, "test_a_session_lost_while_nothing_is_asked_is_noticed", "and it says"),
        (valve.PatientReader, "test_a_machine_that_does_not_answer_is_not_read", "beyond the deadline"),
    ],
)  # fmt: skip
def test_a_mistake_is_noticed(mistake: type[valve.ValveActuator], case: str, says: str, tmp_path: Path) -> None:
    assert says in _failure(mistake, case, tmp_path)


def _failure(mistake: type[valve.ValveActuator], case: str, tmp_path: Path) -> str:
    for seed in range(20):
        try:
            _case(mistake, case, tmp_path / str(seed), seed)
        except (AssertionError, pytest.fail.Exception) as failure:
            return str(failure)
    pytest.fail(f"{case} did not notice {mistake.__name__}")


@pytest.mark.parametrize(
    ("mistake", "case", "error"),
    [
        (valve.GullibleActuator, "test_survives_noise", ValueError),
        (valve.KeyedActuator, "test_a_tag_it_does_not_know_is_rejected", KeyError),
    ],
)
def test_an_error_that_is_no_verdict_is_noticed(
    mistake: type[valve.ValveActuator], case: str, error: type[Exception], tmp_path: Path
) -> None:
    def over_seeds() -> None:
        for seed in range(20):
            _case(mistake, case, tmp_path / str(seed), seed)

    with pytest.raises(error):
        over_seeds()
