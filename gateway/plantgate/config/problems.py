"""What is wrong with a plant file, said to the person who has to mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path

from plantgate.config.place import Place, Trail, spell

_NAMED_MOST = 12


class Severity(Enum):
    """Whether the gateway can run all the same."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend: where it stands, what is wrong, what to write instead."""

    file: str
    """As the operator named it."""
    place: Place | None
    trail: Trail
    text: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.file}:{self.place.line}:{self.place.column}" if self.place else self.file
        path = f" {spell(self.trail)}:" if self.trail else ""
        warning = " warning:" if self.severity is Severity.WARNING else ""
        return f"{where}:{warning}{path} {self.text}"

    def order(self) -> tuple[str, Place]:
        """Sorts as a reader goes through the files."""
        return self.file, self.place or Place(0, 0)


class PlantFileError(Exception):
    """The plant file cannot be used; as text, a line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """From the top of the file to its end, each thing said once."""
    return tuple(dict.fromkeys(sorted(problems, key=Problem.order)))


def nearest(written: str, known: Iterable[str]) -> str | None:
    """The known word most like the written one, if one is like enough."""
    words = {word.lower().replace("-", "_"): word for word in known}
    plain = written.lower().replace("-", "_")
    for word, spelled in words.items():
        if sorted(word.split("_")) == sorted(plain.split("_")):
            return spelled
    close = get_close_matches(plain, list(words), n=1, cutoff=0.6)
    return words[close[0]] if close else None


def instead(written: str, known: Sequence[str], *, there_are: str) -> str:
    """``did you mean `host`?``, or what there is to choose from."""
    if guess := nearest(written, known):
        return f"did you mean `{guess}`?"
    if not known:
        return f"{there_are} none"
    more = f", … ({len(known)} in all)" if len(known) > _NAMED_MOST else ""
    return f"{there_are} {', '.join(known[:_NAMED_MOST])}{more}"


def file_name(path: Path) -> str:
    """A file as the operator knows it: relative to where they stand, if it lies below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
