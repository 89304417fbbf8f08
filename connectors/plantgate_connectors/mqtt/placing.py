"""Putting a value into a JSON document at a JSON Pointer (RFC 6901)."""

from collections.abc import Sequence


class Unplaceable(Exception):
    """The document has something else on the way there; the text says what."""


def placed(document: object, path: Sequence[str], value: object) -> object:
    """The document with `value` there; nothing of the one that was given is changed.

    What is missing on the way is made, as objects. Raises `Unplaceable` for a way through a list's missing place, or
    through a plain value.
    """
    if not path:
        return value
    step, *rest = path
    if document is None:
        return {step: placed(None, rest, value)}
    if isinstance(document, dict):
        return {**document, step: placed(document.get(step), rest, value)}
    if isinstance(document, list):
        if not (step.isdecimal() and len(step) < 10 and int(step) < len(document)):
            raise Unplaceable(f"the list there has {len(document)} places, and none is called {step!r}")
        at = int(step)
        return [*document[:at], placed(document[at], rest, value), *document[at + 1 :]]
    raise Unplaceable(f"{document!r} stands in the way of {step!r}")
