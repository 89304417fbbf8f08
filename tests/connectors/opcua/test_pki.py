"""The certificate store makes our identity once, and keeps what it refused."""

import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from plantgate_connectors.opcua import pki
from plantgate_connectors.opcua.pki import Store, load_identity, split_chain
from tests.connectors.opcua.plant_given import NOW, certificate, key

URI = "urn:gateway:plantgate"
NOW_NS = int(NOW.timestamp() * 1e9)


def test_our_certificate_is_made_once_and_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "pki")
    made = store.identity(URI, NOW_NS)
    assert Store(tmp_path / "pki").identity(URI, NOW_NS).certificate == made.certificate
    assert store.identity("urn:other", NOW_NS).certificate != made.certificate


def test_our_certificate_is_what_opc_ua_asks_for(tmp_path: Path) -> None:
    made = Store(tmp_path).identity(URI, NOW_NS).certificate
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [URI]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.data_encipherment) == (True, True, True)
    public = made.public_key()
    assert isinstance(public, RSAPublicKey)
    assert public.key_size >= 2048
    made.verify_directly_issued_by(made)


def test_nobody_else_may_read_the_key(tmp_path: Path) -> None:
    Store(tmp_path).identity(URI, NOW_NS)
    [path] = tmp_path.glob("own/*/private_key.pem")
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "own").stat().st_mode & 0o077 == 0


def test_of_two_that_make_it_at_once_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    first: list[x509.Certificate] = []
    generate = pki.generate_private_key

    def interrupted(public_exponent: int, key_size: int) -> object:
        monkeypatch.setattr(pki, "generate_private_key", generate)
        first.append(other.identity(URI, NOW_NS).certificate)
        return generate(public_exponent=public_exponent, key_size=key_size)

    monkeypatch.setattr(pki, "generate_private_key", interrupted)
    assert store.identity(URI, NOW_NS).certificate == first[0]
    assert [path.name for path in (tmp_path / "own").iterdir() if path.name.startswith(".new-")] == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.identity(URI, NOW_NS)
    [path] = tmp_path.glob("own/*/private_key.pem")
    path.write_bytes(b"-----BEGIN nonsense")
    with pytest.raises(ValueError, match=r"certificate\.der and private_key\.pem are not a certificate and its key"):
        store.identity(URI, NOW_NS)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    made = certificate()
    path = tmp_path / "key.pem"
    secret = BestAvailableEncryption(b"pw")
    path.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    assert load_identity(made.save(tmp_path), path, b"pw").certificate == made.certificate
    with pytest.raises(ValueError, match="not a certificate and its key"):
        load_identity(made.save(tmp_path), path, b"wrong")
    path.write_bytes(key(number=3).private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")))
    with pytest.raises(ValueError, match="not the key of"):
        load_identity(made.save(tmp_path), path, b"pw")


def test_a_refused_certificate_is_kept_once_under_a_safe_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    made = certificate("../../etc/passwd; rm -rf /")
    path = store.park(made.certificate)
    assert store.park(made.certificate) == path
    assert path.parent == store.rejected
    assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert path.read_bytes() == made.der


def test_a_server_that_shows_ever_new_certificates_cannot_fill_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    for number in range(100):
        old = store.rejected / f"old{number:03}.der"
        old.write_bytes(b"x")
        os.utime(old, (number, number))
    path = store.park(certificate().certificate)
    left = sorted(file.name for file in store.rejected.iterdir())
    assert len(left) == 100
    assert path.name in left
    assert "old000.der" not in left


def test_a_chain_is_split_into_its_certificates() -> None:
    root = certificate("root", authority=True, number=9)
    leaf = certificate(issuer=root)
    assert split_chain(leaf.der + root.der) == [leaf.certificate, root.certificate]


@pytest.mark.parametrize(
    "blob", [b"", b"\x30", b"\x30\x82\xff\xff", b"\x31\x03abc", b"\x30\x88" + b"\xff" * 8, b"\x30\x02ab"]
)
def test_bytes_that_are_no_certificate_are_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"certificate|[eE]rror"):
        split_chain(blob)
