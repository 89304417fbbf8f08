"""Checks a published log offline, with nothing but its folder and a policy. Four questions, four answers:

- integrity: is this what was signed, every bit of it, and is the past the past that was signed before?
- completeness: is every intent followed by its outcome, and is nothing in here that is no entry?
- freshness: how old is the newest thing in here, and is that young enough?
- quorum: have enough witnesses seen it, so that its owner cannot show another log to somebody else?

Whoever holds the log's key and the disk can make a log that has integrity; only what has left the host can tell: a
checkpoint seen earlier, and witnesses.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.ledger import Ledger
from plantgate.audit.note import BadNote, Note
from plantgate.audit.policy import Policy, Signed
from plantgate.audit.report import Answer as Answer
from plantgate.audit.report import Report as Report
from plantgate.audit.report import Verdict as Verdict
from plantgate.audit.rotation import follow
from plantgate.audit.rows import Rows, top
from plantgate.audit.tiles import LEVEL_BITS, WIDTH, Read, Tiles, Unreadable, tile_path
from plantgate.audit.tree import EMPTY, HASH_SIZE, leaf_hash

_AHEAD_SECONDS: Final = 300
"""By so much the clocks of others may be ahead of the one here."""
_NO_WITNESS: Final = "the policy asks for no witness: its owner could show others another log"


def verify(
    read: Read, policy: Policy, *, seen: Sequence[Note] = (), now_seconds: int = 0, within_seconds: int | None = None
) -> Report:
    """Check a published log, given what reads its files (`plantgate.audit.tiles.folder`).

    `seen` are checkpoints of the same log that came from elsewhere: a witness, an older copy, paper. `within_seconds`
    is how old the log may be at `now_seconds` (since 1970); without it, freshness is not asked.
    """
    report = Report()
    signed = _signed(read, policy, report)
    policy = report.policy or policy
    if signed is None:
        report.completeness = report.freshness = Answer(Verdict.NOT_ASKED, ["the log could not be read"])
        return report
    report.checkpoint = signed.checkpoint
    earlier = _earlier(seen, policy, signed.checkpoint, report)
    newest = _walk(read, signed.checkpoint, earlier, report)
    _witnessed(signed, policy, report)
    _fresh(signed, newest, now_seconds, within_seconds, report)
    return report


def _signed(read: Read, policy: Policy, report: Report) -> Signed | None:
    try:
        note = Note.parse(read("checkpoint"))
        report.policy = _followed(policy, Tiles(read, Checkpoint.parse(note.text).size), report)
        signed = report.policy.judge(note)
        report.note = note
        return signed
    except FileNotFoundError:
        report.integrity.no("checkpoint: missing; without it nothing in here says what was signed")
    except OSError as error:
        report.integrity.no(f"checkpoint: {error.strerror}")
    except BadNote as error:
        report.integrity.no(f"checkpoint: {error}")
    if policy.quorum is None:
        report.quorum = Answer(Verdict.NOT_ASKED, [_NO_WITNESS])
    else:
        report.quorum = Answer(Verdict.NO, [f"no checkpoint that {policy.log.name} signed is here to be witnessed"])
    return None


def _followed(policy: Policy, tiles: Tiles, report: Report) -> Policy:
    """Before anything is known to be what was signed: that the root has signed for a key is known by itself."""
    try:
        policy, wrong = follow(policy, tiles.kept())
    except Unreadable:  # which the walk will say
        return policy
    for sentence in wrong:
        report.integrity.no(sentence)
    return policy


def _earlier(seen: Sequence[Note], policy: Policy, last: Checkpoint, report: Report) -> dict[int, list[bytes]]:
    """Roots that were seen elsewhere, by size."""
    roots: dict[int, list[bytes]] = {}
    for note in seen:
        try:
            checkpoint = policy.judge(note).checkpoint
        except BadNote as error:
            report.integrity.no(f"a checkpoint seen earlier is none of this log: {error}")
            continue
        if checkpoint.size > last.size:
            report.forked = True
            report.integrity.no(
                f"the log had {checkpoint.size} entries, and has {last.size} in here: "
                "it was rolled back, or this is an older copy"
            )
        roots.setdefault(checkpoint.size, []).append(checkpoint.root)
    return roots


def _walk(read: Read, last: Checkpoint, earlier: dict[int, list[bytes]], report: Report) -> str:
    """Every entry, every tile, every root; the time of the newest entry."""
    tiles = Tiles(read, last.size)
    begin = tiles.kept_from()
    report.archived = begin = begin if begin < last.size else 0
    rows, ledger = Rows(), Ledger(report)
    for root in earlier.get(0, ()):
        _compare(0, EMPTY, root, report)
    try:
        if begin:
            rows = _above_the_archive(tiles, begin, earlier, report)
        for number in range(begin // WIDTH, -(-last.size // WIDTH)):
            entries = tiles.bundle(number)
            leaves = [leaf_hash(entry) for entry in entries]
            for size in range(rows.size + 1, rows.size + len(entries)):
                for root in earlier.get(size, ()):
                    _compare(size, rows.root(leaves[: size - rows.size]), root, report)
            for level, at, content in rows.extend(leaves):
                _same_tile(tiles, level, at, content, report)
            for root in earlier.get(rows.size, ()):
                _compare(rows.size, rows.root(), root, report)
            for entry in entries:
                ledger.take(entry)
        for level, at, content in rows.unfinished():
            _same_tile(tiles, level, at, content, report)
    except Unreadable as error:
        report.integrity.no(str(error))
        report.completeness = Answer(Verdict.NOT_ASKED, ["not all entries could be read"])
        return ledger.newest
    report.entries = rows.size - begin
    if rows.root() != last.root:
        report.integrity.no(f"the {last.size} entries do not lead to the root that was signed")
    if begin > ledger.minimum:
        report.integrity.no(f"entries 0 to {begin - 1:,} are missing, and no entry says that they were archived")
    ledger.close()
    return ledger.newest


def _above_the_archive(tiles: Tiles, begin: int, earlier: dict[int, list[bytes]], report: Report) -> Rows:
    """What stayed of entries that are archived: the hashes over them."""
    report.integrity.said.append(f"entries 0 to {begin - 1:,} are archived: their hashes are here, they were not read")
    level = 1
    while full := begin >> LEVEL_BITS * (level + 1):
        for number in range(full):
            content = tiles.tile(level, number)
            if top([content[at : at + HASH_SIZE] for at in range(0, len(content), HASH_SIZE)]) != tiles.node(
                LEVEL_BITS * (level + 1), number
            ):
                report.integrity.no(f"{tile_path(level, number)}: not the hashes below those of the next level")
        level += 1
    rows = Rows.at(tiles, begin)
    for size in sorted(size for size in earlier if 0 < size < begin):
        report.completeness.no(
            f"the checkpoint of {size:,} entries seen earlier lies in what is archived; give that too"
        )
    for root in earlier.get(begin, ()):
        _compare(begin, rows.root(), root, report)
    return rows


def _compare(size: int, found: bytes, root: bytes, report: Report) -> None:
    if found != root:
        report.forked = True
        report.integrity.no(f"the first {size} entries are not those that were seen earlier: the log was forked")


def _same_tile(tiles: Tiles, level: int, number: int, content: bytes, report: Report) -> None:
    """Names the first entry that differs, so that a person knows where to look."""
    published = tiles.tile(level, number)
    if published != content:
        name = tile_path(level, number, len(content) // HASH_SIZE if len(content) < WIDTH * HASH_SIZE else WIDTH)
        at = next(
            at for at in range(0, len(content), HASH_SIZE) if published[at:][:HASH_SIZE] != content[at:][:HASH_SIZE]
        )
        first = number * WIDTH + at // HASH_SIZE << LEVEL_BITS * level
        last = first + (1 << LEVEL_BITS * level) - 1
        where = f"entry {first}" if first == last else f"one of the entries {first} to {last}"
        report.integrity.no(f"{name}: not the hashes of the entries; {where} is the first that differs")


def _witnessed(signed: Signed, policy: Policy, report: Report) -> None:
    names = [f"{name} at {_moment(seconds)}" for name, seconds in sorted(signed.witnesses.items())]
    report.quorum.said = [f"witnessed by {', '.join(names)}"] if names else []
    if policy.quorum is None:
        report.quorum.verdict = Verdict.NOT_ASKED
        report.quorum.said.append(_NO_WITNESS)
    elif not signed.quorum:
        report.quorum.no(f"the policy asks for {policy.quorum}, which has not signed")


def _fresh(signed: Signed, newest: str, now: int, within: int | None, report: Report) -> None:
    """By the witnesses' clocks where there are any: the gateway's own proves nothing."""
    answer = report.freshness
    times = [(seconds, "witnessed") for seconds in signed.witnesses.values()]
    if not times and newest:
        times = [(int(datetime.fromisoformat(newest).timestamp()), "the newest entry is of")]
    if within is not None:  # a clock that is ahead makes nothing young
        times = [each for each in times if each[0] <= now + _AHEAD_SECONDS]
    if times:
        seconds, what = max(times)
        answer.said = [f"{what} {_moment(seconds)}"]
    if within is None:
        answer.verdict = Verdict.NOT_ASKED
    elif not times:
        answer.no("nothing in here has a time, or all are ahead of the clock here")
    elif now - max(times)[0] > within:
        answer.no(f"that is {_span(now - max(times)[0])} ago, where {_span(within)} are allowed")


def _span(seconds: int) -> str:
    """In its two largest units."""
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts[:2]) or "0 s"


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # of a clock that says what no calendar has
        return f"second {seconds} since 1970"
