"""`plantgate audit erase` and `archive`: what goes from vault and log, with two people's ids in the log."""

import argparse
import asyncio
from pathlib import Path

from plantgate.audit import archive as archiving
from plantgate.audit.erasure import Erased, Order, erase
from plantgate.audit.vault import Vault
from plantgate.sdk.clock import SystemClock
from plantgate.terminal.audit_folder import FINE, CannotJudge, own_log, signer_at, vault_arguments


def erase_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `erase`."""
    own_log_arguments(verb)
    verb.add_argument("subject", help="whom: its id in the vault")
    vault_arguments(verb, required=True)
    verb.add_argument("--basis", required=True, help="the law or rule, and the request: 'GDPR 17(1)(b), R-2026-17'")
    verb.add_argument("--by", required=True, metavar="ID", help="id of whoever does it")
    verb.add_argument("--approved-by", required=True, metavar="ID", help="id of somebody else, who agreed")


def own_log_arguments(verb: argparse.ArgumentParser) -> None:
    """A log that is written to, by its owner."""
    verb.add_argument("log", type=Path, help="the log's own folder: it holds `entries`, `signed` and `public`")
    verb.add_argument(
        "--key",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="the log's private key; each, if several",
    )


def run_erase(chosen: argparse.Namespace) -> int:
    """Erase, and publish that it was done. The gateway must not be running: it has the log."""
    order = Order(chosen.subject, chosen.basis, chosen.by, chosen.approved_by)
    if not (chosen.vault / "payloads").is_dir():  # one would be made there, and nothing in it erased
        raise CannotJudge(f"{chosen.vault}: no vault is there; give the folder that holds `keys` and `payloads`")
    done = asyncio.run(_erase(chosen, order))
    print(f"{order.subject}: {done.payloads} payloads of {len(done.indexes)} entries can be read by nobody any more")
    print(f"  the log says so under {done.intent}; backups of {chosen.wrapping} must go too")
    return FINE


async def _erase(chosen: argparse.Namespace, order: Order) -> Erased:
    signers = [signer_at(path) for path in chosen.key]
    async with await own_log(chosen.log, signers) as audit:
        with Vault.open(chosen.vault, chosen.wrapping) as vault:
            done = await erase(audit, vault, order, clock=SystemClock())
            await audit.publish()
            return done


def archive_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `archive`."""
    own_log_arguments(verb)
    verb.add_argument("archive", type=Path, help="the folder of the archive; each volume gets a folder in it")
    verb.add_argument(
        "--below", type=int, required=True, metavar="INDEX", help="entries before this one; what fills no volume stays"
    )
    verb.add_argument("--rule", required=True, help="the written retention rule: 'SOP-12 §4, 90 days on the gateway'")
    verb.add_argument("--by", required=True, metavar="ID", help="id of whoever does it")
    verb.add_argument("--approved-by", required=True, metavar="ID", help="id of somebody else, who agreed")


def run_archive(chosen: argparse.Namespace) -> int:
    """Archive, and publish that it was done. The gateway must not be running: it has the log."""
    order = archiving.Order(chosen.archive, chosen.below, chosen.rule, chosen.by, chosen.approved_by)
    done = asyncio.run(_archive(chosen, order))
    print(f"entries {done.begin:,} to {done.end - 1:,} are in {order.folder}; the log says so under {done.intent}")
    return FINE


async def _archive(chosen: argparse.Namespace, order: archiving.Order) -> archiving.Archived:
    signers = [signer_at(path) for path in chosen.key]
    async with await own_log(chosen.log, signers) as audit:
        await audit.publish()
        done = await archiving.archive(audit, order, clock=SystemClock())
        await audit.publish()
        return done
