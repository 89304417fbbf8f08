"""Judges a part of the document by its settings model, and says what is wrong at the place where it is written."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from plantgate.config.place import Place, Step, Trail
from plantgate.config.problems import Problem, Severity, instead, nearest
from plantgate.config.sentences import Report, expects, sentence, wrong_kind
from plantgate.config.shape import field_at, models_at, models_in, spelled
from plantgate.config.yaml12 import Document, Plain

M = TypeVar("M", bound=BaseModel)

REPORTS_MOST: Final = 100
"""Of one part; ten thousand tags can be wrong in the same way."""

_IN_A_FILE: Final = re.compile(r"([^:\n]+\.\w+):(\d+)(?::(\d+))?: (.+)", re.DOTALL)
_AT_A_SETTING: Final = re.compile(r"([a-z]\w*(?:\[\d+\])?(?:\.\w+(?:\[\d+\])?)*)(?::| )(.+)", re.DOTALL)


class Judge:
    """One document and where it came from."""

    def __init__(self, document: Document, file: str, folder: Path) -> None:
        self.document = document
        self.file = file
        self.folder = folder
        self.problems: list[Problem] = []
        self.untold = 0
        """Problems that were found and are not among `problems`, since nobody reads so many."""

    def blame(self, trail: Trail, text: str, *, key: bool = False) -> None:
        """Note a problem with what stands at this trail, or with its name."""
        self.problems.append(Problem(self.file, self.document.place(trail, key=key), trail, text))

    def warn(self, trail: Trail, text: str, *, key: bool = False) -> None:
        """Note something that does not keep the gateway from running."""
        place = self.document.place(trail, key=key)
        self.problems.append(Problem(self.file, place, trail, text, Severity.WARNING))

    @property
    def errors(self) -> bool:
        """True once there is something that keeps the gateway from running."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)

    def settings(self, model: type[M], written: Plain, trail: Trail, *, also: Sequence[str] = ()) -> M | None:
        """The settings written at this trail; None, with the problems noted, if they are not sound.

        Validated as JSON, so that text becomes an enum or a path and a list a tuple, and text never a number.
        Validators find the plant file's folder as ``folder`` in their context. `also` names further settings that may
        stand there and are judged elsewhere.
        """
        try:
            return model.model_validate_json(to_json(written), context={"folder": self.folder})
        except ValidationError as error:
            reports = error.errors(include_url=False, include_input=False)
        _Reports(self, model, written, trail, also).note(reports[:REPORTS_MOST])
        self.untold += len(reports[REPORTS_MOST:])
        return None


