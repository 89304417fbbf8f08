"""`plantgate audit tail`, `show` and `search`: what a published log says, offline, for a person or a program."""

import argparse
import re
from collections.abc import Iterable, Iterator
from enum import Enum

import msgspec

from plantgate.audit.entry import Check, Entry, Kind, Phase, Quantity, Result, decode
from plantgate.audit.search import Wanted
from plantgate.audit.search import search as search_entries
from plantgate.audit.tiles import Tiles
from plantgate.audit.vault import Erased, VaultReader
from plantgate.terminal.audit_folder import (
    FINE,
    CannotJudge,
    entry_asked_for,
    log_argument,
    looked_at,
    plain,
    tiles_of,
    vault_arguments,
)
from plantgate.terminal.tables import table

_SHOWN_CHARACTERS_MAX = 4000
"""Of a payload on a terminal."""
_LINE_CHARACTERS_MAX = 60
"""Of what came of it, in a table."""


def tail_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `tail`."""
    log_argument(verb)
    verb.add_argument("--last", type=int, default=20, metavar="N", help="how many entries (20)")
    verb.add_argument("--json", action="store_true", help="for programs")


def tail(chosen: argparse.Namespace) -> int:
    """The newest entries, a line each."""
    tiles = tiles_of(chosen)
    first = max(tiles.kept_from(), tiles.size - max(0, chosen.last))
    return _lines(((index, tiles.entry(index)) for index in range(first, tiles.size)), json=chosen.json)


def search_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `search`."""
    log_argument(verb)
    filter_arguments(verb)
    verb.add_argument("--most", type=int, default=1000, metavar="N", help="how many to show (1000), the newest ones")
    verb.add_argument("--json", action="store_true", help="for programs")


def filter_arguments(verb: argparse.ArgumentParser) -> None:
    """What an entry must be; what is not given is not asked."""
    kinds, results = ([each.value for each in words] for words in (Kind, Result))
    verb.add_argument("--kind", choices=kinds, metavar="KIND", help=", ".join(kinds))
    verb.add_argument("--result", choices=results, metavar="RESULT", help=", ".join(results))
    verb.add_argument("--tag", help="address of the target, or the end of it: line3/robot/offset_x, offset_x")
    verb.add_argument("--rule", help="name of the rule, or what it cites")
    verb.add_argument("--who", help="id of whoever acted, or for whom")
    verb.add_argument("--since", metavar="TIME", help="from this time on: 2026-11-26, 2026-11-26T14:00:00Z")
    verb.add_argument("--until", metavar="TIME", help="before this time")
    verb.add_argument("--id", help="of an entry, or of the intent it belongs to: gives intent, outcome and reversal")
    verb.add_argument("--text", help="any text in it, a work order for example; upper and lower case are one")


def search(chosen: argparse.Namespace) -> int:
    """The entries that are so, a line each."""
    tiles = tiles_of(chosen)
    matching = search_entries(looked_at(tiles), wanted_of(chosen), most=chosen.most)
    if not matching:
        raise nothing_found(tiles, chosen)
    return _lines(((each.index, each.content) for each in matching), json=chosen.json)


def nothing_found(tiles: Tiles, chosen: argparse.Namespace) -> CannotJudge:
    """What was asked for, since a slip of the hand looks the same as a quiet plant."""
    return CannotJudge(f"none of the {tiles.size - tiles.kept_from():,} entries is so: {asked_in_words(chosen)}")


def wanted_of(chosen: argparse.Namespace) -> Wanted:
    """As the arguments say."""
    try:
        return Wanted(
            kind=Kind(chosen.kind) if chosen.kind else None,
            result=Result(chosen.result) if chosen.result else None,
            tag=chosen.tag or "",
            rule=chosen.rule or "",
            who=chosen.who or "",
            since=chosen.since or "",
            until=chosen.until or "",
            id=chosen.id or "",
            text=chosen.text or "",
        )
    except ValueError as error:
        raise CannotJudge(str(error)) from None


def asked_in_words(chosen: argparse.Namespace) -> str:
    """What the filter asks for, for a reader."""
    names = ("kind", "result", "tag", "rule", "who", "since", "until", "id", "text")
    asked = [f"{name} {value}" for name in names if (value := getattr(chosen, name))]
    return ", ".join(asked) or "every entry"


