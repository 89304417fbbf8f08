"""Entries found by what a person remembers of them."""

from collections.abc import Iterator

import msgspec
import pytest

from plantgate.audit.entry import Entry, Kind, Result, Target, encode
from plantgate.audit.search import Wanted, search
from tests.gateway.audit.given import intent, outcome


def story() -> Iterator[Entry]:
    yield intent(0)
    yield outcome(0)
    yield msgspec.structs.replace(intent(1), details={"work_order": "WO-1234"})
    yield intent(2)
    yield outcome(2, Result.UNKNOWN)
    yield outcome(1, Result.DENIED)
    yield msgspec.structs.replace(outcome(2, Result.FAILED), id="later")
    yield msgspec.structs.replace(intent(3), target=Target(connection="plc", address="line3/pump"), why=None)
    yield msgspec.structs.replace(intent(4), reverses=intent(3).id)


def indexes(most: int = 100, **asked: object) -> list[int]:
    contents: list[bytes] = [encode(entry) for entry in story()]
    contents.insert(3, b"no entry at all")
    wanted = Wanted(**asked)  # type: ignore[arg-type]
    return [found.index for found in search(enumerate(contents), wanted, most=most)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ({"kind": Kind.APPROVAL}, []),
        ({"result": Result.DENIED}, [6]),
        ({"tag": "line3/robot/offset_x"}, [0, 1, 2, 4, 5, 6, 7, 9]),
        ({"tag": "offset_x"}, [0, 1, 2, 4, 5, 6, 7, 9]),
        ({"tag": "set_x"}, []),
        ({"tag": "pump"}, [8]),
        ({"tag": "offset_x", "result": Result.FAILED}, [7]),
        ({"rule": "shift-when-misplaced", "result": Result.OK}, [1]),
        ({"rule": "WI-0421"}, [0, 1, 2, 4, 5, 6, 7, 9]),
        ({"who": "box-1"}, [1, 5, 6, 7]),
        ({"who": "solder-check", "result": Result.DENIED}, [6]),
        ({"since": "2025-10-09T08:53:22Z", "until": "2025-10-09T08:53:23Z"}, [4, 5, 7]),
        ({"since": "2025-10-09T10:53:22+02:00", "until": "2025-10-09T08:53:22.5Z"}, [4]),
        ({"since": "2025-10-10"}, []),
        ({"until": "2025-10-09"}, []),
        ({"id": intent(3).id}, [8, 9]),
        ({"id": intent(0).id}, [0, 1]),
        ({"text": "wo-1234"}, [2, 6]),
        ({"most": 2}, [8, 9]),
        ({"most": 0}, []),
    ],
    ids=str,
)
def test_entries_are_found(asked: dict[str, object], expected: list[int]) -> None:
    assert indexes(**asked) == expected  # type: ignore[arg-type]


def test_what_is_no_time_is_named() -> None:
    with pytest.raises(ValueError, match="'yesterday' is not a time; write for example 2026-11-26"):
        Wanted(since="yesterday")
