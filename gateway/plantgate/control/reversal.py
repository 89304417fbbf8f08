"""What undoes a write: the value that was there before, if the machine still has the one that was written."""

from plantgate.audit.entry import Entry, Kind, Phase, Who
from plantgate.control.book import REVERT_RULE, Book
from plantgate.control.proposal import Proposal
from plantgate.control.typed import read_back
from plantgate.sdk import Deadline, Rejected


def reversal(intent: Entry, book: Book, who: Who, deadline: Deadline) -> Proposal:
    """The compensating command, for the same guard. Raises `Rejected` with a sentence where there is none."""
    if intent.kind is not Kind.WRITE or intent.phase is not Phase.INTENT or intent.target is None:
        raise Rejected(f"{intent.id} is not the intent of a write; `plantgate audit show` says what it is")
    limits = book.limits.get(intent.target.address)
    if limits is None:
        raise Rejected(f"{intent.target.address} may not be written any more, so nothing is undone")
    if intent.before is None or intent.after is None:
        raise Rejected(f"{intent.id} does not say what was there before")
    try:
        before = read_back(intent.before.value, limits.settings.data_type)
        after = read_back(intent.after.value, limits.settings.data_type)
    except ValueError as error:
        raise Rejected(f"{intent.id}: {error}; the tag has another type now") from None
    return Proposal(
        tag=limits.tag,
        value=before,
        unit=intent.before.unit,
        rule=REVERT_RULE,
        who=who,
        deadline=deadline,
        expected=after,
        reverses=intent.id,
        trace=intent.trace,
    )
