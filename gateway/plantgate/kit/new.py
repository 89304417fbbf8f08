"""`plantgate new connector NAME`: a package whose tests pass, to be filled with the real thing."""

import re
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Final

from plantgate import __version__
from plantgate.kit.naming import Names

_READS: Final = "reads"
_WRITES: Final = "writes"
_READING: Final = """\
Reading: **at least once.** A reading is acknowledged to the device when the batch it became is in the outbox; what was
not acknowledged the device gives again. Order per tag is the device's."""
_WRITING: Final = """\
Writing: **at least once.** A batch counts as delivered when the device has confirmed it; whatever breaks before that,
the same batch is sent again, with the same number."""


class Roles(Enum):
    """What it can do."""

    SOURCE = "source"
    SINK = "sink"
    BOTH = "both"


def make(names: Names, folder: Path, roles: Roles) -> list[Path]:
    """Write the package into `folder`, which must not hold anything yet; what was written.

    Raises `FileExistsError`, `OSError`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is there already and holds something; name another folder with --folder")
    reads, writes = roles is not Roles.SINK, roles is not Roles.SOURCE
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "example.yaml": f"{names.module}/example.yaml" if reads else "",
        "__init__.py": f"{names.module}/__init__.py",
        "settings.py": f"{names.module}/settings.py",
        "source.py": f"{names.module}/source.py" if reads else "",
        "sink.py": f"{names.module}/sink.py" if writes else "",
        "device.py": "tests/device.py",
        "test_contract.py": "tests/test_contract.py",
    }
    written = []
    for template, place in places.items():
        if place:
            written.append(_write(folder / place, _filled(_template(template), names, reads=reads, writes=writes)))
    written += [_write(folder / names.module / "py.typed", ""), _write(folder / "tests" / "__init__.py", "")]
    return written


def _template(name: str) -> str:
    return (files("plantgate.kit") / "template" / f"{name}.template").read_text(encoding="utf-8")


def _filled(text: str, names: Names, *, reads: bool, writes: bool) -> str:
    for word, kept in ((_READS, reads), (_WRITES, writes)):
        mark = re.compile(rf"^# {word}\n(.*?)^# end {word}\n", re.DOTALL | re.MULTILINE)
        text = mark.sub(lambda found, kept=kept: found[1] if kept else "", text)  # type: ignore[misc]  # bound at once
    if not reads:
        text = re.sub(r"^from acme_module\.source import .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("Settings, Sink, Source, Stability", "Settings, Sink, Stability")
        text = text.replace("Reads from and writes to", "Writes to")
        text = text.replace(
            "import asyncio\nfrom collections.abc import Sequence", "from collections.abc import Sequence"
        )
    if not writes:
        text = re.sub(r"^from acme_module\.sink import .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("Settings, Sink, Source, Stability", "Settings, Source, Stability")
        text = text.replace("Reads from and writes to", "Reads from")
    contracts = [name for name, kept in (("SinkContract", writes), ("SourceContract", reads)) if kept]
    for word, instead in (
        ("ContractBases", ", ".join(contracts)),
        ("reading_promise\n", _READING + "\n" if reads else ""),
        ("writing_promise\n", "\n" * (reads and writes) + _WRITING + "\n" if writes else ""),
        ("acme-dist", names.package),
        ("acme_module", names.module),
        ("acme_name", names.connector),
        ("AcmeClass", names.type_name),
        ("plantgate_version", __version__),
    ):
        text = text.replace(word, instead)
    return text


def _write(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text.strip("\n") + "\n" * bool(text), encoding="utf-8")
    return place
