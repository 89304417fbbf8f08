"""What must be true when a journey is over, whatever happened on the way; each promise is checked on its own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from plantgate.sdk import Batch, Gap, Value
from plantgate.store.limits import Limits, WhenFull
from plantgate.store.loss import FULL, TOO_OLD
from plantgate.store.outbox import Balance
from tests.journeys.plant import Device


def order_is_kept(got: Sequence[Batch]) -> None:
    """Per tag, every reading arrives for the first time after all older ones that arrive at all."""
    newest: defaultdict[str, int] = defaultdict(lambda: -1)
    seen: set[Value] = set()
    for batch in got:
        for sample in batch:
            assert isinstance(sample.value, int)
            if sample.value in seen:
                continue
            seen.add(sample.value)
            assert sample.value > newest[sample.tag], f"{sample} arrived after number {newest[sample.tag]}"
            newest[sample.tag] = sample.value


def nothing_is_altered(got: Sequence[Batch], device: Device) -> None:
    """Tag, value, quality and time arrive as the device had them."""
    for batch in got:
        for sample in batch:
            assert isinstance(sample.value, int)
            assert sample == device.produced[sample.value]


def nothing_is_lost_silently(got: Sequence[Batch], device: Device, limits: Limits) -> None:
    """What is missing is named in gaps, with the right count; without limits only the device can have lost it.

    A device names what it forgot before it was acknowledged, and cannot know what had been accepted all the same.
    """
    arrived = {sample.value for batch in got for sample in batch}
    missing = set(range(len(device.produced))) - arrived
    gaps = told(got)
    named = sum(gap.lost or 0 for gap in gaps)
    assert named >= len(missing), f"{len(missing)} are missing, {named} named: {sorted(missing)[:10]}"
    if limits.when_full is WhenFull.BLOCK and limits.age_max_seconds is None:
        surplus = missing - device.lost
        assert not surplus, f"lost after acceptance: {sorted(surplus)[:10]}"
        stretches = [range(device.number(gap.since), device.number(gap.until)) for gap in gaps]
        assert [gap.lost for gap in gaps] == [len(stretch) for stretch in stretches], f"a wrong count in {gaps}"
        numbers = {number for stretch in stretches for number in stretch}
        assert missing <= numbers, f"missing, and in no gap: {sorted(missing - numbers)[:10]}"
        assert numbers <= device.lost, f"in a gap, and not lost: {sorted(numbers - device.lost)[:10]}"


def every_number_is_delivered_or_named(got: Sequence[Batch], balance: Balance) -> None:
    """The outbox numbers what it accepts; at the far end, numbers that came and numbers named make up all of them.

    They may overlap: what came without our being told, and was then dropped, is named as dropped.
    """
    origins = {batch.origin for batch in got if batch.origin}
    assert len(origins) <= 1, f"one outbox, and yet {origins}"
    numbers = {batch.position + index for batch in got for index in range(len(batch))}
    assert numbers <= set(range(balance.accepted)), "a number that was never given"
    gaps = told(got)
    named = sum(gap.lost or 0 for gap in gaps if gap.cause in (FULL, TOO_OLD))
    figures = f"{len(numbers)} came, {named} named as dropped, {balance}"
    assert balance.accepted <= len(numbers) + named, figures
    if all(gap.cause != TOO_OLD for gap in gaps):  # those are cut differently when told again after a lost reply
        assert balance.dropped == named, figures


def told(got: Iterable[Batch]) -> list[Gap]:
    """The gaps, each once: told again after a crash, and grown by what was lost since, it begins at the same sample."""
    last: dict[tuple[str, int | None], Gap] = {}
    for batch in got:
        for gap in batch.gaps:
            last[gap.cause, gap.since] = gap
    return list(last.values())
