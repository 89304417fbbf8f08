"""What `plantgate plan` says about files: looked at, never changed."""

import os
from pathlib import Path
from typing import Final

from plantgate.sdk import Finding
from plantgate_connectors.files.found import matching
from plantgate_connectors.files.lines import START, cut
from plantgate_connectors.files.rows import Samples, needs_header, rows_of
from plantgate_connectors.files.settings import FilesSettings, Format, Read, Write

_FILES_SHOWN: Final = 20
_ROWS_TRIED: Final = 20


def survey(settings: FilesSettings) -> tuple[Finding, ...]:
    """Findings for both sections."""
    findings: list[Finding] = []
    if settings.read is not None:
        findings += _reading(settings.read)
    if settings.write is not None:
        findings.append(_writing(settings.write))
    return tuple(findings)


def _reading(settings: Read) -> list[Finding]:
    try:
        files = matching(settings.path)
    except OSError as error:
        return [Finding(str(settings.path), "files to read", f"cannot be looked at: {error.strerror}", fine=False)]
    if not files:
        return [Finding(str(settings.path), "files to read", "none there", fine=settings.follow)]
    found = [_first_rows(settings, file) for file in files[:_FILES_SHOWN]]
    if len(files) > _FILES_SHOWN:
        found.append(Finding(str(settings.path), "files to read", f"{len(files) - _FILES_SHOWN} more"))
    return found


def _first_rows(settings: Read, file: Path) -> Finding:
    wanted = f"{settings.placing.value} {settings.reading.value}"
    samples = Samples()
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            quoted = settings.reading is Format.CSV
            records = cut(
                fd, START, most=_ROWS_TRIED, line_most=settings.line_bytes_max, quoted=quoted, finished=True
            ).records
        finally:
            os.close(fd)
        rows = rows_of(settings, records[0] if records else None)
        for record in records[1:] if needs_header(settings) else records:
            if record.fault:
                raise ValueError(f"line {record.line}: {record.fault}")
            rows.read(record, samples)
    except (OSError, ValueError) as error:
        return Finding(str(file), wanted, f"cannot be read: {error}", fine=False)
    if samples.faults:
        return Finding(str(file), wanted, f"cells without value: {samples.faults[0]}", fine=False)
    tags = list(dict.fromkeys(samples.tags))
    shown = ", ".join(tags[:5]) + (f" and {len(tags) - 5} more" if len(tags) > 5 else "")
    return Finding(str(file), wanted, f"{len(tags)} tags: {shown}" if tags else "no rows yet")


def _writing(settings: Write) -> Finding:
    folder = settings.folder
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    fine = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    granted = "can be written to" if fine else f"cannot be written to: {folder}"
    return Finding(str(settings.folder), f"{settings.format.value} files", granted, fine=fine)
