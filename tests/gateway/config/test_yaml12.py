"""What unquoted text stands for, what is refused, and where things stand; for both of PyYAML's parsers."""

import time
from typing import Any

import pytest
import yaml

from plantgate.config.place import Place
from plantgate.config.yaml12 import DEPTH_MAX, SIZE_MAX, NotYaml, parse

PARSERS = [pytest.param(yaml.SafeLoader, id="python")]
if yaml.__with_libyaml__:
    PARSERS.append(pytest.param(yaml.CSafeLoader, id="libyaml"))
both = pytest.mark.parametrize("parser", PARSERS)


@both
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("0o17", 15),
        ("0xff", 255),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        (".5", 0.5),
        ("5.", 5.0),
        ("1.5e+3", 1500.0),
        ("1.2.3", "1.2.3"),
        ("-", None),
        ("-x", "-x"),
        (".", "."),
        ("2026-11-26", "2026-11-26"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("mqtt.local:1883", "mqtt.local:1883"),
        ("a#b", "a#b"),
        ("10.0.0.5", "10.0.0.5"),
    ],
)
def test_scalars_are_those_of_the_core_schema(written: str, meant: object, parser: Any) -> None:
    if written == "-":
        meant = [None]
        document = parse(b"-\n", parser=parser).root
    else:
        root = parse(f"key: {written}\n".encode(), parser=parser).root
        assert isinstance(root, dict)
        document = root["key"]
    assert document == meant
    assert type(document) is type(meant)


@both
def test_every_value_knows_its_line_and_column(parser: Any) -> None:
    document = parse("# first\nplant: line3\nflows:\n  a: { from: [x, 'ü'], to: y }\n".encode(), parser=parser)

    assert document.place(()) == Place(2, 1)
    assert document.place(("plant",)) == Place(2, 8)
    assert document.place(("plant",), key=True) == Place(2, 1)
    assert document.place(("flows", "a", "from", 1)) == Place(4, 18)
    assert document.place(("flows", "a", "to"), key=True) == Place(4, 24)
    assert document.place(("flows", "a", "nothing", 3)) == Place(4, 6)


@both
def test_all_faults_are_told_at_once(parser: Any) -> None:
    with pytest.raises(NotYaml) as refused:
        parse(b"a: 012\nb: &x 1\na: *x\nc: !!int 3\n", parser=parser)
    assert [(fault.place.line, fault.trail) for fault in refused.value.faults] == [
        (1, ("a",)),
        (2, ("b",)),
        (3, ("a",)),
        (3, ("a",)),
        (4, ("c",)),
    ]


