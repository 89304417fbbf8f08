"""`plantgate audit tail`, `show` and `search`: what a published log says, offline, for a person or a program."""

import argparse
from collections.abc import Iterable

import msgspec

from plantgate.audit.entry import Entry, Kind, Phase, Result, decode
from plantgate.audit.search import Wanted
from plantgate.audit.search import search as search_entries
from plantgate.audit.vault import Erased, VaultReader
from plantgate.terminal.audit_folder import (
    FINE,
    CannotJudge,
    entry_asked_for,
    log_argument,
    plain,
    tiles_of,
    vault_arguments,
)
from plantgate.terminal.tables import table

_SHOWN_CHARACTERS_MAX = 4000
"""Of a payload on a terminal."""


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
    matching = search_entries(tiles.kept(), wanted_of(chosen), most=chosen.most)
    if not matching:
        raise CannotJudge(f"none of the {tiles.size:,} entries is so")
    return _lines(((each.index, each.content) for each in matching), json=chosen.json)


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
        if told := told_of(getattr(entry, name)):
            print(f"  {name:<11} {told}")
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
    """Time, what, who, target, value or result."""
    what = entry.kind.value if entry.phase is Phase.OBSERVED else f"{entry.kind.value} {entry.phase.value}"
    value = entry.result.value if entry.result else ""
    if entry.after is not None:
        value = f"{value} {entry.after.value} {entry.after.unit}".strip()
    target = entry.target.address if entry.target else ""
    return [plain(each) for each in (entry.time, what, entry.who.id, target, value)]


def told_of(value: object) -> str:
    """A field as a person reads it: parts of parts stand in brackets."""
    return plain(_told(value))


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return "; ".join(_told(each) for each in value)
    known = msgspec.to_builtins(value)
    if not isinstance(known, dict):
        return "" if known is None else str(known)
    return ", ".join(
        f"{name} {_told(each) if not isinstance(each, list) else _listed(each)}" for name, each in known.items()
    )


def _listed(values: list[object]) -> str:
    return "(" + "; ".join(_told(each) for each in values) + ")"
