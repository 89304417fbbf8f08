import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.journey.ledger import Arrived, Promise, Rows, Verdict, judge
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


POLLED = Promise(fetched=False)


def verdict(
    samples: list[dict[str, Any]], gaps: list[dict[str, Any]] | None = None, promise: Promise | None = None
) -> Verdict:
    return judge(Rows(NAMES, ROWS), "ett/", Arrived(samples, gaps or []), promise or Promise())


def test_the_judge_passes_what_is_whole() -> None:
    assert str(verdict([message(0, 0, 1), message(4, 2, 3)])) == (
        "journey: rows 4, delivered 4, lost 0, out of order 0, unexplained 0"
    )


def test_the_judge_drops_repeats_by_their_number() -> None:
    seen = verdict([message(0, 0, 1), message(0, 0, 1), message(2, 1, 2, 3)])
    assert seen.fine
    assert (seen.repeats, seen.again) == (6, 0)


def test_the_judge_holds_an_end_to_its_promise_that_a_number_is_there_once() -> None:
    promise = Promise(once=True)
    assert verdict([message(0, 0, 1, 2, 3)], promise=promise).fine
    seen = verdict([message(0, 0, 1), message(0, 0), message(4, 2, 3)], promise=promise)
    assert (seen.repeats, seen.unexplained) == (2, 2)
    assert "there twice: number 0 of box" in seen.surprises[0]
    assert not verdict([message(0, 0, 1), message(3, 1, 2), message(7, 3)], promise=promise).fine


def test_the_judge_sees_content_that_came_again_under_another_number_where_nothing_was_pulled() -> None:
    samples = [message(0, 0, 1), message(4, 1, 2, 3)]
    seen = verdict(samples)
    assert seen.fine
    assert seen.again == 2
    assert verdict(samples, promise=Promise(anew=False)).unexplained == 2


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
    assert verdict(samples, promise=POLLED).unexplained == 4
    assert verdict(samples, [gap(90, 0, 3)], POLLED).fine
    assert verdict(samples, [gap(None, 0, 3)], POLLED).fine
    assert verdict(samples, [gap(90, 0, 1)], POLLED).unexplained == 2
    assert verdict(samples, [gap(0, 0, 3)], POLLED).unexplained == 4, "a record that says nothing was lost"


def test_where_polls_are_counted_no_more_rows_are_missing_than_polls() -> None:
    samples = [message(0, 0), message(2, 3)]
    assert verdict(samples, [gap(4, 0, 3)], POLLED).fine, "two polls of two tags, two rows"
    assert verdict(samples, [gap(2, 0, 3)], POLLED).unexplained == 2, "one poll can have missed one row"
    assert verdict(samples, [gap(2, 0, 3), gap(None, 0, 3)], POLLED).fine, "another record names them as well"


def test_where_polls_are_counted_nothing_arrives_from_inside_a_stretch_without_answers() -> None:
    whole = [message(0, 0, 1, 2, 3)]
    assert verdict(whole, [gap(90, 0, 1)], POLLED).fine, "a moment without answers that cost no row"
    assert verdict(whole, [gap(90, 0, 3)], POLLED).unexplained == 4
    assert verdict(whole, [gap(90, 0, 3, "polled slower than asked")], POLLED).fine, "one poll here, one there"
    assert verdict(whole, [gap(None, 0, 3) | {"since": None}], POLLED).unexplained == 6, "no record covers everything"
    assert not verdict(whole, [gap(None, 0, 3) | {"until": None}], POLLED).fine


def test_where_polls_are_counted_a_restarted_gateway_may_take_an_earlier_value_for_the_last() -> None:
    samples = [message(0, 0, 1), message(4, 3)]
    stopped, silent = gap(None, 0, 3, "gateway stopped"), gap(90, 0, 3)
    assert verdict(samples, [stopped, silent], Promise(fetched=False, stale_rows=1)).fine
    assert verdict(samples, [stopped, silent], POLLED).unexplained == 4
    assert verdict(samples, [silent], Promise(fetched=False, stale_rows=1)).unexplained == 2, "nobody restarted"


def test_where_polls_are_counted_a_record_without_any_time_explains_nothing() -> None:
    timeless = gap(None, 0, 3) | {"since": None, "until": None}
    assert verdict([message(0, 0), message(2, 3)], [timeless], POLLED).unexplained == 4
    assert verdict([message(0, 0, 1, 2, 3)], [timeless], POLLED).fine


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
        ("opcua", "kafka", ("node-opcua", "kafka")),
        ("opcua", "sparkplug", ("node-opcua", "mosquitto")),
        ("modbus", "mqtt", ("modbus-slave", "mosquitto")),
    ],
)
def test_nothing_is_lost_while_plugs_are_pulled(origin: str, end: str, peers: tuple[str, ...], tmp_path: Path) -> None:
    require(*peers, "ett")
    seen = asyncio.run(travel(SHORT, 7, tmp_path, rows=SHORT.rows, origin=origin, end=end))
    assert seen.fine, f"{seen}\n{seen.surprises}\n{seen.gaps}"
    if origin == "modbus":
        assert seen.delivered > seen.rows // 2, "most of the rows were polled"
    else:
        assert seen.delivered == seen.rows
