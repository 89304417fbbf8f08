"""The vault: what is put in comes back, what is erased never does, across power cuts and from any copy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from plantgate.audit.vault import CONTENT_BYTES_MAX, Disclosed, Erased, Vault, VaultReader, new_subject
from plantgate.audit.vault_keys import VaultDamaged, VaultKeys, read_keys
from plantgate.sdk import Rejected
from plantgate.store.disk import InUse, Open
from plantgate.testing.disk import PowerCut, SimulatedDisk

FOLDER, WRAPPING = Path("/vault"), Path("/keys")


def opened(disk: SimulatedDisk) -> Vault:
    return Vault.open(FOLDER, WRAPPING, disk=disk)


@contextmanager
def erased() -> Iterator[None]:
    with pytest.raises(Erased):
        yield


def test_a_payload_comes_back_and_is_what_the_log_committed_to() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        payload = vault.put("s:1", "prompt", b"why is board 17 bent?")
        empty = vault.put("s:1", "image", b"")
        assert payload.size == 21
    with opened(disk) as vault:
        disclosed = vault.disclose(payload.commitment)
        assert disclosed.content == b"why is board 17 bent?"
        assert disclosed.commitment == payload.commitment
        assert vault.disclose(empty.commitment).content == b""
        assert vault.of("s:1") == tuple(sorted((payload.commitment, empty.commitment)))
        assert VaultReader(FOLDER, WRAPPING, disk).disclose(payload.commitment) == disclosed


def test_the_same_content_twice_is_two_commitments_that_cannot_be_told_to_be_the_same() -> None:
    with opened(SimulatedDisk()) as vault:
        first, second = (vault.put("s:1", "name", b"Jane Doe") for _ in range(2))
        assert first.commitment != second.commitment
        assert Disclosed(bytes(32), b"Jane Doe").commitment not in (first.commitment, second.commitment)


def test_nothing_on_the_disk_shows_what_is_in_the_vault() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        vault.put("s:1", "name", b"Jane Doe of shift two")
    for path in disk.paths():
        assert b"Jane" not in disk.content(path)


def test_an_erased_subject_is_gone_and_the_others_are_not() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        gone = [vault.put("s:1", "prompt", b"a"), vault.put("s:1", "image", b"b")]
        kept = vault.put("s:2", "prompt", b"c")
        assert vault.erase("s:1") == tuple(sorted(each.commitment for each in gone))
        assert "s:1" not in vault
        for each in gone:
            with erased():
                vault.disclose(each.commitment)
        assert vault.disclose(kept.commitment).content == b"c"
        assert vault.erase("s:1") == vault.erase("nobody") == ()
        again = vault.put("s:1", "prompt", b"a new life")
        assert vault.disclose(again.commitment).content == b"a new life"
    assert not any(each.commitment.removeprefix("sha256:") in str(path) for each in gone for path in disk.paths())


@pytest.mark.parametrize("mutation", ["none", "the old wrapping key stays", "the key is forgotten in memory only"])
def test_a_copy_of_the_vault_from_before_cannot_be_read_after_an_erasure(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "the old wrapping key stays":
        monkeypatch.setattr(VaultKeys, "_destroy_others", lambda self: None)
    if mutation == "the key is forgotten in memory only":
        monkeypatch.setattr(VaultKeys, "forget", lambda self, subject: self._keys.pop(subject))
    disk = SimulatedDisk()
    with opened(disk) as vault:
        payload = vault.put("s:1", "prompt", b"a")
        kept = vault.put("s:2", "prompt", b"b")
        before = {path: disk.content(path) for path in disk.paths() if FOLDER in path.parents}
        vault.erase("s:1")

    def read_the_copy() -> None:
        restored = SimulatedDisk()
        for folder in (FOLDER, FOLDER / "payloads", WRAPPING):
            restored.make_directory(folder)
        wrapping = {path: disk.content(path) for path in disk.paths() if WRAPPING in path.parents}
        for path, content in {**before, **wrapping}.items():
            restored.open(path, Open.NEW).pwrite(content, 0)
        with pytest.raises(VaultDamaged, match="wrapping key"):
            VaultReader(FOLDER, WRAPPING, restored).disclose(payload.commitment)

    if mutation == "none":
        read_the_copy()
        assert VaultReader(FOLDER, WRAPPING, disk).disclose(kept.commitment).content == b"b"
    else:
        with pytest.raises(pytest.fail.Exception):
            read_the_copy()


@pytest.mark.parametrize("mutation", ["none", "keys before their wrapping key", "not synced"])
def test_across_power_cuts_nothing_kept_is_lost_and_nothing_erased_returns(
    mutation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The property, and proof that it can fail."""
    if mutation == "not synced":
        monkeypatch.setattr(SimulatedDisk, "sync_directory", lambda self, directory: None)
    if mutation == "keys before their wrapping key":
        whole = VaultKeys._destroy_others

        def early(self: VaultKeys, subject: str) -> None:
            self._keys.pop(subject, None)
            self._generation += 1
            whole(self)
            self._generation -= 1
            self._renew()

        monkeypatch.setattr(VaultKeys, "forget", early)

    def run(seed: int) -> None:
        luck = random.Random(seed)
        disk = SimulatedDisk(seed=seed)
        kept: dict[str, tuple[str, bytes]] = {}
        gone: set[str] = set()
        for life in range(6):
            disk.cut_after = disk.calls + luck.randrange(1, 60)
            erasing = ""
            with suppress(PowerCut):
                vault = opened(disk)
                for commitment, (_, content) in kept.items():
                    assert vault.disclose(commitment).content == content, "kept and lost"
                for commitment in gone:
                    with erased():
                        vault.disclose(commitment)
                for _ in range(luck.randrange(1, 6)):
                    subject, content = f"s:{luck.randrange(3)}", luck.randbytes(20)
                    kept[vault.put(subject, "prompt", content).commitment] = subject, content
                erasing = f"s:{luck.randrange(3)}"
                vault.erase(erasing)
                gone |= {commitment for commitment, (subject, _) in kept.items() if subject == erasing}
                kept = {commitment: about for commitment, about in kept.items() if about[0] != erasing}
                erasing = ""
            disk = disk.restart() if luck.random() < 0.3 else disk.power_cut(f"{seed}/{life}")
            if erasing:  # cut short: all of the subject is there, or none of it
                with opened(disk) as vault:
                    about = [each for each, (subject, _) in kept.items() if subject == erasing]
                    there = [each for each in about if each in vault.of(erasing)]
                    assert there in ([], about), "half an erasure"
                    if not there:
                        gone |= set(about)
                        kept = {commitment: each for commitment, each in kept.items() if commitment not in gone}

    def every() -> None:
        for seed in range(60):
            run(seed)

    if mutation == "none":
        every()
    else:
        with pytest.raises((AssertionError, VaultDamaged, Erased, pytest.fail.Exception, InvalidTag)):
            every()


