"""The picture behind a decision: promised before anything is written, kept beside it, and erasable by the day."""

import asyncio
import errno
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from plantgate.audit.entry import Entry, Payload
from plantgate.audit.vault import Erased, Vault, VaultReader
from plantgate.control.loop import Loop
from plantgate.control.proposal import Answer, Standing
from plantgate.sdk import Frame, Value
from plantgate.testing.disk import PowerCut, SimulatedDisk
from tests.gateway.control.given import Plant, plant, run
from tests.gateway.control.test_loop import Eyes, defect, written

KEPT = written(keep_pictures=True)
FOLDER, WRAPPING = Path("/vault"), Path("/usb/wrapping")


async def look(here: Plant, *seen: Mapping[str, Value], side: int = 40) -> tuple[Answer, ...]:
    """One picture, grey, every pixel the number of its column."""
    pixels = memoryview(bytes(range(side)) * side).cast("B", (side, side))
    loop = Loop("heat", KEPT.loops["heat"], here.acting, here.news)
    return await loop.look(Frame("p", pixels, asyncio.get_running_loop().time()), Eyes(list(seen)))


def of(here: Plant, answer: Answer) -> Entry:
    return next(entry for entry in here.entries() if entry.id == answer.entry)


def one(entry: Entry) -> Payload:
    (payload,) = entry.payloads
    return payload


def opened(disk: SimulatedDisk) -> Vault:
    return Vault.open(FOLDER, WRAPPING, disk=disk)


def test_the_picture_that_led_to_a_write_can_be_looked_at_and_is_the_one_the_log_commits_to() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        with opened(disk) as vault:
            async with plant(disk, KEPT, vault=vault) as here:
                (answer,) = await look(here, defect())
                assert answer.standing is Standing.DONE
                payload = one(of(here, answer))
        assert payload.name == "picture"
        disclosed = VaultReader(FOLDER, WRAPPING, disk).disclose(payload.commitment)
        assert disclosed.commitment == payload.commitment
        assert len(disclosed.content) == payload.size
        with Image.open(io.BytesIO(disclosed.content)) as shown:
            assert (shown.format, shown.size, shown.getpixel((7, 3))) == ("PNG", (40, 40), 7)

    run(main)


def test_a_refusal_keeps_its_picture_too_and_one_of_which_no_rule_speaks_is_not_kept() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        with opened(disk) as vault:
            async with plant(disk, KEPT, vault=vault) as here:
                here.door(closed=False)
                (refused,) = await look(here, defect())
                assert refused.standing is Standing.DENIED
                assert one(of(here, refused))
                assert await look(here, defect(0.1)) == ()
            assert len(disk.names(FOLDER / "payloads")) == 1

    run(main)


def test_a_day_of_pictures_is_erased_and_the_log_stays_what_it_was() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        with opened(disk) as vault:
            async with plant(disk, KEPT, vault=vault) as here:
                (answer,) = await look(here, defect())
                payload = one(of(here, answer))
            (name,) = disk.names(FOLDER / "payloads")
            day = name.partition(".")[2]
            assert day.startswith("pictures:20")
            assert vault.erase(day) == (payload.commitment,)
            with pytest.raises(Erased):
                vault.disclose(payload.commitment)
        async with plant(disk, KEPT) as here:
            assert one(of(here, answer)) == payload

    run(main)


def test_a_full_vault_is_told_once_and_stops_no_write() -> None:
    async def main() -> None:
        disk = SimulatedDisk()
        with opened(disk) as vault:
            async with plant(disk, KEPT, vault=vault, vault_bytes_max=2000) as here:
                answers: list[Answer] = []
                for number in range(4):
                    answers += await look(here, defect(shift=10.0 + number))
                    await asyncio.sleep(1.0)
                    here.door()
                assert [answer.standing for answer in answers] == [Standing.DONE] * 4
                assert [len(of(here, answer).payloads) for answer in answers] == [1, 0, 0, 0]
                told = [line for line in here.news.lines if "are not kept any more" in line]
                assert len(told) == 1
                assert "the vault has its 2000 bytes" in told[0]

    run(main)


def test_a_disk_that_does_not_take_it_stops_no_write_and_the_log_of_the_gateway_says_which_is_missing() -> None:
    async def main() -> None:
        disk, other = SimulatedDisk(), SimulatedDisk()
        with opened(other) as vault:
            async with plant(disk, KEPT, vault=vault) as here:
                other.fail("pwrite", errno.EIO)
                (answer,) = await look(here, defect())
                assert answer.standing is Standing.DONE
                await asyncio.sleep(1.0)
                payload = one(of(here, answer))
                assert [line for line in here.news.lines if payload.commitment in line and "could not be kept" in line]
                with pytest.raises(Erased):
                    vault.disclose(payload.commitment)

    run(main)


@pytest.mark.parametrize("seed", range(20))
def test_a_power_cut_loses_a_picture_at_most_and_never_shows_another(seed: int) -> None:
    """The log commits to it before it is on the disk; what the vault then has is that picture, or nothing."""

    async def main() -> None:
        disk, other = SimulatedDisk(seed=seed), SimulatedDisk(seed=seed)
        payloads = []
        try:
            with opened(other) as vault:
                async with plant(disk, KEPT, vault=vault) as here:
                    for number in range(seed % 4 + 1):
                        (answer,) = await look(here, defect(shift=10.0 + number))
                        payloads.append(one(of(here, answer)))
                    cut = other.power_cut(seed)
        except* PowerCut:
            pass
        reader, missing = VaultReader(FOLDER, WRAPPING, cut), 0
        for payload in payloads:
            try:
                disclosed = reader.disclose(payload.commitment)
            except Erased:
                missing += 1
            else:
                assert (disclosed.commitment, len(disclosed.content)) == (payload.commitment, payload.size)
        assert missing <= 8, "more than may wait at a time"

    run(main)
