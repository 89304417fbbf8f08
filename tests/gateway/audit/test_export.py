"""An export: it is checked with Python alone, it is read in a browser, and no stranger's text does anything in it."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from plantgate.audit import bare_verifier
from plantgate.audit.bare_verifier import ed25519
from plantgate.audit.entry import Approval, Entry, Kind, Payload, Phase, Reckoning, Result, decode
from plantgate.audit.log import AuditLog
from plantgate.audit.note import Note, Signer
from plantgate.audit.tiles import Tiles, folder
from plantgate.audit.vault import Vault
from plantgate.cli import main
from tests.gateway.audit.given import LOG, ORIGIN, WITNESS, intent, outcome
from tests.gateway.audit.test_verify import LATER, published

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63f8cfc0f01f00"
    "05000203012a6f1a8f0000000049454e44ae426082"
)
HOSTILE = '</dd><script>alert(1)</script><img src=x onerror="alert(1)">\u202eetirw\x00\x1b[2J'


def hostile(number: int, vault: Vault) -> Entry:
    """An entry in which a stranger wrote wherever there is text."""
    entry = intent(number)
    assert entry.target is not None
    assert entry.why is not None
    return msgspec.structs.replace(
        entry,
        target=msgspec.structs.replace(entry.target, connection=HOSTILE, address=HOSTILE),
        who=msgspec.structs.replace(entry.who, id=HOSTILE, kind=HOSTILE, on_behalf_of=HOSTILE),
        why=msgspec.structs.replace(entry.why, rule=HOSTILE, cites=HOSTILE, reason=HOSTILE, digest=HOSTILE),
        model=Reckoning(model=HOSTILE, digest=HOSTILE, target=HOSTILE, inputs=HOSTILE, output=HOSTILE, confidence="1"),
        approvals=(Approval(entry=HOSTILE, by=HOSTILE),),
        reverses=HOSTILE,
        trace=HOSTILE,
        note=HOSTILE,
        details={"a<b>": HOSTILE},
        payloads=(
            msgspec.structs.replace(vault.put("s:1", "x", HOSTILE.encode()), name=HOSTILE),
            vault.put("s:1", "frame", PNG),
            vault.put("s:1", "raw", b"\xff\xfe\x00"),
            vault.put("s:2", "prompt", b"to be erased"),
            Payload(name="elsewhere", commitment="sha256:" + "0" * 64, size=3),
        ),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")

    async def fill() -> None:
        with Vault.open(place / "vault", place / "wrapping") as vault:
            async with await AuditLog.open(place / "log", ORIGIN, [LOG]) as audit:
                for number in range(130):
                    await audit.append(intent(number))
                    await audit.append(outcome(number, Result.DENIED if number % 5 == 0 else Result.OK))
                await audit.append(hostile(999, vault))
                vault.erase("s:2")
                note = await audit.publish()
                assert note is not None
                await audit.witnessed(note.signed(WITNESS.sign(note.text, seconds=LATER)))

    asyncio.run(fill())
    (place / "policy").write_text(f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\nquorum w1\n")
    (place / "key").write_text(str(LOG.verifier))
    return place


def exported(place: Path, out: Path, *more: str) -> Path:
    log, policy = str(place / "log" / "public"), str(place / "policy")
    assert main(["audit", "export", log, str(out), "--policy", policy, *more]) == 0
    return out


def disclosed(place: Path) -> list[str]:
    return ["--vault", str(place / "vault"), "--wrapping", str(place / "wrapping")]


def bare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, "-I", "-S", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_an_export_is_checked_with_python_alone(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "out", *disclosed(place), "--since", "2025-10-09T08:55:00")
    assert out.stat().st_mode & 0o777 == 0o700
    said = bare(out / "verify.py")
    assert said.returncode == 0, said
    assert said.stdout == (
        "61 entries and 3 payloads are in the log of 261 entries that gateway.example/plant1/line3 signed\n"
        "  witnessed by w1\n"
        "  by the keys that came with it: compare them with keys that you have from elsewhere\n"
        "  checked: entries/ and payloads/; the page index.html is a view of them that nobody has signed\n"
    )
    assert bare(out / "verify.py", "--policy", place / "key").stdout.count("\n") == 3
    sums = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=out, check=False)
    assert sums.returncode == 0
    assert (out / "README.txt").read_text().startswith(f"Part of the audit log {ORIGIN}: 61 of 261 entries.\n")


def test_an_export_in_one_file_is_the_same(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "part.zip", "--result", "denied")
    assert out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    said = bare(tmp_path / "part" / "verify.py")
    assert said.stdout.startswith("52 entries and 0 payloads are in the log of 261")


def test_a_whole_log_is_checked_with_python_alone(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "out", "--id", intent(7).id)
    whole = shutil.copytree(place / "log" / "public", tmp_path / "copy")
    asked = (out / "verify.py", "--log", whole, "--policy", place / "policy")
    assert bare(*asked).stdout.startswith("all 261 entries are in the log of 261")
    bundle = whole / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"WI-0421", b"WI-0422", 1))
    assert bare(*asked).returncode == 3
    bundle.unlink()
    assert bare(*asked).returncode == 5


def test_no_changed_file_of_an_export_goes_unnoticed(place: Path, tmp_path: Path) -> None:
    """Also not by somebody who writes the sums anew, where a file is held by a proof."""
    out = exported(place, tmp_path / "out", *disclosed(place), "--text", "onerror")
    assert bare(out / "verify.py").returncode == 0
    proven = ("entries/", "proofs/", "checkpoint", "payloads/260-0.content")
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        whole, name = path.read_bytes(), str(path.relative_to(out))
        if name in ("verify.py", "SHA256SUMS"):
            continue
        for changed in (whole[:-1], whole[:-2] + bytes((whole[-2] ^ 1,)) + whole[-1:], whole + b"x"):
            path.write_bytes(changed)
            assert bare(out / "verify.py").returncode == 3, name
            _sums_anew(out)
            if name.startswith(proven):
                assert bare(out / "verify.py").returncode == 3, name
            path.write_bytes(whole)
            _sums_anew(out)
    (out / "entries" / "999.json").write_bytes(b"{}")
    assert bare(out / "verify.py").returncode == 3


def _sums_anew(out: Path) -> None:
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out)}\n" for path in paths]
    (out / "SHA256SUMS").write_text("".join(lines))


def test_an_export_is_checked_with_a_verifier_from_elsewhere(place: Path, tmp_path: Path) -> None:
    """The one that came with it may be anybody's."""
    out = exported(place, tmp_path / "out", "--id", intent(7).id)
    own = shutil.copy(out / "verify.py", tmp_path / "mine.py")
    said = bare(own, out, "--policy", place / "policy")
    assert (said.returncode, said.stdout.splitlines()[0]) == (
        0,
        f"2 entries and 0 payloads are in the log of 261 entries that {ORIGIN} signed",
    )
    for keys in ([], ["--policy", out / "policy"]):
        assert "by the keys that came with it" in bare(own, out, *keys).stdout
    (out / "verify.py").write_text("print('all is well')")
    assert bare(own, out, "--policy", place / "policy").stdout == (
        "NOT what was signed: verify.py: not the file that was exported\n"
    )
    assert bare(own, tmp_path / "nowhere", "--policy", place / "policy").returncode == 5


