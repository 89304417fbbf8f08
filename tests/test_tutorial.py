"""The tutorial's connector is built from the page as it stands, and does what the page says."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.child import Child
from tests.peers.nut import nut
from tests.peers.require import require

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial-connector.md"
TOOLS = Path(sys.executable).parent
FILE = re.compile(r"^```(?:python|toml|yaml)\n# (\S+)\n.*?^```$", re.MULTILINE | re.DOTALL)
CONNECTOR = ("acme_ups/__init__.py", "acme_ups/settings.py", "acme_ups/source.py")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, in a folder of their own, and the package installed into `site` beside them; no network."""
    folder = tmp_path_factory.mktemp("tutorial")
    for block in FILE.finditer(PAGE.read_text(encoding="utf-8")):
        path = folder / block[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(block[0].splitlines()[1:-1]) + "\n", encoding="utf-8")
    install = ["pip", "install", "--offline", "--quiet", "--no-deps", "--no-build-isolation", "--target", "site", "."]
    done(folder, TOOLS / "uv", *install[:2], "--python", sys.executable, *install[2:])
    return folder


def command(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it in the folder, with the package installed."""
    return subprocess.run(
        [*map(str, words)],
        cwd=folder,
        env=surroundings(folder),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def done(folder: Path, *words: str | Path) -> str:
    """What a command says that must succeed."""
    ended = command(folder, *words)
    assert ended.returncode == 0, f"{words}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of an installed package."""
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "PYTHONDONTWRITEBYTECODE": "1"}


def test_the_page_has_every_file_of_the_package() -> None:
    names = [block[1] for block in FILE.finditer(PAGE.read_text(encoding="utf-8"))]
    assert sorted(names) == sorted([*CONNECTOR, "pyproject.toml", "plant.yaml", "tests/test_contract.py"])


def test_the_connector_is_less_than_a_hundred_lines_of_code(package: Path) -> None:
    counts = {name: lines_of_code((package / name).read_text(encoding="utf-8")) for name in CONNECTOR}
    assert 50 < sum(counts.values()) < 100, counts


def lines_of_code(source: str) -> int:
    """Lines that are neither empty, nor comment, nor docstring, nor import."""
    left = {number for number, line in enumerate(source.splitlines(), 1) if line.strip() and line.strip()[0] != "#"}
    for node in ast.walk(ast.parse(source)):
        told = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if told or isinstance(node, ast.Import | ast.ImportFrom):
            assert isinstance(node, ast.stmt)
            left -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(left)


def test_its_contract_passes(package: Path) -> None:
    said = done(package, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--plantgate-seeds", "2")
    assert re.search(r"^3\d passed", said, re.MULTILINE), said


@pytest.mark.parametrize(
    ("written", "broken", "case"),
    [
        ("async with self.deadline.timeout():", "if True:", "test_a_device_that_accepts_and_says_nothing_is_given_up"),
        ("self.context.standing.up()", "await asyncio.sleep(2)", "test_cancelling_a_read_loses_nothing"),
        ("if lost else ()", "if False else ()", "test_polls_that_were_missed_are_named"),
    ],
)
def test_its_contract_fails_when_the_connector_is_broken(
    package: Path, tmp_path: Path, written: str, broken: str, case: str
) -> None:
    for name in (*CONNECTOR, "tests/test_contract.py", "pyproject.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (package / name).read_text(encoding="utf-8")
        if name == "acme_ups/source.py":
            assert text.count(written) == 1
            text = text.replace(written, broken)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "site").symlink_to(tmp_path)  # the broken one, not the installed one
    ended = command(tmp_path, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", case, "tests")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"::{case}[" in ended.stdout


def test_it_is_typed_and_tidy(package: Path) -> None:
    done(package, TOOLS / "mypy", "--strict", "--cache-dir", package / ".mypy", "acme_ups", "tests")
    house = ROOT / "pyproject.toml"
    done(package, TOOLS / "ruff", "check", "--no-cache", "--config", house, *CONNECTOR)
    done(package, TOOLS / "ruff", "format", "--no-cache", "--check", "--config", house, *CONNECTOR, "tests")


def test_plantgate_lists_it_and_finds_the_plant_file_fine(package: Path) -> None:
    assert re.search(r"^connector +ups +acme-ups ", done(package, TOOLS / "plantgate", "list"), re.MULTILINE)
    done(package, TOOLS / "plantgate", "check", "plant.yaml")


@pytest.mark.integration
def test_a_ups_of_network_ups_tools_is_written_to_a_file(package: Path, tmp_path: Path) -> None:
    """With its driver gone the values are bad; with upsd gone and back, a gap says what is missing."""
    require("nut-upsd", "nut-dummy-ups")

    async def body() -> None:
        shown = {"ups.status": "OL", "battery.charge": "91", "input.voltage": "230.4"}
        async with nut(tmp_path / "nut", shown) as peer:
            text = (package / "plant.yaml").read_text(encoding="utf-8")
            assert text.count("port: 3493\n") == 1
            text = text.replace("port: 3493\n", f"port: {peer.port}\n    poll_seconds: 0.5\n")
            (tmp_path / "plant.yaml").write_text(text + "\nhttp:\n  listen: 127.0.0.1:0\n", encoding="utf-8")
            gateway = await Child.start(
                [TOOLS / "plantgate", "run", tmp_path / "plant.yaml"],
                log=tmp_path / "gateway.log",
                environment=surroundings(package),
            )

            passed = 0

            async def until(**wanted: Any) -> dict[str, Any]:
                """The next line of the file that says so, after the one that was found before."""
                nonlocal passed
                while True:
                    assert gateway.running, gateway.last_words()
                    for number, line in enumerate(written(tmp_path / "out")[passed:], passed + 1):
                        if wanted.items() <= line.items():
                            passed = number
                            return line
                    await asyncio.sleep(0.1)

            try:
                charge = await until(tag="power/ups1/charge", value=91.0)
                assert (charge["quality"], charge["time"]) == ("Good", None)
                await until(tag="power/ups1/input_voltage", value=230.4)
                await until(tag="power/ups1/status", value="OL")

                peer.show({**shown, "ups.status": "ALARM OB", "battery.charge": "full"})
                await until(tag="power/ups1/charge", value=None, quality="BadDecodingError")
                await until(tag="power/ups1/status", value="ALARM OB", quality="Good")

                assert peer.driver is not None
                peer.driver.freeze()
                await until(tag="power/ups1/status", value=None, quality="BadNoData")
                peer.driver.thaw()
                await until(tag="power/ups1/status", value="ALARM OB", quality="Good")

                await peer.unplug()
                await until(tag="power/ups1/status", value=None, quality="BadNoData")
                peer.show({**shown, "ups.status": "OL CHRG"})
                await peer.plug_in()
                await until(tag="power/ups1/status", value="OL CHRG", quality="Good")

                assert peer.upsd is not None
                await peer.upsd.kill()
                await asyncio.sleep(2.0)
                await peer.start_upsd()
                gap = await until(cause="no answer")
                assert gap["tags"] == ["power/ups1/charge", "power/ups1/input_voltage", "power/ups1/status"]
                assert gap["lost"] % 3 == 0, "a poll has three values"
                assert gap["lost"] >= 9, "two seconds, a poll each half second"
                await until(tag="power/ups1/status", quality="Good")
            finally:
                assert await gateway.stop(20.0) == 0

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await body()

    asyncio.run(bounded())


def written(folder: Path) -> list[dict[str, Any]]:
    """The whole lines in the files of the folder; of a gap, what it says."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl"))]
    lines = [json.loads(line) for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line.get("gap", line) for line in lines]
