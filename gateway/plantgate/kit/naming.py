"""What a new connector is called: by the operator, by Python, and by pip."""

import keyword
import re
from dataclasses import dataclass

from plantgate.registry import Kind, Registry

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class BadName(ValueError):
    """The name cannot be used; the message says why, and what could."""


@dataclass(frozen=True, slots=True)
class Names:
    """All from one name."""

    connector: str
    """What an operator writes behind `type:`."""

    @property
    def module(self) -> str:
        """What Python imports."""
        return f"plantgate_{self.connector}"

    @property
    def package(self) -> str:
        """What pip installs (normalised as PEP 503 has it)."""
        return self.module.replace("_", "-")

    @property
    def type_name(self) -> str:
        """The class."""
        return "".join(word.capitalize() for word in self.connector.split("_"))


def names(wanted: str, plugins: Registry) -> Names:
    """Raises `BadName` for what operators, Python or pip could not write, or what is taken."""
    guess = re.sub(r"[^a-z0-9]+", "_", wanted.lower()).strip("_")
    if not _NAME.fullmatch(wanted):
        hint = f"; write for example {guess}" if _NAME.fullmatch(guess) else ""
        raise BadName(f"{wanted!r} cannot be a connector's name: lower-case letters, digits and single _{hint}")
    if len(wanted) > 40:
        raise BadName(f"{wanted!r} is too long for a name that people write; 40 letters are the most")
    if keyword.iskeyword(wanted):
        raise BadName(f"{wanted!r} is a word of Python's own; choose another")
    if wanted in plugins.names(Kind.CONNECTOR):
        raise BadName(f"there is a connector {wanted!r} already; `plantgate list` shows whose")
    return Names(wanted)
