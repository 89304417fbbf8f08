"""`plantgate new` and `plantgate check-plugin`: what a vendor sees."""

import argparse
import json
import sys
from pathlib import Path

from plantgate.kit.grade import CannotGrade, Grade, Report, Verdict, contract_tests, grade
from plantgate.kit.naming import BadName, names
from plantgate.kit.new import Roles, make
from plantgate.registry import NotInstalled, Unusable, registry
from plantgate.terminal.tables import table

FINE = 0
USAGE = 2


def new_arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate new`."""
    what = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    connector = what.add_parser("connector", help="a connector", description="Makes the package of a new connector.")
    connector.add_argument("name", help="what an operator will write behind `type:`, for example acme_press")
    connector.add_argument("--folder", type=Path, help="where (a new folder named as the package)")
    only = connector.add_mutually_exclusive_group()
    only.add_argument("--source", action="store_true", help="it only reads")
    only.add_argument("--sink", action="store_true", help="it only writes")


def new(chosen: argparse.Namespace) -> int:
    """Make it, and say what comes next."""
    try:
        called = names(chosen.name, registry())
        folder: Path = chosen.folder or Path(called.package)
        roles = Roles.SOURCE if chosen.source else Roles.SINK if chosen.sink else Roles.BOTH
        written = make(called, folder, roles)
    except (BadName, OSError) as error:
        print(f"plantgate new: {error}", file=sys.stderr)
        return USAGE
    print(f"{folder}: {len(written)} files, a connector that works, with a twin of its device")
    for place in written:
        if place.stat().st_size:
            print(f"  {place.relative_to(folder)}")
    print("\nNext:")
    print(f"  cd {folder} && pip install -e . pytest && pytest")
    print(f"  plantgate check-plugin {called.connector}")
    print("Then put your device's protocol where the JSON lines are, and its behaviour into tests/device.py.")
    return FINE


def check_arguments(parser: argparse.ArgumentParser) -> None:
    """What comes behind `plantgate check-plugin`."""
    parser.add_argument("name", help="the connector, as an operator writes it behind `type:`")
    parser.add_argument("--tests", type=Path, help="its contract tests (found near it in a checkout)")
    parser.add_argument(
        "--seeds", type=int, default=20, metavar="N", help="how many seeds each case is tried with (20)"
    )
    parser.add_argument("--collect", action="store_true", help="do not run the tests, only see that they are there")
    parser.add_argument(
        "--at-least", choices=[each.name.lower() for each in Grade], help="exit with 2 below this grade"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def check_plugin(chosen: argparse.Namespace) -> int:
    """Grade it."""
    try:
        connector = registry().connector(chosen.name)
        tests = chosen.tests or contract_tests(chosen.name, connector)
        if not chosen.json and not chosen.collect:
            print(f"running {tests} with {chosen.seeds} seeds; this can take minutes", file=sys.stderr)
        report = grade(chosen.name, connector, tests, seeds=chosen.seeds, run=not chosen.collect)
    except NotInstalled:
        print(f"plantgate check-plugin: no connector `{chosen.name}`; see `plantgate list`", file=sys.stderr)
        return USAGE
    except (Unusable, CannotGrade) as error:
        print(f"plantgate check-plugin: {error}", file=sys.stderr)
        return USAGE
    print(json.dumps(_document(report), indent=2, ensure_ascii=False) if chosen.json else _told(report))
    return USAGE if chosen.at_least and report.grade < Grade[chosen.at_least.upper()] else FINE


def _told(report: Report) -> str:
    marks = {Verdict.FINE: "✓", Verdict.MISSING: "✗", Verdict.DECLARED: "~"}
    rows = [[marks[each.verdict], each.grade.name.lower(), each.what, each.said] for each in report.checks]
    lines = [table(("", "FOR", "CHECK", ""), rows), "", f"{report.name}: {report.grade.name.lower()}"]
    if any(each.verdict is Verdict.DECLARED for each in report.checks):
        lines.append("~ is the author's word; nobody has looked")
    following = next((grade for grade in Grade if grade == report.grade + 1), None)
    missing = [each for each in report.missing() if following is not None and each.grade <= following]
    if following is not None and missing:
        lines.append(f"for {following.name.lower()}: " + "; ".join(each.said or each.what for each in missing))
    if report.excuse:
        lines.append(f"its README: {report.excuse}")
    return "\n".join(lines)


def _document(report: Report) -> dict[str, object]:
    return {
        "name": report.name,
        "grade": report.grade.name.lower(),
        "excuse": report.excuse,
        "checks": [
            {"grade": each.grade.name.lower(), "what": each.what, "verdict": each.verdict.value, "said": each.said}
            for each in report.checks
        ],
    }
