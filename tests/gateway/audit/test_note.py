"""Signed notes: published ones, keys with published ids, and every way a note can be wrong."""

import base64

import pytest

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import COSIGNATURE, BadNote, Note, Signer, Verifier, check_note
from plantgate.audit.policy import BadPolicy, Policy

LOG = Signer("gateway.example/plant1/line3", bytes(range(32)))
WITNESS = Signer("witness.example/w1", bytes(range(1, 33)), COSIGNATURE)
TEXT = str(Checkpoint("gateway.example/plant1/line3", 3, bytes(32)))
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
"""From the tests of golang.org/x/mod/sumdb/note."""


def test_a_note_that_go_signed_is_good() -> None:
    verifier = Verifier.parse(GO_VKEY)
    note = Note.parse(GO_NOTE.encode())
    assert check_note(note, [verifier]) == {verifier: None}
    assert bytes(note) == GO_NOTE.encode()


def test_keys_have_the_ids_that_were_computed_elsewhere() -> None:
    assert str(LOG.verifier) == "gateway.example/plant1/line3+5c12c30e+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    assert str(WITNESS.verifier) == "witness.example/w1+468d99bb+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk"


def test_a_key_survives_being_written_and_read() -> None:
    for signer in (LOG, WITNESS):
        assert Verifier.parse(str(signer.verifier)) == signer.verifier
        assert Signer.parse(signer.private()).verifier == signer.verifier
    made = Signer.make("plant.example/new")
    assert Signer.parse(made.private()).sign("a\n") == made.sign("a\n")


def test_a_note_holds_the_log_s_signature_and_the_witness_time() -> None:
    note = Note(TEXT, (LOG.sign(TEXT), WITNESS.sign(TEXT, seconds=1_760_000_000)))
    again = Note.parse(bytes(note))
    assert again == note
    assert check_note(again, [LOG.verifier, WITNESS.verifier]) == {
        LOG.verifier: None,
        WITNESS.verifier: 1_760_000_000,
    }
    assert check_note(again, []) == {}


def test_no_flipped_bit_of_a_signed_checkpoint_goes_unnoticed() -> None:
    policy = Policy.parse(f"log {LOG.verifier}\nwitness w {WITNESS.verifier}\nquorum w\n")
    whole = bytes(Note(TEXT, (LOG.sign(TEXT), WITNESS.sign(TEXT, seconds=1_760_000_000))))
    assert policy.judge(Note.parse(whole)).quorum
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert not policy.judge(Note.parse(bytes(flipped))).quorum, bit
        except BadNote:
            continue


def test_no_cut_of_a_signed_checkpoint_goes_unnoticed() -> None:
    policy = Policy.parse(f"log {LOG.verifier}\nwitness w {WITNESS.verifier}\nquorum w\n")
    whole = bytes(Note(TEXT, (LOG.sign(TEXT), WITNESS.sign(TEXT, seconds=1_760_000_000))))
    for end in range(len(whole)):
        try:
            assert not policy.judge(Note.parse(whole[:end])).quorum, end
        except BadNote:
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\n", "no signatures"),
        (b"\n\n\xe2\x80\x94 a aaaaaaaa\n", "no signatures"),
        (b"a\n\n\xe2\x80\x94 a aaaaaaaa", "no signatures"),
        (b"a\n\n- a aaaaaaaa\n", "not a signature"),
        (b"a\n\n\xe2\x80\x94 a aaaa\n", "too short"),
        (b"a\n\n\xe2\x80\x94 a AAAAAAB=\n", "not canonical"),
        (b"a\tb\n\n\xe2\x80\x94 a aaaaaaaa\n", "control character"),
        (b"\xff\n\n\xe2\x80\x94 a aaaaaaaa\n", "not UTF-8"),
        (b"a" * 70_000, "64"),
        (b"a\n\n" + b"\xe2\x80\x94 a aaaaaaaa\n" * 101, "101 signatures"),
    ],
)
def test_a_note_that_is_none_is_named(content: bytes, message: str) -> None:
    with pytest.raises(BadNote, match=message if message != "64" else "a note of 70000 bytes"):
        Note.parse(content)


