"""Tables and durations, as they stand on a terminal."""

import pytest

from plantgate.terminal.tables import duration, table


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    assert table(("NAME", "N", "WHY"), [["a", "5", ""], ["longer", "1000", "so"]], right=frozenset({"N"})) == (
        "NAME       N  WHY\n"
        "a          5\n"
        "longer  1000  so"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.96, "10.0 s"),
        (10, "10 s"),
        (59.7, "1 min"),
        (725, "12 min 5 s"),
        (3600, "1 h"),
        (3725, "1 h 2 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