def show_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `show`."""
    log_argument(verb)
    verb.add_argument("entry", help="number of the entry, or the id in it")
    verb.add_argument("--json", action="store_true", help="for programs")
    vault_arguments(verb, required=False)


def show(chosen: argparse.Namespace) -> int:
    """One entry; with the vault, also what it commits to."""
    index, tiles = entry_asked_for(chosen)
    content = tiles.entry(index)
    if chosen.json:
        print(_as_text(content))
        return FINE
    try:
        entry = decode(content)
    except ValueError as error:
        raise CannotJudge(f"entry {index} is none: {error}; --json shows its bytes") from None
    print(
        f"entry {index} of {tiles.size:,} (as published; `plantgate audit verify` says whether it is what was signed)"
    )
    for name in entry.__struct_fields__[1:]:
        for number, line in enumerate(_parts(getattr(entry, name))):
            print(f"  {'' if number else name:<11} {plain(line)}")
    if chosen.vault is not None:
        _disclose(entry, chosen)
    return FINE


def _disclose(entry: Entry, chosen: argparse.Namespace) -> None:
    if chosen.wrapping is None:
        raise CannotJudge("--vault asks for --wrapping too: the folder with the vault's wrapping key")
    vault = VaultReader(chosen.vault, chosen.wrapping)
    for payload in entry.payloads:
        try:
            disclosed = vault.disclose(payload.commitment)
        except Erased as error:
            print(f"\n{payload.name}: {error}")
            continue
        print(f"\n{payload.name}, {payload.size:,} bytes, as the log commits to:")
        try:
            text = disclosed.content.decode()
        except UnicodeDecodeError:
            print("  not a text; `plantgate audit export` with the same --vault and --wrapping writes it to a file")
            continue
        for line in text[:_SHOWN_CHARACTERS_MAX].splitlines():
            print(f"  {plain(line)}")
        if len(text) > _SHOWN_CHARACTERS_MAX:
            print(f"  … and {len(text) - _SHOWN_CHARACTERS_MAX:,} characters more")


def _lines(entries: Iterable[tuple[int, bytes]], *, json: bool) -> int:
    rows = []
    for index, content in entries:
        if json:
            print(_as_text(content))
            continue
        try:
            rows.append([str(index), *line_of(decode(content))])
        except ValueError as error:
            rows.append([str(index), "", "", plain(f"not an entry: {error}"), "", ""])
    if not json:
        print(table(("ENTRY", "TIME", "WHAT", "WHO", "TARGET", "VALUE OR RESULT"), rows, right=frozenset({"ENTRY"})))
    return FINE


def _as_text(content: bytes) -> str:
    """An entry is; other bytes that somebody appended need not be."""
    return content.decode(errors="backslashreplace")


def line_of(entry: Entry) -> list[str]:
    """Time to the millisecond, what, who, target, value or result; `show` has all of it."""
    what = entry.kind.value if entry.phase is Phase.OBSERVED else f"{entry.kind.value} {entry.phase.value}"
    target = (entry.target.address or entry.target.connection) if entry.target else ""
    time = re.sub(r"(\.[0-9]{3})[0-9]+", r"\1", entry.time)
    return [plain(each) for each in (time, what, entry.who.id, target, _came_of_it(entry))]


def _came_of_it(entry: Entry) -> str:
    """Result and value, or what else a person looks for in such an entry; then why, in short."""
    details = entry.details
    done = details.get("switch") or details.get("emergency")  # armed, stopped; declared, over
    said = [done or (entry.result.value if entry.result else "")]
    if entry.after is not None:
        said += [entry.after.value, entry.after.unit]
    elif entry.kind is Kind.APPROVAL:
        said += [details.get("value", ""), details.get("unit", "")]
    elif entry.kind is Kind.RULE_CHANGE:
        said += [details.get("name", "")]
    objected = dict.fromkeys(check.guard for check in entry.why.checks if not check.passed) if entry.why else ()
    value, why = " ".join(each for each in said if each), ", ".join(objected) or entry.note
    shown = f"{value}: {why}" if value and why else value or why
    return shown if len(shown) <= _LINE_CHARACTERS_MAX else f"{shown[: _LINE_CHARACTERS_MAX - 1]}…"


def _parts(value: object) -> Iterator[str]:
    """A field as a person reads it, a part of it on each line; what is empty is left out."""
    match value:
        case Check():
            yield f"{'✓' if value.passed else '✗'} {value.guard}{f': {value.saw}' if value.saw else ''}"
        case Quantity():
            kind = ", ".join(each for each in (value.data_type, value.quality) if each)
            yield f"{value.value} {value.unit}".strip() + f" ({kind})"
        case tuple():
            for each in value:
                yield from _parts(each)
        case msgspec.Struct():
            yield from _parts({name: getattr(value, name) for name in value.__struct_fields__})
        case dict():
            for name, each in value.items():
                if isinstance(each, tuple):
                    yield from _parts(each)
                elif each not in (None, ""):
                    yield f"{name} {each}"
        case Enum():
            yield str(value.value)
        case _:
            if value not in (None, "", False):
                yield str(value)
