"""Keys of records, and how their parts become tags."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Final

KEY_BYTES_MAX: Final = 1024
"""A tag of more is an attack or a mistake."""

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PART: Final = re.compile(r"\{([a-z][a-z0-9_]*)(#?)\}")
_TAKEN: Final = frozenset(("key", "topic", "partition"))


def read_key(raw: bytes | None) -> str | None:
    """A key as text, empty for none; None where no tag could be made of it (no UTF-8, control characters, too long)."""
    if raw is None:
        return ""
    if len(raw) > KEY_BYTES_MAX:
        return None
    try:
        key = raw.decode()
    except UnicodeDecodeError:
        return None
    return key if key.isprintable() else None


class Template:
    """Text with ``{name}`` in it."""

    __slots__ = ("_pieces", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces: Sequence[str] = _NAME.split(text)  # text, name, text, name, text
        self.names: Set[str] = frozenset(self._pieces[1::2])
        if not text or any(brace in piece for piece in self._pieces[0::2] for brace in "{}"):
            raise ValueError(f"{text!r}: a name in braces is lower-case letters, digits and _, for example {{line}}")

    def only(self, allowed: Set[str], where: str) -> None:
        """Refuse names nobody will fill."""
        for name in sorted(self.names - allowed):
            known = ", ".join(f"{{{known}}}" for known in sorted(allowed))
            raise ValueError(f"{where}: {{{name}}} has no meaning here; there is {known}")

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every name replaced."""
        return "".join(values[piece] if odd % 2 else piece for odd, piece in enumerate(self._pieces))


class Pattern:
    """What keys look like: text with ``{name}`` for what lies between, up to the next slash."""

    __slots__ = ("_expression", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        pieces = _PART.split(text)  # text, name, hash, text, …
        if any(brace in piece for piece in pieces[0::3] for brace in "{}"):
            raise ValueError(
                f"key {text!r}: a name in braces is lower-case letters, digits and _, for example {{line}}"
            )
        names = pieces[1::3]
        if len(names) != len(set(names)):
            raise ValueError(f"key {text!r}: a name stands twice in it")
        if taken := _TAKEN & set(names):
            raise ValueError(f"key {text!r}: {{{min(taken)}}} has a meaning already; choose another name")
        if any(rest and pieces[3 * place + 3 :] != [""] for place, rest in enumerate(pieces[2::3])):
            raise ValueError(f"key {text!r}: a name with # takes the rest, so it can only come last")
        written = re.escape(pieces[0])
        for name, rest, after in zip(names, pieces[2::3], pieces[3::3], strict=True):
            written += f"(?P<{name}>{'.+' if rest else '[^/]+'})" + re.escape(after)
        self._expression = re.compile(written)
        self.names: Set[str] = frozenset(names)

    def match(self, key: str) -> dict[str, str] | None:
        """The named parts of a key; None if the key is otherwise."""
        found = self._expression.fullmatch(key)
        return None if found is None else found.groupdict()
