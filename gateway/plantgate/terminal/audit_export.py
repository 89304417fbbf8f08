"""`plantgate audit export`: a part of a log, to hand over to whoever wants to check it."""

import argparse
import asyncio
import os
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from plantgate.audit.decisions import whole
from plantgate.audit.entry import new_id
from plantgate.audit.export import ENTRIES_MAX, Order, export, recorded
from plantgate.audit.policy import Policy
from plantgate.audit.search import search
from plantgate.audit.tiles import Tiles
from plantgate.audit.vault import VaultReader
from plantgate.audit.verify import Verdict, verify
from plantgate.sdk.clock import SystemClock, iso
from plantgate.terminal.audit_folder import (
    FINE,
    TAMPERED,
    CannotJudge,
    log_argument,
    looked_at,
    own_log,
    policy_argument,
    reading,
    signer_at,
    vault_arguments,
)
from plantgate.terminal.audit_read import asked_in_words, filter_arguments, nothing_found, wanted_of


def export_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `export`."""
    log_argument(verb)
    verb.add_argument("out", type=Path, help="where to: a folder that is not there yet, or a file NAME.zip")
    policy_argument(verb)
    filter_arguments(verb)
    vault_arguments(verb, required=False)
    verb.add_argument(
        "--record", type=Path, metavar="LOG", help="the log's own folder: log there that this was exported"
    )
    verb.add_argument(
        "--key", type=Path, action="append", default=[], metavar="FILE", help="for --record: the log's private key"
    )
    verb.add_argument("--by", metavar="ID", help="for --record: id of whoever does it")


def run_export(chosen: argparse.Namespace) -> int:
    """Write it. Nothing is exported of a log that is not what was signed."""
    out: Path = chosen.out
    if out.exists():
        raise CannotJudge(f"{out}: is there already; nothing is written over it")
    if chosen.record is not None and not (chosen.key and chosen.by):
        raise CannotJudge("--record asks for --key and --by too: it is an entry of the log")
    if (chosen.vault is None) != (chosen.wrapping is None):
        raise CannotJudge("--vault and --wrapping go together: the vault, and the folder with its wrapping key")
    policy, read = Policy.load(chosen.policy), reading(chosen)
    report = verify(read, policy, now_seconds=int(time.time()))
    if report.integrity.verdict is not Verdict.YES or report.checkpoint is None:
        print(f"{chosen.log}: nothing is exported, since it is not what was signed: {'; '.join(report.integrity.said)}")
        return TAMPERED
    tiles = Tiles(read, report.checkpoint.size)
    matching = search(looked_at(tiles), wanted_of(chosen), most=ENTRIES_MAX + 1)
    if not matching:
        raise nothing_found(tiles, chosen)
    asked_for = whole(matching, tiles.kept())
    order = Order(
        asked_for.decisions,
        asked_for.grounds,
        asked_in_words(chosen),
        iso(SystemClock().now() // 10**9 * 10**9) or "",
        VaultReader(chosen.vault, chosen.wrapping).disclose if chosen.vault is not None else None,
    )
    sums = _write(out, export(read, report, order))
    if chosen.record is not None:
        asyncio.run(_record(chosen, order, sums))
    print(f"{out}: {order.count:,} of {tiles.size:,} entries, with proofs; open index.html, run python3 -I verify.py")
    if order.count > len(matching):
        print(f"  {len(matching):,} were asked for; the others belong to the same decisions, or are what they stand on")
    return FINE


async def _record(chosen: argparse.Namespace, order: Order, sums: bytes) -> None:
    signers = [signer_at(path) for path in chosen.key]
    async with await own_log(chosen.record, signers) as audit:
        await audit.append(recorded(order, sums, by=chosen.by, id_=new_id(SystemClock().now())))
        await audit.publish()


def _write(out: Path, files: Iterable[tuple[str, bytes]]) -> bytes:
    """For its owner only, since payloads may be in it. Gives the last of the files: the sums of all others."""
    content = b""
    if out.suffix == ".zip":
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files:
                archive.writestr(f"{out.stem}/{path}", content)
        return content
    out.mkdir(mode=0o700, parents=True)
    for path, content in files:
        place = out / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return content