def test_a_salt_or_content_that_is_another_is_found(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "out", *disclosed(place), "--text", "onerror")
    about = next((out / "payloads").glob("*.json"))
    written = json.loads(about.read_text())
    written["salt"] = "00" * 32
    about.write_text(json.dumps(written))
    _sums_anew(out)
    said = bare(out / "verify.py")
    assert said.returncode == 3
    assert "does not commit to that content" in said.stdout


def test_another_key_is_named_and_what_is_no_policy_judges_nothing(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "out", "--id", intent(7).id)
    key = tmp_path / "key"
    key.write_text(str(Signer(ORIGIN, bytes(32)).verifier))
    said = bare(out / "verify.py", "--policy", key)
    assert (said.returncode, said.stdout) == (
        3,
        f"NOT what was signed: the checkpoint is not signed by {ORIGIN} (9b2b0062), which the policy names\n",
    )
    for wrong, message in (
        (LOG.private(), "that is a private key; give the public one"),
        ("some words", "'some words'"),
    ):
        key.write_text(wrong)
        said = bare(out / "verify.py", "--policy", key)
        assert said.returncode == 5
        assert said.stdout.startswith(f"cannot be judged: {key}: ")
        assert message in said.stdout
        assert LOG.private()[-20:] not in said.stdout