@both
@pytest.mark.parametrize(
    ("written", "place", "said"),
    [
        ("a: 1\nb:\n\tc: 2\n", Place(3, 1), "tab"),
        ("a: x: y\n", Place(1, 5), "second `: `"),
        ("a:b\nc: d\n", Place(1, 1), "write `a: b`"),
        ("plant x\nfoo: 3\n", Place(1, 1), "no colon"),
        ("a: 1\n  b: 2\n", Place(2, 3), "has a value already"),
        ("a:\n    b: 1\n  c: 2\n", Place(3, 3), "indentation"),
        ("a: 'b\nc: d\n", Place(1, 4), "never closed"),
        ("a: { b: c\nd: e\n", Place(2, 2), "closing } of line 1"),
        ("a: [b\nd: e\n", Place(2, 2), "closing ] of line 1"),
        ("a: { b: ${file:/x} }\n", Place(1, 10), "needs quotes"),
        ("a: @b\n", Place(1, 4), "begins with @ needs quotes"),
        ("a: **/b\n", Place(1, 5), "begins with * or &"),
        ("a: !b!c d\n", Place(1, 4), "begins with !"),
        ("a: }\n", Place(1, 4), "needs quotes"),
        ("a: - b\n", Place(1, 4), "list cannot begin here"),
        ("a:\n  - b\n  c: d\n", Place(3, 3), "fit the list above"),
        ('a: "b" c\n', Place(1, 8), "after the closing quote"),
        ('a: "\\d"\n', None, "unknown escape"),
        ('a: "\\xZZ"\n', Place(1, 7), "lacks digits"),
        ('a: "\\ud800"\n', None, "no character"),
        ("a: | b\n", None, "nothing may follow"),
        (": b\nc: d\n", Place(1, 1), "before the colon is missing"),
        ("{ a: 1, : 2 }\n", Place(1, 9), "before the colon is missing"),
        ("? [a]\n: b\n", Place(1, 3), "cannot be a name"),
        ("*a : b\n", Place(1, 1), "points at another part"),
        ("<<: { a: b }\n", Place(1, 1), "does not merge"),
        ("a: 1\n---\nb: 2\n", Place(2, 1), "second document"),
        ("%YAML 1.1\n---\na: 1\n", Place(1, 1), "YAML 1.2"),
        ("%YAML 3.0\n---\na: 1\n", Place(1, 1), "YAML 1.2"),
        ("a: .inf\n", Place(1, 4), "not a number a setting can have"),
        ("a: 1e999\n", Place(1, 4), "too large"),
        (f"a: {'9' * 5000}\n", Place(1, 4), "too many digits"),
        ("a: 0777\n", Place(1, 4), "0o777 for an octal"),
        ("a: 09\n", Place(1, 4), "write 9 for a number, '09' for text"),
        (" a: 1\nb: 2\n", Place(2, 1), "same column"),
    ],
)
def test_faults_are_told_with_their_place_and_a_remedy(
    written: str, place: Place | None, said: str, parser: Any
) -> None:
    with pytest.raises(NotYaml) as refused:
        parse(written.encode(), parser=parser)
    fault = refused.value.faults[0]
    assert said in fault.text
    assert place is None or fault.place == place


@pytest.mark.parametrize(
    ("content", "place", "said"),
    [
        (b"a: " + b"x" * SIZE_MAX, Place(1, 1), "larger than 1 MiB"),
        ("a: b".encode("utf-16"), Place(1, 1), "UTF-16"),
        ("a: b\nc: ü\n".encode("latin-1"), Place(2, 4), "byte 0xfc is not UTF-8"),
        (b"\x7fELF\x00\x01", Place(1, 1), "not a text file"),
        (b"\x89PNG\r\n\x1a\n\x00", Place(1, 1), "not a text file"),
        (b"a: b\nc: \x1b[31m\n", Place(2, 4), "control character U+001B"),
    ],
)
def test_what_is_no_text_is_refused_before_it_is_parsed(content: bytes, place: Place, said: str) -> None:
    with pytest.raises(NotYaml) as refused:
        parse(content)
    assert said in refused.value.faults[0].text
    assert refused.value.faults[0].place == place


@both
def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(parser: Any) -> None:
    document = parse(b"\xef\xbb\xbfa: 1\r\nb: [x,\r\n  y]\r\n", parser=parser)
    assert document.root == {"a": 1, "b": ["x", "y"]}
    assert document.place(("b",), key=True) == Place(2, 1)


@both
def test_nesting_has_a_limit_that_no_setting_reaches(parser: Any) -> None:
    fits = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert parse(fits.encode(), parser=parser).root is not None
    with pytest.raises(NotYaml, match="nested"):
        parse(f"[{fits}]".encode(), parser=parser)


def test_a_hostile_file_is_refused_quickly() -> None:
    bombs = [
        b"[" * 500_000,
        b"{a: " * 200_000,
        b"- " * 500_000,
        b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (i, i) for i in range(20_000)),
        b"? " * 400_000,
        b"? [" * 400_000,
        b"'" * 999_999,
    ]
    for bomb in bombs:
        began = time.process_time()
        with pytest.raises(NotYaml):
            parse(bomb)
        assert time.process_time() - began < 5
