"""A server's certificate is trusted for a reason, or refused with one (catalogue row 33)."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from plantgate_connectors.opcua.pki import Store, thumbprints
from plantgate_connectors.opcua.protection import Flaw
from plantgate_connectors.opcua.trust import Refused, Unknown, judge
from tests.connectors.opcua.plant_given import NOW, SERVER_URI, Made, certificate, revocation_list

DAY = timedelta(days=1)


def judged(
    store: Store,
    *chain: Made,
    uri: str = SERVER_URI,
    host: str = "press",
    pin: str | None = None,
    tolerate: tuple[Flaw, ...] = (),
) -> None:
    judge(
        [made.certificate for made in chain],
        store,
        application_uri=uri,
        host=host,
        pin=pin,
        tolerate=tolerate,
        now=int(NOW.timestamp() * 1e9),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "pki")
    store.prepare()
    return store


@pytest.fixture
def root() -> Made:
    return certificate("plant root", uri=None, hosts=(), authority=True, number=9)


def test_a_certificate_nobody_trusted_is_unknown(store: Store) -> None:
    with pytest.raises(Unknown):
        judged(store, certificate())


def test_a_certificate_put_into_trusted_is_trusted_whatever_host_it_names(store: Store) -> None:
    made = certificate(hosts=("elsewhere",))
    made.save(store.trusted)
    judged(store, made)


def test_another_certificate_of_the_same_name_is_not(store: Store) -> None:
    certificate().save(store.trusted)
    with pytest.raises(Unknown):
        judged(store, certificate(number=1))


def test_a_pem_file_is_taken_and_a_file_that_is_none_passed_over(store: Store) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    made = certificate()
    (store.trusted / "a.der").write_bytes(b"nothing of the kind")
    (store.trusted / "press.pem").write_bytes(made.certificate.public_bytes(Encoding.PEM))
    judged(store, made)


FAULTY: list[tuple[str, Callable[[], Made], str]] = [
    ("expired", lambda: certificate(until=NOW - DAY), "expired on 2026-11-25"),
    ("not yet valid", lambda: certificate(since=NOW + DAY), "one of the clocks"),
    ("wrong uri", lambda: certificate(uri="urn:other"), "made out to urn:other, but the server calls itself urn:press"),
    ("no uri", lambda: certificate(uri=None), "made out to no application"),
    ("1024 bit", lambda: certificate(bits=1024), "key of 1024 bits"),
    ("authority as server", lambda: certificate(authority=True), "authority's certificate"),
    ("no signing", lambda: certificate(signing=False), "key usage"),
]


@pytest.mark.parametrize(("make", "says"), [row[1:] for row in FAULTY], ids=[row[0] for row in FAULTY])
def test_a_trusted_certificate_with_a_fault_is_refused(store: Store, make: Callable[[], Made], says: str) -> None:
    made = make()
    made.save(store.trusted)
    with pytest.raises(Refused, match=says) as caught:
        judged(store, made)
    assert not isinstance(caught.value, Unknown)


def test_a_certificate_signed_with_sha_1_is_refused(store: Store) -> None:
    """Made with `openssl req -x509 -sha1`: the library that we make certificates with no longer can."""
    made = x509.load_pem_x509_certificate((Path(__file__).parent / "sha1.pem").read_bytes())
    shutil.copy(Path(__file__).parent / "sha1.pem", store.trusted)
    with pytest.raises(Refused, match="signed with sha1; SHA-256 is the least"):
        judge(
            [made],
            store,
            application_uri=SERVER_URI,
            host="press",
            pin=None,
            tolerate=(),
            now=int(NOW.timestamp() * 1e9),
        )


def test_a_pinned_certificate_needs_no_file(store: Store) -> None:
    made = certificate()
    for pin in thumbprints(made.certificate):
        judged(store, made, pin=pin)


def test_a_pin_refuses_every_other_certificate_even_a_trusted_one(store: Store) -> None:
    other = certificate(number=1)
    other.save(store.trusted)
    with pytest.raises(Refused, match="not the pinned"):
        judged(store, other, pin=thumbprints(certificate().certificate)[0])


def test_a_fault_of_the_pinned_certificate_can_be_tolerated_and_no_other(store: Store) -> None:
    made = certificate(until=NOW - DAY, uri="urn:other")
    pin = thumbprints(made.certificate)[0]
    judged(store, made, pin=pin, tolerate=(Flaw.VALIDITY, Flaw.APPLICATION_URI))
    with pytest.raises(Refused, match="made out to"):
        judged(store, made, pin=pin, tolerate=(Flaw.VALIDITY,))


def test_a_certificate_is_trusted_through_its_authority(store: Store, root: Made) -> None:
    root.save(store.trusted, "root")
    judged(store, certificate(issuer=root, number=1))


def test_through_an_authority_only_for_the_host_it_names(store: Store, root: Made) -> None:
    root.save(store.trusted, "root")
    made = certificate(issuer=root, hosts=("press", "10.0.0.5"), number=1)
    judged(store, made)
    with pytest.raises(Refused, match="not made out to stamp"):
        judged(store, made, host="stamp")
    with pytest.raises(Refused, match=r"not made out to 10\.0\.0\.5"):
        judged(store, made, host="10.0.0.5")


def test_a_chain_is_completed_from_issuers_and_from_what_the_server_sends(store: Store, root: Made) -> None:
    middle = certificate("plant issuing", uri=None, hosts=(), authority=True, issuer=root, number=8)
    leaf = certificate(issuer=middle, number=1)
    root.save(store.trusted, "root")
    with pytest.raises(Unknown):
        judged(store, leaf)
    judged(store, leaf, middle)
    middle.save(store.issuers, "middle")
    judged(store, leaf)


def test_an_authority_in_issuers_alone_gives_no_trust(store: Store, root: Made) -> None:
    root.save(store.issuers, "root")
    with pytest.raises(Unknown):
        judged(store, certificate(issuer=root, number=1), root)


def test_a_trusted_middle_authority_needs_its_root_at_hand(store: Store, root: Made) -> None:
    middle = certificate("plant issuing", uri=None, hosts=(), authority=True, issuer=root, number=8)
    middle.save(store.trusted, "middle")
    leaf = certificate(issuer=middle, number=1)
    with pytest.raises(Refused, match=r"chain ends at CN=plant root.*pki/issuers"):
        judged(store, leaf)
    root.save(store.issuers, "root")
    judged(store, leaf)


def test_a_server_certificate_cannot_issue_others(store: Store) -> None:
    server = certificate("stamp")
    server.save(store.trusted)
    with pytest.raises(Unknown):
        judged(store, certificate(issuer=server, number=1))


def test_a_forged_signature_of_a_trusted_authority_gives_no_trust(store: Store, root: Made) -> None:
    root.save(store.trusted, "root")
    forger = certificate("plant root", uri=None, hosts=(), authority=True, number=7)
    with pytest.raises(Unknown):
        judged(store, certificate(issuer=forger, number=1))


def test_an_expired_authority_gives_no_trust(store: Store) -> None:
    old = certificate("plant root", uri=None, hosts=(), authority=True, until=NOW - DAY, number=9)
    old.save(store.trusted, "root")
    with pytest.raises(Refused, match=r"authority CN=plant root expired"):
        judged(store, certificate(issuer=old, number=1))


def test_a_revoked_certificate_is_refused(store: Store, root: Made) -> None:
    root.save(store.trusted, "root")
    good, bad = certificate(issuer=root, number=1), certificate(issuer=root, number=2)
    (store.crl / "root.crl").write_bytes(revocation_list(root, bad))
    judged(store, good)
    with pytest.raises(Refused, match="revoked"):
        judged(store, bad)


def test_a_revoked_middle_authority_is_refused(store: Store, root: Made) -> None:
    middle = certificate("plant issuing", uri=None, hosts=(), authority=True, issuer=root, number=8)
    root.save(store.trusted, "root")
    (store.crl / "root.der").write_bytes(revocation_list(root, middle))
    with pytest.raises(Refused, match=r"CN=plant issuing has been revoked"):
        judged(store, certificate(issuer=middle, number=1), middle)


def test_a_revocation_list_that_lies_ran_out_or_is_none_means_no_trust(store: Store, root: Made) -> None:
    root.save(store.trusted, "root")
    made = certificate(issuer=root, number=1)
    path = store.crl / "root.crl"
    path.write_bytes(revocation_list(certificate("plant root", authority=True, number=7)))
    with pytest.raises(Refused, match="false signature"):
        judged(store, made)
    path.write_bytes(revocation_list(root, until=NOW - DAY))
    with pytest.raises(Refused, match="ran out on"):
        judged(store, made)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(Refused, match="not a revocation list"):
        judged(store, made)
