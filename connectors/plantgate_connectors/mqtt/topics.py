"""Topics: which are legal, and how their levels become tags."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Final

TOPIC_BYTES_MAX: Final = 1024
"""MQTT allows 65,535; a tag of that length is an attack or a mistake."""

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LEVEL: Final = re.compile(r"\{([a-z][a-z0-9_]*)(#?)\}")


def topic_problem(topic: str) -> str | None:
    """Why nobody may publish to this topic (MQTT 5, 4.7), in a few words; None if it is fine."""
    if not topic:
        return "it is empty"
    if "\0" in topic:
        return "it contains a NUL character"
    if "+" in topic or "#" in topic:
        return "it contains a wildcard, + or #"
    if topic.startswith("$"):
        return "topics that begin with $ are the broker's own"
    try:
        length = len(topic.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    if length > TOPIC_BYTES_MAX:
        return f"it is {length} bytes long, the most is {TOPIC_BYTES_MAX}"
    return None


def read_topic(raw: bytes) -> str | None:
    """A received topic as text; None where it breaks the rules (invalid UTF-8, NUL, wildcards, too long)."""
    if not 0 < len(raw) <= TOPIC_BYTES_MAX or b"\0" in raw or b"+" in raw or b"#" in raw:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


class Template:
    """Text with ``{name}`` in it."""

    __slots__ = ("_pieces", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces: Sequence[str] = _NAME.split(text)  # text, name, text, name, text
        self.names: Set[str] = frozenset(self._pieces[1::2])
        if any(brace in piece for piece in self._pieces[0::2] for brace in "{}"):
            raise ValueError(f"{text!r}: a name in braces is lower-case letters, digits and _, for example {{line}}")

    def only(self, allowed: Set[str], where: str) -> None:
        """Refuse names nobody will fill."""
        for name in sorted(self.names - allowed):
            known = ", ".join(f"{{{known}}}" for known in sorted(allowed))
            raise ValueError(f"{where}: {{{name}}} has no meaning here; there is {known}")

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every name replaced."""
        return "".join(values[piece] if odd % 2 else piece for odd, piece in enumerate(self._pieces))

    def example(self) -> str:
        """The text with something harmless for every name."""
        return self.fill(dict.fromkeys(self.names, "x"))


class Pattern:
    """A subscription: an MQTT topic filter whose levels may have names."""

    __slots__ = ("_levels", "_open", "filter", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        self._open = levels[-1] == "#" or levels[-1].endswith("#}")
        """Whether the last level stands for all that follow."""
        self._levels: list[tuple[str | None, str | None]] = []
        """For each level: the text it must be, or None; the name it is known by, or None."""
        written = []
        for place, level in enumerate(levels):
            literal, name, wild = _level(text, level, last=place == len(levels) - 1)
            self._levels.append((literal, name))
            written.append(literal if literal is not None else wild)
        self.filter = "/".join(written)
        names = [name for _, name in self._levels if name is not None]
        if len(names) != len(set(names)):
            raise ValueError(f"topic {text!r}: a name stands twice in it")
        self.names: Set[str] = frozenset(names)
        if not text or "\0" in text or len(self.filter.encode()) > TOPIC_BYTES_MAX:
            raise ValueError(f"topic {text!r}: it must have 1 to {TOPIC_BYTES_MAX} bytes and no NUL")

    def match(self, topic: str) -> dict[str, str] | None:
        """The named levels of a topic, and ``topic`` itself; None if the topic is not meant."""
        parts = topic.split("/")
        found = {"topic": topic}
        if topic.startswith("$") and self._levels[0][0] is None:
            return None  # wildcards at the front do not reach the broker's own topics (MQTT 5, 4.7.2)
        if self._open:
            fixed = self._levels[:-1]
            if len(parts) < len(fixed):
                return None
            rest = parts[len(fixed) :]
            if (name := self._levels[-1][1]) is not None:
                if not rest:
                    return None
                found[name] = "/".join(rest)
        else:
            fixed = self._levels
            if len(parts) != len(fixed):
                return None
        for (literal, name), part in zip(fixed, parts, strict=False):
            if literal is not None:
                if literal != part:
                    return None
            elif name is not None:
                found[name] = part
        return found


def _level(topic: str, level: str, *, last: bool) -> tuple[str | None, str | None, str]:
    if level in ("+", "#"):
        if level == "#" and not last:
            raise ValueError(f"topic {topic!r}: # stands for all that follows, so it can only come last")
        return None, None, level
    if found := _LEVEL.fullmatch(level):
        name, rest = found.groups()
        if name == "topic":
            raise ValueError(f"topic {topic!r}: {{topic}} already means the whole topic; choose another name")
        if rest and not last:
            raise ValueError(f"topic {topic!r}: {level} stands for all that follows, so it can only come last")
        return None, name, "#" if rest else "+"
    if any(character in level for character in "+#{}"):
        raise ValueError(f"topic {topic!r}: {level!r} must be plain text, + or {{name}}, and at the end # or {{name#}}")
    return level, None, ""