def test_a_missing_witness_is_not_passed_over(place: Path, tmp_path: Path) -> None:
    out = exported(place, tmp_path / "out", "--id", intent(7).id)
    policy = tmp_path / "policy"
    other = "witness.example/w2+" + str(WITNESS.verifier).split("+", 1)[1]
    policy.write_text((place / "policy").read_text())
    text = f"log {LOG.verifier}\nwitness w1 {WITNESS.verifier}\ngroup g 1 w1\nquorum g\n"
    policy.write_text(text)
    assert bare(out / "verify.py", "--policy", policy).returncode == 0
    policy.write_text(text.replace(f"witness w1 {WITNESS.verifier}", f"witness w1 {other}"))
    assert bare(out / "verify.py", "--policy", policy).returncode == 5  # a key whose id is not its own
    made = Note.parse((out / "checkpoint").read_bytes())
    (out / "checkpoint").write_bytes(bytes(Note(made.text, made.signatures[:1])))
    _sums_anew(out)
    assert bare(out / "verify.py", "--policy", place / "policy").returncode == 2


def test_its_ed25519_agrees_with_the_library_and_refuses_what_is_not_canonical() -> None:
    for number in range(20):
        message = hashlib.sha256(bytes((number,))).digest() * number
        signature = LOG._key.sign(message)
        assert ed25519(LOG.verifier.key, message, signature)
        flipped = bytearray(signature)
        flipped[number * 3] ^= 1 << number % 8
        assert not ed25519(LOG.verifier.key, message, bytes(flipped))
        assert not ed25519(LOG.verifier.key, message + b"!", signature)
        assert not ed25519(WITNESS.verifier.key, message, signature)
    scalar = int.from_bytes(signature[32:], "little") + bare_verifier.Q
    assert not ed25519(LOG.verifier.key, message, signature[:32] + scalar.to_bytes(32, "little"))
    assert not ed25519(LOG.verifier.key, message, signature[:63])
    assert not ed25519(b"\xff" * 32, message, signature)


def test_an_export_is_recorded_in_the_log_it_came_from(place: Path, tmp_path: Path) -> None:
    own = shutil.copytree(place / "log", tmp_path / "log")
    (tmp_path / "log.key").write_text(LOG.private())
    command = ["audit", "export", str(own / "public"), str(tmp_path / "out"), "--policy", str(place / "policy")]
    command += ["--result", "denied", "--record", str(own)]
    assert main(command) == 5
    assert main([*command, "--key", str(tmp_path / "log.key"), "--by", "u:7"]) == 0
    entry = decode(Tiles(folder(own / "public"), 262).entry(261))
    sums = hashlib.sha256((tmp_path / "out" / "SHA256SUMS").read_bytes()).hexdigest()
    assert (entry.kind, entry.who.id) == (Kind.EXPORT, "u:7")
    assert entry.details == {
        "asked": "result denied",
        "entries": "52",
        "payloads": "kept back",
        "sums": f"sha256:{sums}",
    }


# ---- the page ----


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name == "src"]
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.fixture
def page(place: Path, tmp_path: Path) -> Page:
    return Page((exported(place, tmp_path / "out", *disclosed(place)) / "index.html").read_text())


def test_the_page_says_what_was_done_by_whom_and_which_rule(page: Page) -> None:
    text = "".join(page.said)
    for told in ("261 of 261 entries", "shift-when-misplaced", "WI-0421 §3", "solder-check", "witnessed by w1", "✓"):
        assert told in text
    assert text.count("denied at ") == 26


def test_no_strangers_text_does_anything_in_the_page(page: Page) -> None:
    assert "script" not in page.tags
    assert not {name for name in page.attributes if name.startswith("on")}
    assert [each[:22] for each in page.sources] == ["data:image/png;base64,"]
    assert all(link.startswith(("entries/", "proofs/")) for link in page.links)
    text = "".join(page.said)
    assert text.count("<script>alert(1)</script>") >= 14
    assert not {"\u202e", "\x00", "\x1b"} & set(text)
    assert "\\u202eetirw\\x00\\x1b[2J" in text


def test_the_page_tells_what_was_erased_from_what_was_kept_back(page: Page, place: Path, tmp_path: Path) -> None:
    text = "".join(page.said)
    assert text.count(", erased") == 2
    assert "not disclosed" not in text
    closed = Page((exported(place, tmp_path / "closed") / "index.html").read_text())
    assert "".join(closed.said).count("not disclosed") == 5
    assert not (tmp_path / "closed" / "payloads").exists()


def test_an_intent_without_an_outcome_is_open(place: Path, tmp_path: Path) -> None:
    opened = Page((exported(place, tmp_path / "a", "--text", "onerror") / "index.html").read_text())
    assert "open" in opened.said


# ---- whole decisions ----


