"""`plantgate explain`: one decision in sentences, from the published log alone."""

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from plantgate.audit.entry import Entry, Kind, Quantity, Result, decode
from plantgate.terminal import audit
from plantgate.terminal.audit_folder import FINE, CannotJudge, entry_asked_for, log_argument, plain, tiles_of

_OK = {
    Result.OK: "It happened",
    Result.FAILED: "It failed",
    Result.LATE: "It was too late",
    Result.DENIED: "It was stopped",
}


@dataclass(slots=True)
class Story:
    """All entries that tell of one decision."""

    began: Entry
    """The intent, or the denial."""
    outcomes: list[Entry] = field(default_factory=list)
    approvals: list[Entry] = field(default_factory=list)
    rule: str = ""
    """The rule's text, as it was in force."""
    undone_by: list[Entry] = field(default_factory=list)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate explain`."""
    log_argument(parser)
    parser.add_argument("entry", help="number of an entry of the decision, or its id")
    parser.set_defaults(verb=_tell)


run = audit.run
"""Tells it; what cannot be read is said as `plantgate audit` says it."""


def _tell(chosen: argparse.Namespace) -> int:
    index, tiles = entry_asked_for(chosen)
    asked = decode(tiles.entry(index))
    for sentence in sentences(story(asked, tiles_of(chosen))):
        print(plain(sentence))
    return FINE


def story(asked: Entry, contents: Iterable[bytes]) -> Story:
    """All that the log says about the decision that an entry belongs to. Raises `CannotJudge` if it is about none."""
    name = asked.refers_to or asked.id
    entries = [decode(content) for content in contents if _may_tell(content)]
    began = next((entry for entry in entries if entry.id == name), asked)
    if began.kind not in (Kind.WRITE, Kind.DENIAL):
        raise CannotJudge(f"{began.id} is a {began.kind.value}, not a decision to write; `plantgate audit show` has it")
    told = Story(began)
    agreed = {approval.entry for approval in began.approvals}
    done = {entry.refers_to for entry in entries if entry.refers_to and entry.result is Result.OK}
    for entry in entries:
        if entry.refers_to == began.id:
            told.outcomes.append(entry)
        elif entry.id in agreed:
            told.approvals.append(entry)
        elif entry.reverses == began.id and entry.kind is Kind.WRITE and entry.id in done:
            told.undone_by.append(entry)
        elif entry.kind is Kind.RULE_CHANGE and began.why and entry.details.get("digest") == began.why.digest:
            told.rule = entry.details.get("text", "")
    return told


def sentences(told: Story) -> Iterator[str]:
    """One after the other."""
    began = told.began
    where = f"{began.target.address} ({began.target.connection or 'no connection'})" if began.target else "nothing"
    yield f"{began.time}: {_who(began)} wanted {_value(began.after)} written to {where}."
    yield from _seen(began)
    yield from _why(told)
    for approval in told.approvals:
        yield f"{approval.time}: {approval.who.id} agreed to exactly this."
    if began.kind is Kind.DENIAL:
        yield "So nothing was written."
        return
    if began.before is not None:
        yield f"The machine had {_value(began.before)}; what was to be written was put on record before it was sent."
    for outcome in told.outcomes:
        yield _ended(outcome)
    if not told.outcomes:
        yield "What became of it is not on record."
    if began.reverses:
        yield f"It undid {began.reverses}."
    for undone in told.undone_by:
        yield f"{undone.time}: {undone.who.id} undid it ({undone.id})."


def _seen(began: Entry) -> Iterator[str]:
    if (model := began.model) is None:
        return
    sure = f", confidence {model.confidence}" if model.confidence else ""
    answered = f" and answered {model.output}" if model.output else ""
    yield f"The model {model.model} ({model.digest}) ran on {model.target}{answered}{sure}."
    yield f"What it saw has the digest {model.inputs}."
    for payload in began.payloads:
        yield f"The {payload.name} ({payload.size} bytes) is in the vault as {payload.commitment}."


def _why(told: Story) -> Iterator[str]:
    why = told.began.why
    if why is None:
        yield "No rule is named."
        return
    cites = f", which stands on {why.cites}" if why.cites else ""
    yield f"The rule was {why.rule or 'none'}{cites}{f': {_condition(told.rule)}' if told.rule else ''}."
    refused = [check for check in why.checks if not check.passed]
    passed = list(dict.fromkeys(check.guard for check in why.checks if check.passed))  # some are asked twice
    if passed:
        yield f"{len(passed)} guards agreed: {', '.join(passed)}."
    for check in refused:
        yield f"The guard {check.guard} objected: {check.saw}."


def _condition(text: str) -> str:
    """The rule's condition, out of its text."""
    rules: dict[str, dict[str, object]] = json.loads(text)
    return " and ".join(f"`{rule.get('when', '')}`" for rule in rules.values())


def _ended(outcome: Entry) -> str:
    if outcome.result is Result.UNKNOWN or outcome.result is None:
        return f"{outcome.time}: it was not known whether it happened: {outcome.note}."
    note = f": {outcome.note}" if outcome.note else ""
    has = f"; the machine had {_value(outcome.after)}" if outcome.after is not None else ""
    return f"{outcome.time}: {_OK[outcome.result].lower()}{note}{has}."


def _who(entry: Entry) -> str:
    behalf = f" on behalf of {entry.who.on_behalf_of}" if entry.who.on_behalf_of else ""
    return f"the {entry.who.kind} {entry.who.id}{behalf}"


def _value(quantity: Quantity | None) -> str:
    if quantity is None:
        return "something"
    quality = f" ({quantity.quality})" if quantity.quality else ""
    return f"{quantity.value} {quantity.unit}".strip() + quality


def _may_tell(content: bytes) -> bool:
    """Most of a log is heartbeats; they tell nothing of a decision."""
    return b'"kind":"heartbeat"' not in content
