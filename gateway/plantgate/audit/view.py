"""An export as a page to read: one file, no script, nothing fetched, fit to be printed.

Everything in it may have been written by a stranger, through a tag, a prompt or a model: it is shown as text, and
characters that turn text around or hide it stand as their escapes.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Final, TypeAlias

from plantgate.audit.entry import Approval, Check, Entry, Kind, Phase, Quantity, Reckoning
from plantgate.audit.policy import Policy
from plantgate.audit.verify import Report, Verdict

_TEXT_CHARACTERS_MAX: Final = 20_000
_IMAGE_BYTES_MAX: Final = 4 * 2**20
_IMAGES: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class About:
    """What the page is of."""

    report: Report
    policy: Policy
    asked: str
    time: str
    grounds: frozenset[int] = frozenset()
    """Entries that the others stand on, by index."""


@dataclass(frozen=True, slots=True)
class Record:
    """An entry on the page."""

    index: int
    entry: Entry
    disclosed: dict[str, bytes | None] = field(default_factory=dict)
    """By commitment; None where it was erased; what was kept back is not in here."""


Texts: TypeAlias = Mapping[str, Record]
"""Of rules and limits, by digest: the entry that has it."""


def page(about: About, records: Sequence[Record]) -> str:
    """The whole HTML. An intent and its outcomes are one card, in the place of the first of them."""
    style = files("plantgate.audit").joinpath("view.css").read_text(encoding="utf-8")
    name = safe(about.policy.log.name)
    texts = dict(_texts(records))
    decisions = [record for record in records if record.index not in about.grounds]
    grounds = [record for record in records if record.index in about.grounds]
    below = f"<h2>What they stand on</h2>\n{''.join(_cards(grounds, texts))}" if grounds else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit log {name}</title>
<style>
{style}</style>
</head>
<body>
<h1>What was done, and by which rule</h1>
<p class="origin">Audit log {name}</p>
{_about(about, len(records))}
<h2>Entries</h2>
{"".join(_cards(decisions, texts))}{below}
<footer>Times are UTC, by the gateway's clock; the order is that of the log. Nobody has signed this page: it is a view,
for reading. What was signed is in <code>entries/</code>, and <code>verify.py</code> checks that, not the page:
in doubt, read there.</footer>
</body>
</html>
"""