def grounded(folder_: Path) -> Path:
    """A log in which one write was agreed to, one was made in an emergency, and one stands on other rules."""
    rule = json.dumps({"rule R": {"when": "defect.kind == 'spur' && x < 5.0", "cites": "WI-0421"}})
    limits = json.dumps({"tag line3/robot/offset_x": {"range": [0, 9]}})

    def change(number: int, name: str, text: str) -> Entry:
        digest = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
        return observed(number, Kind.RULE_CHANGE, details={"digest": digest, "name": name, "text": text})

    entries = [change(1, "rule R", rule), change(2, "tag line3/robot/offset_x", limits), change(3, "rule S", "{}")]
    digests = [entry.details["digest"] for entry in entries]
    entries += [
        observed(4, Kind.APPROVAL, note="asked"),
        observed(5, Kind.APPROVAL, note="agreed", details={"question": intent(4).id}),
        decision(6, "R", digests[0], approvals=(Approval(entry=intent(5).id, by="p-1"),), limits=digests[1]),
        outcome(6),
        observed(7, Kind.APPROVAL, note="agreed to something else"),
        observed(8, Kind.EMERGENCY, details={"emergency": "declared"}, note="fire"),
        decision(9, "gateway.emergency", digests[2]),
        outcome(9, Result.FAILED),
    ]
    return published(folder_, entries)


def observed(number: int, kind: Kind, **more: object) -> Entry:
    plain = {"kind": kind, "phase": Phase.OBSERVED, "why": None, "before": None, "after": None, "target": None}
    return msgspec.structs.replace(intent(number), **{**plain, **more})


def decision(number: int, rule: str, digest: str, *, limits: str = "", **more: object) -> Entry:
    made = intent(number)
    assert made.why is not None
    why = msgspec.structs.replace(made.why, rule=rule, digest=digest)
    return msgspec.structs.replace(made, why=why, details={"limits": limits} if limits else {}, **more)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--result", "ok"], {0, 1, 3, 4, 5, 6}),
        (["--id", intent(6).id], {0, 1, 3, 4, 5, 6}),
        (["--result", "failed"], {2, 8, 9, 10}),
        (["--kind", "approval"], {3, 4, 7}),
    ],
)
def test_a_decision_is_exported_whole_with_what_it_stands_on(
    asked: list[str], expected: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, out = grounded(tmp_path / "log"), tmp_path / "out"
    (tmp_path / "key").write_text(str(LOG.verifier))
    assert main(["audit", "export", str(log), str(out), "--policy", str(tmp_path / "key"), *asked]) == 0
    assert {int(path.stem) for path in (out / "entries").iterdir()} == expected
    assert f"{len(expected)} of 11 entries" in capsys.readouterr().out
    assert bare(out / "verify.py").stdout.startswith(f"{len(expected)} entries")


def test_the_page_has_the_condition_of_a_rule_and_what_stands_behind_it(tmp_path: Path) -> None:
    log, out = grounded(tmp_path / "log"), tmp_path / "out"
    (tmp_path / "key").write_text(str(LOG.verifier))
    assert main(["audit", "export", str(log), str(out), "--policy", str(tmp_path / "key"), "--result", "ok"]) == 0
    page = Page((out / "index.html").read_text())
    decisions, _, grounds = "".join(page.said).partition("What they stand on")
    assert "defect.kind == 'spur' && x < 5.0" in decisions
    assert "in entry 0" in decisions
    assert "agreed" in grounds
    assert '"range": [' in grounds
    assert "entries/1.json" in page.links


# ---- what cannot be ----


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["{out}"], 5, "is there already; nothing is written over it"),
        (["{new}", "--vault", "{out}"], 5, "--vault and --wrapping go together"),
        (["{new}", "--kind", "approval"], 5, "none of the 261 entries is so: kind approval"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(
    more: list[str], code: int, message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, new = str(tmp_path), str(tmp_path / "new")
    asked = [each.format(out=out, new=new) for each in more]
    command = ["audit", "export", str(place / "log" / "public"), *asked, "--policy", str(place / "policy")]
    assert main(command) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_nothing_is_exported_of_a_log_that_is_not_what_was_signed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = shutil.copytree(place / "log" / "public", tmp_path / "copy")
    tile = whole / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    assert main(["audit", "export", str(whole), str(tmp_path / "out"), "--policy", str(place / "key")]) == 3
    said = capsys.readouterr().out
    assert "nothing is exported, since it is not what was signed: tile/0/000: not the hashes of the entries" in said
    assert not (tmp_path / "out").exists()