def test_a_known_key_that_does_not_fit_condemns_the_note() -> None:
    wrong = Signer("gateway.example/plant1/line3", bytes(range(32))).sign("another text\n")
    with pytest.raises(BadNote, match="is not good"):
        check_note(Note(TEXT, (wrong,)), [LOG.verifier])
    with pytest.raises(BadNote, match="twice"):
        check_note(Note(TEXT, (LOG.sign(TEXT), LOG.sign(TEXT))), [LOG.verifier])


@pytest.mark.parametrize(
    ("vkey", "message"),
    [
        ("a", "not an Ed25519 key"),
        ("a b+00000000+" + base64.b64encode(b"\1" + bytes(32)).decode(), "no name"),
        ("a+00000000+" + base64.b64encode(b"\1" + bytes(32)).decode(), "the key id is"),
        ("a+00000000+" + base64.b64encode(b"\2" + bytes(32)).decode(), "not an Ed25519 key"),
        ("a+00000000+AQ", "not base64"),
    ],
)
def test_a_key_that_is_none_is_named(vkey: str, message: str) -> None:
    with pytest.raises(BadNote, match=message):
        Verifier.parse(vkey)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n01\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n1\n" + base64.b64encode(bytes(31)).decode() + "\n",
        "a\n1\n" + base64.b64encode(bytes(32)).decode() + "\nextension\n",
        "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_a_checkpoint_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


# ---- policies ----


def test_a_quorum_counts_groups_and_witnesses() -> None:
    others = [Signer(f"w{number}", bytes([number] * 32), COSIGNATURE) for number in range(1, 5)]
    lines = [f"log {LOG.verifier}", *(f"witness w{at} {each.verifier}" for at, each in enumerate(others, start=1))]
    policy = Policy.parse("\n".join([*lines, "group two 2 w1 w2 w3", "group q all two w4", "quorum q"]))
    cases: dict[tuple[int, ...], bool] = {(): False, (0, 1): False, (0, 3): False, (0, 2, 3): True, (0, 1, 2, 3): True}
    for present, met in cases.items():
        note = Note(TEXT, (LOG.sign(TEXT), *(others[at].sign(TEXT, seconds=5) for at in present)))
        signed = policy.judge(note)
        assert signed.quorum is met
        assert dict(signed.witnesses) == {f"w{at + 1}": 5 for at in present}


def test_every_required_signer_must_have_signed() -> None:
    second = Signer("gateway.example/second", bytes(32))
    policy = Policy.parse(f"log {LOG.verifier}\nsigner {second.verifier}\nquorum none\n")
    with pytest.raises(BadNote, match=r"not signed by gateway\.example/second"):
        policy.judge(Note(TEXT, (LOG.sign(TEXT),)))
    assert policy.judge(Note(TEXT, (LOG.sign(TEXT), second.sign(TEXT)))).quorum


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quorum none\n", "no line `log"),
        ("log {log}\n", "no line `quorum"),
        ("log {log}\nlog {log}\nquorum none\n", "line 2: a second log"),
        ("log {witness}\nquorum none\n", "line 1: .* not a log's key"),
        ("log {log}\nwitness w {log}\nquorum w\n", "line 2: .* not a witness' key"),
        ("log {log}\nquorum w\n", "line 2: there is no witness or group w"),
        ("log {log}\nwitness w {witness}\ngroup g 2 w\nquorum g\n", "line 3: '2' of 1 members"),
        ("log {log}\nwitness w {witness}\ngroup g all w w\nquorum g\n", "line 3: a member stands twice"),
        (
            "log {log}\nwitness w {witness}\ngroup g any w\ngroup h any w\ngroup q all g h\nquorum q\n",
            "line 4: w is a member of another group",
        ),
        (
            "log {log}\nwitness w {witness}\ngroup g any w\ngroup h all w g\nquorum h\n",
            "line 4: w is a member of another group",
        ),
        (
            "log {log}\nwitness w {witness}\ngroup g any w\ngroup h all g\ngroup q any g h\nquorum q\n",
            "line 5: g is a member of another group",
        ),
        ("log {log}\nwitness w {witness}\nwitness w {witness}\nquorum w\n", "line 3: the name w is taken"),
        ("log {log}\nquorum none\nquorum none\n", "line 3: a second quorum"),
        ("logs {log}\nquorum none\n", "line 1: .* means nothing here"),
    ],
)
def test_a_policy_that_means_nothing_is_named_by_line(text: str, message: str) -> None:
    with pytest.raises(BadPolicy, match=message):
        Policy.parse(text.format(log=LOG.verifier, witness=WITNESS.verifier))