def safe(text: str) -> str:
    """Shown as it is written, and nothing else."""
    return escape("".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _about(about: About, count: int) -> str:
    report, checkpoint = about.report, about.report.checkpoint
    assert checkpoint is not None
    keys = ", ".join(f"{safe(key.name)} ({key.key_id.hex()})" for key in about.policy.keys)
    rows = [
        ("In here", f"{count:,} of {checkpoint.size:,} entries"),
        ("Asked for", safe(about.asked)),
        ("Exported", safe(about.time)),
        ("Keys", keys),
        ("Root", f'<span class="hash">{base64.b64encode(checkpoint.root).decode()}</span>'),
    ]
    rows.append(("Judged", "the whole log, when this was exported:"))
    for question, answer in report.answers().items():
        kind = {Verdict.YES: "yes", Verdict.NO: "no", Verdict.NOT_ASKED: "asked"}[answer.verdict]
        badge = f'<span class="badge {kind}">{answer.verdict.value}</span>'
        rows.append((_words(question), f"{badge} {'; '.join(map(safe, answer.said))}"))
    return f'<section class="card">{_list(rows)}</section>'


def _texts(records: Sequence[Record]) -> Iterator[tuple[str, Record]]:
    """Of rules and limits, by digest."""
    for record in records:
        if record.entry.kind is Kind.RULE_CHANGE:
            yield record.entry.details.get("digest", ""), record


def _cards(records: Sequence[Record], texts: Texts) -> Iterator[str]:
    here = {record.entry.id: record for record in records if record.entry.phase is Phase.INTENT}
    outcomes: dict[str, list[Record]] = {}
    for record in records:
        if record.entry.refers_to in here:
            outcomes.setdefault(record.entry.refers_to, []).append(record)
    for record in records:
        if record.entry.refers_to not in here:
            yield _card(record, outcomes.get(record.entry.id, []), texts)


def _card(record: Record, outcomes: Sequence[Record], texts: Texts) -> str:
    entry = record.entry
    last = outcomes[-1].entry if outcomes else entry
    standing = last.result.value if last.result else "open" if entry.phase is Phase.INTENT else "observed"
    target = f" · {safe(entry.target.address)}" if entry.target else ""
    numbers = [record.index, *(outcome.index for outcome in outcomes)]
    return f"""<article class="card">
<header><h3>{_words(entry.kind.value)}{target}</h3><time>{safe(entry.time)}</time>
<span class="badge {standing}">{standing}</span></header>
{_change(entry)}{_list(_rows(record, texts))}
{"".join(_after(outcome, texts) for outcome in outcomes)}{_proofs(numbers)}</article>
"""


def _after(outcome: Record, texts: Texts) -> str:
    entry = outcome.entry
    result = entry.result.value if entry.result else ""
    read = f", read back {_quantity(entry.after)}" if entry.after else ""
    head = f'<p><b class="{result}">{result}</b> at {safe(entry.time)}{read}</p>'
    rows = [(name, told) for name, told in _rows(outcome, texts) if name != "Outcome of"]  # it stands below its intent
    return f'<div class="after">{head}{_list(rows)}</div>'


def _change(entry: Entry) -> str:
    if entry.phase is Phase.OUTCOME or not (entry.before or entry.after):
        return ""
    same = entry.before and entry.after and entry.before.data_type == entry.after.data_type
    sides = [_quantity(entry.before, typed=not same)] if entry.before else []
    sides += [_quantity(entry.after)] if entry.after else []
    return f'<p class="change">{"<span class=arrow>→</span>".join(sides)}</p>\n'


def _rows(record: Record, texts: Texts) -> list[tuple[str, str]]:
    """What is said, by its name."""
    entry, rows = record.entry, list[tuple[str, str]]()

    def row(name: str, told: str) -> None:
        if told:
            rows.append((name, told))

    who = entry.who
    by = "".join((f", for {safe(who.on_behalf_of)}" if who.on_behalf_of else "", _known(who.authenticated_by)))
    row("By", f"{safe(who.id)} <span class=hash>{safe(who.kind)}</span>{by}")
    if entry.target and entry.target.connection:
        row("On", safe(entry.target.connection))
    if entry.why:
        row("Rule", f"{safe(entry.why.rule)} {_digest(entry.why.digest, texts)}")
        row("Condition", _condition(entry.why.digest, texts))
        row("Cites", safe(entry.why.cites))
        row("Reason", safe(entry.why.reason))
        row("Guards", _guards(entry.why.checks))
    if entry.model:
        row("Model", _model(entry.model))
    row("Approved by", _items([_approval(each) for each in entry.approvals]))
    row("Outcome of", f"<code>{safe(entry.refers_to)}</code>" if entry.refers_to else "")
    row("Reverses", f"<code>{safe(entry.reverses)}</code>" if entry.reverses else "")
    row("Trace", f"<code>{safe(entry.trace)}</code>" if entry.trace else "")
    row("Late", "recorded by hand in an emergency, when the log could take nothing" if entry.late else "")
    row("Note", safe(entry.note))
    for name, text in sorted(entry.details.items()):
        row(_words(name), _detail(text, record, texts))
    for payload in entry.payloads:
        row(_words(payload.name), _payload(payload.commitment, payload.size, record.disclosed))
    row("Id", f"<code>{safe(entry.id)}</code>")
    return rows


def _payload(commitment: str, size: int, disclosed: Mapping[str, bytes | None]) -> str:
    about = f"{size:,} bytes <span class=hash>{safe(commitment)}</span>"
    if commitment not in disclosed:
        return f"{about}, not disclosed"
    content = disclosed[commitment]
    if content is None:
        return f"{about}, erased"
    for magic, kind in _IMAGES.items():
        if content.startswith(magic) and len(content) <= _IMAGE_BYTES_MAX:
            return f'{about}<img alt="" src="data:{kind};base64,{base64.b64encode(content).decode()}">'
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"{about}, in <code>payloads/</code>"
    more = " …\n(the rest is in payloads/)" if len(text) > _TEXT_CHARACTERS_MAX else ""
    return f"{about}<pre>{safe(text[:_TEXT_CHARACTERS_MAX])}{more}</pre>"


def _quantity(value: Quantity, *, typed: bool = True) -> str:
    unit = f" {safe(value.unit)}" if value.unit else ""
    quality = f", {safe(value.quality)}" if value.quality else ""
    small = f"{safe(value.data_type) if typed else ''}{quality}".removeprefix(", ")
    return f"{safe(value.value)}{unit}{f' <small>{small}</small>' if small else ''}"


def _digest(digest: str, texts: Texts) -> str:
    """Of a text, and the entry that has it, where that is in here."""
    link = (
        f', in entry <a href="entries/{texts[digest].index}.json">{texts[digest].index}</a>' if digest in texts else ""
    )
    return f"<span class=hash>{safe(digest)}</span>{link}"


def _condition(digest: str, texts: Texts) -> str:
    """The rule's own, out of its text as it was in force."""
    rule = _parsed(texts[digest].entry.details.get("text", "")) if digest in texts else None
    rules = rule.values() if isinstance(rule, dict) else ()
    conditions = [str(each["when"]) for each in rules if isinstance(each, dict) and "when" in each]
    return "<br>".join(f"<code>{safe(each)}</code>" for each in conditions)


def _detail(text: str, record: Record, texts: Texts) -> str:
    if text.startswith("sha256:"):
        return _digest(text, {} if texts.get(text) is record else texts)
    if record.entry.kind is Kind.RULE_CHANGE and isinstance(parsed := _parsed(text), dict):
        return f"<pre>{safe(json.dumps(parsed, indent=1, ensure_ascii=False))}</pre>"
    return safe(text)


def _parsed(text: str) -> object:
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed


def _guards(checks: Sequence[Check]) -> str:
    """Side by side; one that objected, or saw something, has a line of its own."""
    told = [f"<li{' class=said' if check.saw or not check.passed else ''}>{_check(check)}</li>" for check in checks]
    return f'<ul class="guards">{"".join(told)}</ul>' if told else ""


def _check(check: Check) -> str:
    sign, word = ("✓", "yes") if check.passed else ("✗", "no")
    saw = f": {safe(check.saw)}" if check.saw else ""
    return f'<span class="{word}">{sign}</span> {safe(check.guard)}{saw}'


def _model(model: Reckoning) -> str:
    said = [f"{safe(model.model)} on {safe(model.target)}"]
    if model.output:
        said.append(f"said {safe(model.output)}")
    if model.confidence:
        asked = f", {safe(model.threshold)} asked" if model.threshold else ""
        said.append(f"confidence {safe(model.confidence)}{asked}")
    digests = [f"{name} {safe(digest)}" for name, digest in (("model", model.digest), ("inputs", model.inputs))]
    return "<br>".join(("; ".join(said), *(f"<span class=hash>{digest}</span>" for digest in digests)))


def _approval(approval: Approval) -> str:
    return f"{safe(approval.by)} <span class=hash>in {safe(approval.entry)}</span>"


def _known(how: str) -> str:
    return f", known by {safe(how)}" if how else ""


def _proofs(numbers: Sequence[int]) -> str:
    links = [
        f'entry <a href="entries/{number}.json">{number}</a> (<a href="proofs/{number}.tlog-proof">proof</a>)'
        for number in numbers
    ]
    return f'<p class="proofs">{", ".join(links)}</p>\n'


def _list(rows: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{told}</dd>' for name, told in rows)}</dl>"


def _items(told: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{each}</li>' for each in told)}</ul>" if told else ""


def _words(name: str) -> str:
    """``key_rotation`` as ``Key rotation``."""
    return safe(name.replace("_", " ").capitalize())
