"""`plantgate check-plugin NAME`: bronze, silver or gold, and what is missing. The scale is in docs/quality-scale.md.

A grade comes from running the connector's own contract tests and from looking at what it ships. Only the rung of
evidence is the author's word, and is shown as that.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from plantgate.config.load import check
from plantgate.config.problems import Severity
from plantgate.docs import BEGIN, END, tables
from plantgate.sdk import Connector

FILE: Final = "PLANTGATE_CASES"
"""Environment variable with the name of the file that `plantgate.kit.ran` writes."""
_LIVE: Final = re.compile(r"cannot\s+(repeat|be\s+asked\s+again|replay)|repeats?\s+nothing|Not repeated")
_RUNG: Final = re.compile(r"rung (1|2a|2b|3)\b")


class Grade(IntEnum):
    """How far a connector has come."""

    NONE = 0
    BRONZE = 1
    SILVER = 2
    GOLD = 3


class Verdict(Enum):
    """What became of one check."""

    FINE = "fine"
    MISSING = "missing"
    DECLARED = "declared"
    """The author says so; nobody has looked."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a grade asks for."""

    grade: Grade
    what: str
    verdict: Verdict
    said: str = ""


@dataclass(slots=True)
class Report:
    """A connector's grade, and why."""

    name: str
    checks: list[Check] = field(default_factory=list)
    excuse: str = ""
    """Why it is no more, as its README says under `## Grade`."""

    @property
    def grade(self) -> Grade:
        """The highest whose checks, and those of all below it, are fine."""
        reached = Grade.NONE
        for grade in (Grade.BRONZE, Grade.SILVER, Grade.GOLD):
            if any(each.verdict is Verdict.MISSING for each in self.checks if each.grade is grade):
                break
            reached = grade
        return reached

    def missing(self) -> list[Check]:
        """What keeps it from gold."""
        return [each for each in self.checks if each.verdict is Verdict.MISSING]


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a contract, as it ended."""

    contract: str
    case: str
    network: bool
    outcome: str
    said: str


class CannotGrade(Exception):
    """The tests cannot be run; the message says what to do."""


def grade(name: str, connector: type[Connector[Any]], tests: Path, *, seeds: int = 20, run: bool = True) -> Report:
    """Judge an installed connector by its contract tests (a file or a folder) and by what it ships.

    Without `run` the tests are only collected: whoever calls knows that they pass. Raises `CannotGrade`.
    """
    report = Report(name)
    home = _home(connector)
    readme = _read(home / "README.md") or _read(home.parent / "README.md")
    cases = _cases(tests, seeds=seeds, run=run)
    report.checks += _of_contracts(connector, cases)
    report.checks += _of_settings(connector)
    report.checks += _of_silver(connector, home, readme, cases)
    report.checks += _of_gold(connector, home, readme, cases)
    found = re.search(r"^## Grade\n+(.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE)
    report.excuse = " ".join(found[1].split()) if found else ""
    return report


def contract_tests(name: str, connector: type[Connector[Any]]) -> Path:
    """Where a connector's contract tests are, if it is installed from a checkout. Raises `CannotGrade`."""
    home = _home(connector)
    for folder in (home, *home.parents):
        tests = folder / "tests"
        for place in (
            tests / "contracts" / f"test_{name}.py",
            tests / "connectors" / name / "test_contract.py",
            tests / "test_contract.py",
        ):
            if place.exists():
                return place
    raise CannotGrade(
        f"{name}: its contract tests were not found near {home}; install it from a checkout (pip install -e .), "
        "or name them with --tests"
    )


def _of_contracts(connector: type[Connector[Any]], cases: Sequence[Case]) -> Iterator[Check]:
    for role, wanted, names in (
        ("reads", connector.reads(), ("SourceContract", "LiveSourceContract")),
        ("writes", connector.writes(), ("SinkContract",)),
        ("acts on", connector.acts(), ("ActuatorContract",)),
        ("sees", connector.sees(), ("CameraContract",)),
    ):
        if not wanted:
            continue
        mine = [case for case in cases if case.contract in names]
        failed = [case for case in mine if case.outcome not in ("passed", "collected")]
        what = f"what it {role} is held to the contract"
        if not mine:
            yield Check(Grade.BRONZE, what, Verdict.MISSING, f"no test class inherits {' or '.join(names)}")
        elif failed:
            first = failed[0]
            yield Check(
                Grade.BRONZE, what, Verdict.MISSING, f"{len(failed)} of {len(mine)} fail; {first.case}: {first.said}"
            )
        else:
            yield Check(Grade.BRONZE, what, Verdict.FINE, f"{len(mine)} cases of {mine[0].contract}")


def _of_settings(connector: type[Connector[Any]]) -> Iterator[Check]:
    bare = [name for name, each in connector.Settings.model_fields.items() if not each.description]
    said = f"no docstring: {', '.join(bare)}" if bare else f"{len(connector.Settings.model_fields)} settings"
    yield Check(Grade.BRONZE, "every setting says what it does", _fine(not bare), said)
    about = (connector.__doc__ or "").strip().partition("\n")[0]
    yield Check(Grade.BRONZE, "it says in a line what it is", _fine(bool(about)), about)


