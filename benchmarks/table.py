"""Results as a table for people and as JSON for machines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Row: TypeAlias = Mapping[str, str | float | int | None]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a Markdown table; the first row names the columns."""
    columns = list(rows[0])
    cells = [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[at]) for line in cells)) for at, column in enumerate(columns)]
    print(f"\n{title}\n")
    for line in (columns, ["-" * width for width in widths], *cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def save(path: Path | None, title: str, machine: str, rows: Sequence[Row]) -> None:
    """Write the same as JSON, if asked to."""
    if path is not None:
        path.write_text(json.dumps({"benchmark": title, "machine": machine, "rows": list(rows)}, indent=2) + "\n")


def _text(value: str | float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