def test_no_flipped_bit_gives_another_content() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        payload = vault.put("s:1", "prompt", b"abc")
    for path in list(disk.paths()):
        for offset in range(len(disk.content(path))):
            bit = offset % 8
            disk.flip(path, offset, bit)
            with suppress(VaultDamaged):
                assert VaultReader(FOLDER, WRAPPING, disk).disclose(payload.commitment).content == b"abc"
            disk.flip(path, offset, bit)
    assert VaultReader(FOLDER, WRAPPING, disk).disclose(payload.commitment).content == b"abc"


@pytest.mark.parametrize(
    ("subject", "size", "message"),
    [
        ("Jane Doe", 1, "no id of a subject"),
        ("", 1, "no id of a subject"),
        ("../s", 1, "no id of a subject"),
        ("s.new", 1, "no id of a subject"),
        ("s:1", CONTENT_BYTES_MAX + 1, "are the most"),
    ],
)
def test_what_cannot_be_kept_is_refused(subject: str, size: int, message: str) -> None:
    with opened(SimulatedDisk()) as vault, pytest.raises(Rejected, match=message):
        vault.put(subject, "prompt", bytes(size))


def test_a_vault_whose_keys_or_wrapping_key_are_missing_is_not_begun_anew() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        vault.put("s:1", "prompt", b"a")
    keys = disk.content(FOLDER / "keys")
    disk.unlink(FOLDER / "keys")
    with pytest.raises(VaultDamaged, match="restore the file `keys`"):
        opened(disk)
    disk.open(FOLDER / "keys", Open.NEW).pwrite(keys, 0)
    (wrapping,) = (path for path in disk.paths() if WRAPPING in path.parents)
    disk.rename(wrapping, WRAPPING / "elsewhere")
    with pytest.raises(VaultDamaged, match="wrapping key is missing"):
        opened(disk)
    disk.open(wrapping, Open.NEW).pwrite(b"00" * 32, 0)
    with pytest.raises(VaultDamaged, match="not wrapped by the wrapping key that is here"):
        read_keys(FOLDER, WRAPPING, disk)


def test_a_slip_in_the_vaults_folder_does_not_destroy_the_key_of_the_vault_that_is_there() -> None:
    disk = SimulatedDisk()
    with opened(disk) as vault:
        payload = vault.put("s:1", "prompt", b"a")
    for _ in range(2):
        with pytest.raises(VaultDamaged, match="/keys has the key of another vault, and /vlt is a new one: give"):
            Vault.open(Path("/vlt"), WRAPPING, disk=disk)
    with opened(disk) as vault:
        assert vault.disclose(payload.commitment).content == b"a"


def test_a_new_vault_whose_making_was_cut_short_is_made() -> None:
    """Wherever the power went: nothing that it leaves behind looks like the key of another vault."""
    for after in range(60):
        disk = SimulatedDisk(seed=after)
        disk.cut_after = after
        try:
            opened(disk).close()
        except PowerCut:
            disk = disk.power_cut(str(after))
            disk.cut_after = None
            with opened(disk) as vault:
                vault.put("s:1", "prompt", b"a")
            opened(disk).close()
        else:
            assert after > 3
            break
    else:
        pytest.fail("it was never made")


def test_two_do_not_open_one_vault() -> None:
    disk = SimulatedDisk()
    with opened(disk), pytest.raises(InUse):
        opened(disk)
    with opened(disk) as vault, pytest.raises(VaultDamaged, match="is not a commitment"):
        vault.disclose("sha256:../../etc/passwd")


def test_ids_of_subjects_say_nothing() -> None:
    assert len({new_subject() for _ in range(100)}) == 100
