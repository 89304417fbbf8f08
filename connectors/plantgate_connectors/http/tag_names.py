"""Which text may be the name of a tag, when it was a stranger who wrote it."""

import re
from typing import Final

from plantgate_connectors.calls import shown

TAG_BYTES_MAX: Final = 1024
"""A longer name is an attack or a mistake."""
_UNSHOWABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters (line ends and terminal sequences among them), marks that turn the direction of text, and halves
of surrogate pairs: what makes a log line, a page or a list say something else than it says."""


def tag_problem(tag: str) -> str | None:
    """Why this cannot be a tag, in a few words; None if it can. What can be shown can: quotes, braces, emoji."""
    if tag.isascii() and tag.isprintable() and 0 < len(tag) <= TAG_BYTES_MAX:
        return None
    if not tag:
        return "the name of a tag is empty"
    if len(tag) > TAG_BYTES_MAX or len(tag.encode(errors="replace")) > TAG_BYTES_MAX:
        return f"the name of a tag is longer than {TAG_BYTES_MAX} bytes"
    if _UNSHOWABLE.search(tag):
        return f"the name of a tag has a control character in it: {shown(tag)}"
    return None
