"""Puts the bad neighbour where a gateway of its own finds it, as pip would."""

import os
import shutil
from pathlib import Path


def installed(folder: Path) -> dict[str, str]:
    """A package in `folder`, and the environment for a gateway that has it; its connector is `neighbour`."""
    site = folder / "site"
    info = site / "neighbour-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: neighbour\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[plantgate.connectors]\nneighbour = neighbour:Neighbour\n")
    shutil.copy(Path(__file__).with_name("neighbour.py"), site)
    return {**os.environ, "PYTHONPATH": str(site)}
