"""A pytest plugin that writes down which cases of which contract ran, and how they ended; for the run that grades."""

import json
import os
from pathlib import Path
from typing import Any, Final

import pytest

from plantgate.kit.grade import FILE

_CONTRACTS: Final = ("SourceContract", "LiveSourceContract", "SinkContract", "ActuatorContract", "CameraContract")


class _Cases:
    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def collected(self, item: pytest.Item) -> None:
        contract = _contract(item)
        if contract:
            self.found[item.nodeid] = {
                "contract": contract,
                "case": getattr(item, "originalname", item.name),
                "network": item.get_closest_marker("bad_network") is not None,
                "outcome": "collected",
                "said": "",
            }

    def ended(self, report: pytest.TestReport) -> None:
        case = self.found.get(report.nodeid)
        if case is not None and (report.when == "call" or report.failed or report.skipped):
            case["outcome"] = report.outcome
            if report.failed:
                case["said"] = str(report.longrepr).strip().splitlines()[-1] if report.longrepr else ""


_CASES: Final = _Cases()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Everything that was found, those with no contract left out."""
    for item in session.items:
        _CASES.collected(item)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """How a case ended."""
    _CASES.ended(report)


def pytest_sessionfinish() -> None:
    """Write it all down."""
    if FILE in os.environ:
        Path(os.environ[FILE]).write_text(json.dumps(list(_CASES.found.values())), encoding="utf-8")


def _contract(item: pytest.Item) -> str:
    """The most that the case's class is held to: `SourceContract` is a `LiveSourceContract` and more."""
    names = {base.__name__ for base in getattr(getattr(item, "cls", None), "__mro__", ())}
    return next((name for name in _CONTRACTS if name in names), "")
