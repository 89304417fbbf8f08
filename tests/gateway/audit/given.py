"""Entries and keys for the tests of the audit log."""

from plantgate.audit.entry import FORMAT, Check, Entry, Kind, Phase, Quantity, Result, Target, Who, Why
from plantgate.audit.note import COSIGNATURE, Signer
from plantgate.audit.policy import Policy
from plantgate.sdk import iso

ORIGIN = "gateway.example/plant1/line3"
LOG = Signer(ORIGIN, bytes(range(32)))
WITNESS = Signer("witness.example/w1", bytes(range(1, 33)), COSIGNATURE)
POLICY = Policy.of_key(str(LOG.verifier))
SECOND = 10**9
BEGAN = 1_760_000_000 * SECOND


def intent(number: int) -> Entry:
    """A write of a setpoint, about to be made."""
    return Entry(
        v=FORMAT,
        id=f"00000000-0000-7000-8000-{number:012d}",
        kind=Kind.WRITE,
        phase=Phase.INTENT,
        time=iso(BEGAN + number * SECOND) or "",
        who=Who(kind="model", id="solder-check"),
        target=Target(connection="robot", address="line3/robot/offset_x"),
        before=Quantity(value="0.0", data_type="Double", unit="mm"),
        after=Quantity(value=f"{number / 16}", data_type="Double", unit="mm"),
        why=Why(
            rule="shift-when-misplaced",
            digest="sha256:" + "ab" * 32,
            cites="WI-0421 §3",
            checks=(Check(guard="range", passed=True, saw="-2.0 … 2.0"),),
        ),
    )


def outcome(number: int, result: Result = Result.OK) -> Entry:
    """How it ended."""
    return Entry(
        v=FORMAT,
        id=f"00000000-0000-7000-9000-{number:012d}",
        kind=Kind.WRITE,
        phase=Phase.OUTCOME,
        time=iso(BEGAN + number * SECOND + SECOND // 2) or "",
        who=Who(kind="gateway", id="box-1"),
        result=result,
        refers_to=intent(number).id,
        after=Quantity(value=f"{number / 16}", data_type="Double", unit="mm"),
    )