def _of_silver(connector: type[Connector[Any]], home: Path, readme: str, cases: Sequence[Case]) -> Iterator[Check]:
    network = [case for case in cases if case.network]
    local = "no network" in readme
    said = f"{len(network)} cases" if network else ("it has none, its README says" if local else "")
    yield Check(
        Grade.SILVER,
        "cuts, noise and silence on the network",
        _fine(bool(network) or local),
        said or "give the test class a `host`; a connector without one says `no network` in its README",
    )
    promise = re.search(r"^## .*promise", readme, re.MULTILINE | re.IGNORECASE) is not None
    yield Check(
        Grade.SILVER,
        "its README says what it promises",
        _fine(promise),
        "" if promise else "a section `What it promises`",
    )
    current = f"{BEGIN}\n{tables(connector.Settings)}{END}" in readme
    yield Check(
        Grade.SILVER,
        "its README has the settings as they are",
        _fine(current),
        "" if current else "run `plantgate docs`",
    )
    surveys = connector.survey is not Connector.survey
    yield Check(
        Grade.SILVER,
        "`plantgate plan` can ask what the device would grant",
        _fine(surveys),
        "" if surveys else "override `survey`",
    )
    yield _example(home)


def _example(home: Path) -> Check:
    what, file = "an example that `plantgate check` finds sound", home / "example.yaml"
    if not file.exists():
        return Check(Grade.SILVER, what, Verdict.MISSING, f"write {file.name} beside the connector's module")
    wrong = [problem for problem in check(file)[1] if problem.severity is Severity.ERROR]
    secrets = all("is not set" in problem.text or "cannot be read" in problem.text for problem in wrong)
    return Check(Grade.SILVER, what, _fine(not wrong or secrets), str(wrong[0]) if wrong and not secrets else "")


def _of_gold(connector: type[Connector[Any]], home: Path, readme: str, cases: Sequence[Case]) -> Iterator[Check]:
    if connector.reads():
        whole = any(case.contract == "SourceContract" for case in cases)
        live = _LIVE.search(readme) is not None
        said = "" if whole else ("its device cannot repeat itself, its README says" if live else "")
        yield Check(
            Grade.GOLD,
            "what was not acknowledged comes again",
            _fine(whole or live),
            said
            if whole or live
            else "hold it to SourceContract, or say in the README that a device cannot repeat itself",
        )
    typed = (home / "py.typed").exists() or (home.parent / "py.typed").exists()
    yield Check(Grade.GOLD, "its types are for others to use", _fine(typed), "" if typed else "add py.typed")
    trouble = "## Troubleshooting" in readme
    yield Check(
        Grade.GOLD, "its README helps in trouble", _fine(trouble), "" if trouble else "a section `Troubleshooting`"
    )
    rungs = _RUNG.findall(readme)
    peer = "2a" in rungs or "3" in rungs
    said = f"rung {', '.join(dict.fromkeys(rungs))}" if rungs else "a line `Evidence: rung …` in the README"
    yield Check(
        Grade.GOLD,
        "tried against software of others, or a real device",
        Verdict.DECLARED if peer else Verdict.MISSING,
        said if peer else f"{said}; gold asks for rung 2a or 3",
    )


def _cases(tests: Path, *, seeds: int, run: bool) -> list[Case]:
    if not tests.exists():
        raise CannotGrade(f"{tests} is not there; name the contract tests with --tests")
    with TemporaryDirectory(prefix="plantgate-grade-") as folder:
        written = Path(folder) / "cases.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "plantgate.kit.ran", "-p", "no:cacheprovider"]
        command += ["--basetemp", str(Path(folder) / "tmp"), "--plantgate-seeds", str(seeds), str(tests)]
        if not run:
            command.append("--collect-only")
        ended = subprocess.run(  # noqa: S603  our own interpreter, on tests the caller named
            command,
            cwd=_root(tests),
            env={**os.environ, FILE: str(written)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not written.exists():
            last = (ended.stderr or ended.stdout).strip().splitlines()
            raise CannotGrade(f"{tests}: the tests cannot be run: {last[-1] if last else 'pytest says nothing'}")
        return [Case(**each) for each in json.loads(written.read_text(encoding="utf-8"))]


def _root(tests: Path) -> Path:
    """The folder whose pyproject.toml says how the tests are run."""
    home = tests.resolve().parent
    return next((each for each in (home, *home.parents) if (each / "pyproject.toml").exists()), home)


def _home(connector: type[Connector[Any]]) -> Path:
    return Path(sys.modules[connector.__module__].__file__ or "").resolve().parent


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _fine(so: bool) -> Verdict:
    return Verdict.FINE if so else Verdict.MISSING
