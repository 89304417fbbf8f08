"""Path patterns match whole paths, and know which branches cannot match."""

import pytest

from plantgate_connectors.opcua.glob import Pattern


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("Objects/Line*/**/Temp*", "Objects/Line1/Temp", True),
        ("Objects/Line*/**/Temp*", "Objects/Line1/Press/Zone/Temperature", True),
        ("Objects/Line*/**/Temp*", "Objects/Line1/Press/Pressure", False),
        ("Objects/Line*/**/Temp*", "Objects/Cell1/Temp", False),
        ("Objects/*/Temp", "Objects/Line1/Zone/Temp", False),
        ("**", "Objects/Line1", True),
        ("**/Temp", "Temp", True),
        ("Objects/**", "Objects", True),
        ("Objects/**/a/**/b", "Objects/a/b", True),
        ("Objects/**/a/**/b", "Objects/x/a/y/z/b", True),
        ("Objects/**/a/**/b", "Objects/x/b/y/a", False),
        ("Objects/Line[12]/x", "Objects/Line2/x", True),
        ("Objects/Line?/x", "Objects/Line10/x", False),
        ("Objects/a.b", "Objects/axb", False),
        ("Objects/LINE", "Objects/Line", False),
    ],
)
def test_a_pattern_matches_whole_paths(pattern: str, path: str, *, matches: bool) -> None:
    assert Pattern.parse(pattern).matches(path.split("/")) is matches


def test_a_branch_that_cannot_match_is_not_opened() -> None:
    pattern = Pattern.parse("Objects/Line*/Temp")
    below_objects = pattern.step(pattern.start(), "Objects")
    assert pattern.open(below_objects)
    assert not pattern.step(below_objects, "Cell1")
    temp = pattern.step(pattern.step(below_objects, "Line1"), "Temp")
    assert pattern.matched(temp)
    assert not pattern.open(temp)


def test_the_fixed_part_ends_at_the_first_wildcard() -> None:
    assert Pattern.parse("Objects/Line*/Temp").fixed == 1
    assert Pattern.parse("Objects/Line1/Temp").fixed == 3
    assert Pattern.parse("**").fixed == 0


@pytest.mark.parametrize("pattern", ["", "/Objects", "Objects//x", "Objects/", "Objects/a**"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"path|levels"):
        Pattern.parse(pattern)