class _Reports:
    """The reports of one failed validation."""

    def __init__(self, judge: Judge, model: type[BaseModel], written: Plain, base: Trail, also: Sequence[str]) -> None:
        self._judge, self._model, self._written, self._base, self._also = judge, model, written, base, also

    def note(self, reports: Iterable[Report]) -> None:
        """Say each once, the arms of a union as one."""
        alone: list[tuple[Trail, Report]] = []
        unions: dict[Trail, dict[Step, list[tuple[Trail, Report]]]] = defaultdict(lambda: defaultdict(list))
        for report in reports:
            trail, arm = self._locate(report)
            if arm is None:
                alone.append((trail, report))
            else:
                unions[trail[: arm[0]]][arm[1]].append((trail, report))
        for place, arms in unions.items():
            alone += self._one_arm(place, arms)
        unknown = [trail for trail, report in alone if report["type"] == "extra_forbidden"]
        guessed = {guess for trail in unknown for guess in self._guesses(trail)}
        for trail, report in alone:
            if report["type"] != "missing" or trail not in guessed:
                self._say(trail, report)

    def _locate(self, report: Report) -> tuple[Trail, tuple[int, Step] | None]:
        """Where in the document it is, and the first arm of a union pydantic was in when it met it.

        Pydantic's own location also names union arms and ``[key]``, which are in no document.
        """
        here: Any = self._written
        trail: list[Step] = []
        arm: tuple[int, Step] | None = None
        for index, step in enumerate(report["loc"]):
            last = index == len(report["loc"]) - 1
            if _holds(here, step):
                here = here[step]
            elif not (last and report["type"] == "missing"):
                if arm is None and step != "[key]" and not isinstance(step, int):
                    arm = len(trail), step
                continue
            trail.append(step)
        return tuple(trail), arm

    def _one_arm(self, place: Trail, arms: dict[Step, list[tuple[Trail, Report]]]) -> list[tuple[Trail, Report]]:
        """The reports of the arm the operator meant: the one whose kind of value is there, with the fewest faults."""
        meant = [
            found for found in arms.values() if not all(trail == place and expects(report) for trail, report in found)
        ]
        if meant:
            return min(meant, key=len)
        nouns = [noun for found in arms.values() for _, report in found if (noun := expects(report))]
        self._wrong_kind(place, nouns)
        return []

    def _wrong_kind(self, trail: Trail, nouns: list[str]) -> None:
        field = field_at(self._model, trail)
        needed = field is not None and field.is_required()
        names = self._names(trail)
        there_are = f"; its settings are {', '.join(names[:6])}{', …' if len(names) > 6 else ''}" if names else ""
        self._blame(trail, wrong_kind(nouns, _name(self._base + trail), self._at(trail), needed=needed) + there_are)

    def _say(self, trail: Trail, report: Report) -> None:
        key = report["loc"][-1:] == ("[key]",)
        match report["type"]:
            case "extra_forbidden":
                self._unknown(trail)
            case "missing":
                self._missing(trail)
            case "value_error" | "assertion_error":
                for line in str(report["ctx"]["error"]).split("\n"):
                    self._own_words(trail, line)
            case _ if (noun := expects(report)) and not key:
                self._wrong_kind(trail, [noun])
            case _:
                written = trail[-1] if key else self._at(trail)
                self._blame(trail, sentence(report, _name(self._base + trail), written), key=key)

    def _unknown(self, trail: Trail) -> None:
        name = str(trail[-1])
        here = [*self._names(trail[:-1]), *(self._also if len(trail) == 1 else ())]
        if not nearest(name, here) and (elsewhere := self._elsewhere(trail)):
            self._blame(trail, f"unknown setting here; {elsewhere}", key=True)
        else:
            self._blame(trail, f"unknown setting; {instead(name, here, there_are='there are')}", key=True)

    def _elsewhere(self, trail: Trail) -> str:
        """Where a setting of that name exists: one level down, or further up."""
        name = str(trail[-1])
        for model in models_at(self._model, trail[:-1]):
            for section, field in spelled(model).items():
                if any(name in spelled(below) for below in models_in(field)):
                    return f"it belongs under `{section}:`"
        for up in range(len(trail) - 2, -1, -1):
            if name in self._names(trail[:up]):
                parent = _name(self._base + trail[:up])
                return f"it belongs {f'under `{parent}:`' if parent else 'at the top'}; check the indentation"
        return ""

    def _missing(self, trail: Trail) -> None:
        if isinstance(trail[-1], int):
            self._blame(trail[:-1], f"needs at least {trail[-1] + 1} members")
            return
        field = field_at(self._model, trail)
        about = " ".join((field.description or "").split()) if field else ""
        first = re.split(r"(?<=[.;])\s", about, maxsplit=1)[0].rstrip(".;")
        self._blame(trail[:-1], f"`{trail[-1]}` is missing{f': {first[:1].lower()}{first[1:]}' if first else ''}")

    def _own_words(self, trail: Trail, line: str) -> None:
        """A validator's words; those that begin with a file and line, or with a setting, are said there."""
        if (match := _IN_A_FILE.fullmatch(line)) and (file := self._file_called(match[1])) is not None:
            place = Place(int(match[2]), int(match[3] or 1))
            self._judge.problems.append(Problem(file, place, (), match[4]))
            return
        line = line.replace(f"{self._judge.folder}/", "")
        if match := _AT_A_SETTING.fullmatch(line):
            inner = tuple(_steps(match[1]))
            if self._exists(trail + inner):
                self._blame(trail + inner, match[2].lstrip() if line[match.end(1)] == ":" else line)
                return
        self._blame(trail, line)

    def _file_called(self, name: str) -> str | None:
        """The file of that name that these settings mention, as the operator knows it."""
        for text in _texts(self._written):
            if text.rpartition("/")[2] == name.rpartition("/")[2]:
                return str(Path(self._judge.file).parent / text)
        return None

    def _blame(self, trail: Trail, text: str, *, key: bool = False) -> None:
        self._judge.blame(self._base + trail, text, key=key)

    def _guesses(self, trail: Trail) -> Iterable[Trail]:
        """The settings that an unknown one was probably meant to be: of a like name, or of that name further up."""
        yield (*trail[:-1], nearest(str(trail[-1]), self._names(trail[:-1])) or "")
        for up in range(len(trail) - 1):
            yield (*trail[:up], trail[-1])

    def _names(self, trail: Trail) -> list[str]:
        return [name for model in models_at(self._model, trail) for name in spelled(model)]

    def _at(self, trail: Trail) -> Any:
        here: Any = self._written
        for step in trail:
            here = here[step]
        return here

    def _exists(self, trail: Trail) -> bool:
        try:
            self._at(trail)
        except (LookupError, TypeError):
            return False
        return True


def _holds(container: object, step: Step) -> bool:
    if isinstance(container, list):
        return isinstance(step, int) and step < len(container)
    return isinstance(container, dict) and step in container


def _name(trail: Trail) -> str:
    """The last name of a trail."""
    return next((step for step in reversed(trail) if isinstance(step, str)), "")


def _steps(path: str) -> Iterable[Step]:
    for part in re.findall(r"\w+", path):
        yield int(part) if part.isdecimal() else part


def _texts(written: Plain) -> Iterable[str]:
    if isinstance(written, str):
        yield written
    elif isinstance(written, dict):
        for member in written.values():
            yield from _texts(member)
