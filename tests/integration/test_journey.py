import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.journey.ledger import Arrived, Rows, Verdict, judge
from tests.integration.journey.plan import SHORT, Plug, pulls
from tests.integration.journey.travel import travel
from tests.peers.require import require

NAMES = ["a", "b"]
ROWS = [(f"2016-07-01T0{hour}:00:00Z", [float(hour), 10.0 + hour]) for hour in range(4)]


def message(position: int, *rows: int, origin: str = "box") -> dict[str, Any]:
    samples = [
        {"tag": f"ett/{name}", "value": ROWS[row][1][at], "quality": "Good", "code": 0, "time": ROWS[row][0]}
        for row in rows
        for at, name in enumerate(NAMES)
    ]
    return {"origin": origin, "position": position, "samples": samples}


def gap(lost: int | None, since: int, until: int, cause: str = "session lost") -> dict[str, Any]:
    tags = [f"ett/{name}" for name in NAMES]
    return {
        "tags": tags,
        "since": ROWS[since][0],
        "until": ROWS[until][0],
        "cause": cause,
        "lost": lost,
        "recovered": 0,
    }


def verdict(
    samples: list[dict[str, Any]], gaps: list[dict[str, Any]] | None = None, *, repeats: bool = True
) -> Verdict:
    return judge(Rows(NAMES, ROWS), "ett/", Arrived(samples, gaps or []), repeats=repeats)


def test_the_judge_passes_what_is_whole() -> None:
    assert str(verdict([message(0, 0, 1), message(4, 2, 3)])) == (
        "journey: rows 4, delivered 4, lost 0, out of order 0, unexplained 0"
    )


def test_the_judge_drops_repeats_by_their_number() -> None:
    seen = verdict([message(0, 0, 1), message(0, 0, 1), message(2, 1, 2, 3)])
    assert seen.fine
    assert (seen.repeats, seen.again) == (6, 0)


def test_the_judge_sees_a_number_that_never_came() -> None:
    seen = verdict([message(0, 0), message(4, 2, 3)])
    assert seen.lost == 2
    assert not seen.fine


def test_the_judge_sees_a_later_row_before_an_earlier_one() -> None:
    assert verdict([message(0, 1), message(2, 0), message(4, 2, 3)]).out_of_order == 2


def test_the_judge_wants_a_gap_record_with_the_right_count() -> None:
    samples = [message(0, 0), message(2, 3)]
    assert verdict(samples).unexplained == 4
    assert verdict(samples, [gap(4, 0, 3)]).fine
    assert verdict(samples, [gap(None, 0, 3)]).fine, "a stretch whose count nobody can know is named by its ends"
    assert verdict(samples, [gap(2, 0, 3)]).unexplained == 2
    assert not verdict([message(0, 0, 1), message(4, 2, 3)], [gap(4, 0, 3)]).fine, (
        "a gap record for nothing is wrong too"
    )


def test_the_judge_sees_a_changed_value() -> None:
    changed = message(0, 0, 1, 2, 3)
    changed["samples"][4]["value"] = 2.5
    assert verdict([changed]).unexplained > 0


def test_where_polls_are_counted_the_judge_wants_each_missing_row_inside_a_named_stretch() -> None:
    samples = [message(0, 0), message(2, 3)]
    assert verdict(samples, repeats=False).unexplained == 4
    assert verdict(samples, [gap(90, 0, 3)], repeats=False).fine
    assert verdict(samples, [gap(None, 0, 3)], repeats=False).fine
    assert verdict(samples, [gap(90, 0, 1)], repeats=False).unexplained == 2
    assert verdict(samples, [gap(0, 0, 3)], repeats=False).unexplained == 4, "a record that says nothing was lost"


def test_a_plan_pulls_every_plug_the_promised_number_of_times() -> None:
    planned = pulls(SHORT, 1200, seed=7)
    counted = {plug: sum(pull.plug is plug for pull in planned) for plug in Plug}
    assert counted == {Plug.GATEWAY: 3, Plug.BROKER: 1, Plug.CABLE: 2}
    assert pulls(SHORT, 1200, seed=7) == planned


@pytest.mark.integration
@pytest.mark.parametrize(
    ("origin", "end", "peers"),
    [
        ("opcua", "mqtt", ("node-opcua", "mosquitto")),
        ("modbus", "mqtt", ("modbus-slave", "mosquitto")),
        ("opcua", "kafka", ("node-opcua", "kafka")),
        ("opcua", "sparkplug", ("node-opcua", "mosquitto")),
    ],
)
def test_nothing_is_lost_while_plugs_are_pulled(origin: str, end: str, peers: tuple[str, ...], tmp_path: Path) -> None:
    require(*peers, "ett")
    seen = asyncio.run(travel(SHORT, 7, tmp_path, rows=SHORT.rows, origin=origin, end=end))
    assert seen.fine, f"{seen}\n{seen.surprises}\n{seen.gaps}"
    if origin != "modbus":
        assert seen.delivered == seen.rows
