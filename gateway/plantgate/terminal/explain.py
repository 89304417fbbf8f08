"""`plantgate explain`: one decision in sentences, from the published log alone."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from plantgate.audit.decisions import EMERGENCY_RULE, readable
from plantgate.audit.entry import Entry, Kind, Phase, Quantity, Result, decode
from plantgate.terminal import audit
from plantgate.terminal.audit_folder import FINE, CannotJudge, entry_asked_for, log_argument, plain

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
    emergency: Entry | None = None
    """The one that was declared, where it was written by the rule for emergencies."""


@dataclass(slots=True)
class Asked:
    """A question to people of which nothing was written."""

    question: Entry
    said: list[Entry] = field(default_factory=list)
    """By people."""
    rule: str = ""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate explain`."""
    log_argument(parser)
    parser.add_argument("entry", help="number of an entry of the decision, or its id")
    parser.set_defaults(verb=_tell)


run = audit.run
"""Tells it; what cannot be read is said as `plantgate audit` says it."""


def _tell(chosen: argparse.Namespace) -> int:
    index, tiles = entry_asked_for(chosen)
    try:
        asked = decode(tiles.entry(index))
    except ValueError as error:
        raise CannotJudge(f"entry {index} is none: {error}; `plantgate audit show --json` has its bytes") from None
    entries = [entry for _, entry in readable(tiles.kept())]
    told = question(asked, entries) if asked.kind is Kind.APPROVAL else story(asked, entries)
    for sentence in _unanswered(told) if isinstance(told, Asked) else sentences(told):
        print(_wrapped(plain(sentence)))
    return FINE


def _wrapped(sentence: str) -> str:
    """On a terminal, between words; for a program, as it is."""
    if not sys.stdout.isatty():
        return sentence
    width = shutil.get_terminal_size().columns
    return textwrap.fill(sentence, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def question(asked: Entry, entries: Sequence[Entry]) -> Story | Asked:
    """What people were asked, or said: the write that came of it, or else what was said."""
    name = asked.details.get("question") or asked.id
    said = [entry for entry in entries if entry.kind is Kind.APPROVAL and entry.details.get("question") == name]
    agreed = {entry.id for entry in said}
    for entry in entries:
        if entry.phase is not Phase.OUTCOME and agreed & {approval.entry for approval in entry.approvals}:
            return story(entry, entries)
    told = Asked(next((entry for entry in entries if entry.id == name), asked), said)
    told.rule = _text_of(told.question.details.get("rule_digest", ""), entries)
    return told


def _text_of(digest: str, entries: Iterable[Entry]) -> str:
    """Of a rule or limits, as it was in force."""
    for entry in entries:
        if entry.kind is Kind.RULE_CHANGE and entry.details.get("digest") == digest:
            return entry.details.get("text", "")
    return ""


def _unanswered(told: Asked) -> Iterator[str]:
    """Nothing was written."""
    asked = told.question
    details, target = asked.details, asked.target
    value = f"{details.get('value', 'something')} {details.get('unit', '')}".strip()
    where = f"{target.address} ({target.connection})" if target else "nothing"
    yield f"{asked.time}: {_who(asked)} wanted {value} written to {where}, which people have to agree to."
    yield f"The rule was {details.get('rule', 'none')}{f': {_condition(told.rule)}' if told.rule else ''}."
    for entry in told.said:
        verb = "refused" if entry.result is Result.DENIED else "agreed to exactly this"
        yield f"{entry.time}: {entry.who.id} {verb}{f': {entry.note}' if entry.result is Result.DENIED else ''}."
    if not any(entry.result is Result.DENIED for entry in told.said):
        nobody = "Nobody else" if told.said else "Nobody"
        yield f"{nobody} agreed by {details.get('until', 'then')}, or another question took its place."
    yield "Nothing was written because of it."


def story(asked: Entry, entries: Sequence[Entry]) -> Story:
    """All that the log's entries say of the decision that one belongs to. Raises `CannotJudge` if it is about none."""
    name = asked.refers_to or asked.id
    began = next((entry for entry in entries if entry.id == name), asked)
    if began.kind not in (Kind.WRITE, Kind.DENIAL):
        kind = began.kind.value.replace("_", " ")
        raise CannotJudge(f"{began.id} is of kind {kind}, not a decision to write; `plantgate audit show` tells it")
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
    if began.why is not None:
        told.rule = _text_of(began.why.digest, entries)
        told.emergency = _declared(began, entries) if began.why.rule == EMERGENCY_RULE else None
    return told


def _declared(began: Entry, entries: Iterable[Entry]) -> Entry | None:
    """The emergency in which it was written: the last that the same person declared before it."""
    found = None
    for entry in entries:
        if entry.id == began.id:
            break
        if entry.kind is Kind.EMERGENCY and entry.who.id == began.who.id and "declared" in entry.details.values():
            found = entry
    return found


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
    if told.emergency is not None:
        yield (
            f"{told.emergency.time}: {told.emergency.who.id} had declared an emergency: {told.emergency.note}. "
            "It goes past people, interlocks, thrown switches, steps, pace and clock."
        )
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
    name = "" if entry.who.id == entry.who.kind else f" {entry.who.id}"  # the gateway itself
    return f"the {entry.who.kind}{name}{behalf}"


def _value(quantity: Quantity | None) -> str:
    if quantity is None:
        return "something"
    quality = f" ({quantity.quality})" if quantity.quality else ""
    return f"{quantity.value} {quantity.unit}".strip() + quality
