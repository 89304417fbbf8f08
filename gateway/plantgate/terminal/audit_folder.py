"""A published log in a folder, as the verbs of `plantgate audit` open it; and text of strangers, fit for a terminal."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Note, Signer
from plantgate.audit.policy import BadPolicy
from plantgate.audit.tiles import Read, Tiles, folder, with_archive

FINE: Final = 0
INCOMPLETE: Final = 2
TAMPERED: Final = 3
FORKED: Final = 4
USAGE: Final = 5
_TELL_SECONDS: Final = 3.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class CannotJudge(Exception):
    """A file or an argument that is not what it should be."""


def log_argument(verb: argparse.ArgumentParser) -> None:
    """The log's folder."""
    verb.add_argument("log", type=Path, help="folder of the published log: it holds `checkpoint` and `tile`")
    verb.add_argument("--archive", type=Path, metavar="FOLDER", help="where the entries are that went into the archive")


def policy_argument(verb: argparse.ArgumentParser) -> None:
    """Whose signatures count."""
    verb.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="the log's public key, or a policy with witnesses"
    )


def vault_arguments(verb: argparse.ArgumentParser, *, required: bool) -> None:
    """Where the payloads are, and the key to them."""
    verb.add_argument("--vault", type=Path, required=required, metavar="FOLDER", help="the vault's folder")
    verb.add_argument(
        "--wrapping", type=Path, required=required, metavar="FOLDER", help="the folder with the vault's wrapping key"
    )


def reading(chosen: argparse.Namespace) -> Read:
    """The log's files, and those in the archive that was given. Raises `CannotJudge` where no log is."""
    _must_be_published(chosen.log)
    read = folder(chosen.log)
    if chosen.archive is not None:
        read = with_archive(read, chosen.archive)
    if sys.stderr.isatty():
        read = telling(read, time.monotonic, lambda sentence: print(sentence, file=sys.stderr, flush=True))
    return read


def telling(read: Read, now: Callable[[], float], say: Callable[[str], None]) -> Read:
    """The same files; whoever waits for a long log is told every few seconds where the reading is."""
    began = told = now()

    def read_and_tell(path: str) -> bytes:
        nonlocal told
        if (at := now()) - told >= _TELL_SECONDS:
            told = at
            say(f"  … {at - began:.0f} s: reading {path}")
        return read(path)

    return read_and_tell


def tiles_of(chosen: argparse.Namespace) -> Tiles:
    """The log as it was published last. Raises `CannotJudge` where none of its entries is here."""
    read = reading(chosen)
    tiles = Tiles(read, Checkpoint.parse(note_at(chosen.log / "checkpoint").text).size)
    if tiles.size and tiles.kept_from() == tiles.size:
        raise CannotJudge(
            f"{chosen.log}: none of the {tiles.size:,} entries is here; "
            "copy `tile/entries` too, or give --archive FOLDER"
        )
    return tiles


def looked_at(tiles: Tiles) -> Iterator[tuple[int, bytes]]:
    """Every entry that is here; tells first, beside the answer, which are not."""
    if kept_from := tiles.kept_from():
        print(
            f"plantgate audit: entries 0 to {kept_from - 1:,} are not here and were not looked at: they are in the "
            "archive (--archive FOLDER), or the copy is not whole",
            file=sys.stderr,
        )
    yield from tiles.kept()


def _must_be_published(log: Path) -> None:
    """Half a copy is let through: the verdicts say what is missing of it."""
    if not log.exists():
        raise CannotJudge(f"{log}: there is no such folder")
    if (log / "checkpoint").is_file() or (log / "tile").is_dir():
        return
    if (log / "public" / "checkpoint").is_file():
        raise CannotJudge(f"{log}: this is the log's own folder; what is published is in {log / 'public'}: give that")
    raise CannotJudge(f"{log}: no published log is there; give the folder that holds `checkpoint` and `tile`")


def entry_asked_for(chosen: argparse.Namespace) -> tuple[int, Tiles]:
    """By its number, or by the id in it."""
    tiles = tiles_of(chosen)
    kept_from = tiles.kept_from()
    if chosen.entry.isdecimal() and len(chosen.entry) < 20:
        index = int(chosen.entry)
        if index >= tiles.size:
            raise CannotJudge(f"there is no entry {index}: the log has {tiles.size:,}, from 0 on")
        if index < kept_from < tiles.size:
            raise CannotJudge(
                f"entry {index} went into the archive, as all before {kept_from:,}; give --archive FOLDER"
            )
        return index, tiles
    wanted = f'"id":{json.dumps(chosen.entry)}'.encode()
    for index, content in tiles.kept():
        if wanted in content and _id_of(content) == chosen.entry:  # it may be the id of whoever acted, too
            return index, tiles
    raise CannotJudge(f"no entry has the id {chosen.entry}")


def _id_of(content: bytes) -> str:
    """Of an entry, also of one that is not quite as it should be."""
    try:
        said = json.loads(content)
    except ValueError:
        return ""
    return str(said.get("id")) if isinstance(said, dict) else ""


def note_at(path: Path) -> Note:
    """A signed note in a file."""
    try:
        return Note.parse(folder(path.parent)(path.name))
    except BadNote as error:
        raise CannotJudge(f"{path}: {error}") from None


async def own_log(folder: Path, signers: Sequence[Signer]) -> AuditLog:
    """The log in a folder, to write to. One that is not there is none: it would be a second log of that name."""
    if not (folder / "entries").is_dir():
        raise CannotJudge(f"{folder}: no log is there; give the log's own folder: it holds `entries` and `signed`")
    return await AuditLog.open(folder, signers[0].verifier.name, signers)


def signer_at(path: Path) -> Signer:
    """A private key in a file."""
    try:
        return Signer.parse(path.read_text(encoding="utf-8").strip())
    except BadNote as error:
        raise BadPolicy(f"{path}: {error}") from None


def seconds_in(written: str) -> int:
    """``90s``, ``10m``, ``24h``, ``7d``."""
    found = re.fullmatch(r"([0-9]{1,9}) ?([smhd])", written)
    if found is None:
        raise CannotJudge(f"{written!r} is not a time; write for example 90s, 10m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def plain(text: str) -> str:
    """Nothing in it moves the cursor, turns letters around or hides: such characters stand as their escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
