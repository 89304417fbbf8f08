"""The verifier in one file and our own judge alike."""

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plantgate.audit import bare_verifier
from plantgate.audit.entry import encode
from plantgate.audit.log import AuditLog
from plantgate.audit.policy import BadPolicy, Policy
from plantgate.audit.tiles import folder
from plantgate.audit.vault import Vault
from plantgate.audit.verify import Verdict, verify
from plantgate.cli import main
from tests.gateway.audit.given import LOG, ORIGIN, POLICY, WITNESS, intent, outcome
from tests.gateway.audit.test_export import bare
from tests.gateway.audit.test_rotation import life, pairs


def with_payload(place: Path) -> Path:
    async def run() -> None:
        with Vault.open(place / "vault", place / "wrapping") as vault:
            payload = vault.put("s:1", "answer", b"not guilty")
        async with await AuditLog.open(place / "log", ORIGIN, [LOG]) as log:
            await log.append(msgspec.structs.replace(intent(1), payloads=(payload,)))
            await log.publish()

    asyncio.run(run())
    (place / "policy").write_text(str(LOG.verifier))
    log, out = str(place / "log/public"), place / "out"
    vaults = ["--vault", str(place / "vault"), "--wrapping", str(place / "wrapping")]
    assert main(["audit", "export", log, str(out), "--policy", str(place / "policy"), *vaults]) == 0
    assert bare(out / "verify.py").returncode == 0
    return out


def summed(out: Path) -> None:
    """As somebody would who made the export up."""
    names = [line.partition("  ")[2] for line in (out / "SHA256SUMS").read_text().splitlines()]
    sums = [f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (out / "SHA256SUMS").write_text("".join(sums))


@pytest.mark.parametrize("moved", [4, -7])
def test_no_byte_of_a_payload_goes_over_into_its_salt(moved: int, tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    about = json.loads((out / "payloads/0-0.json").read_text())
    content = out / "payloads" / about["file"]
    whole = bytes.fromhex(about["salt"]) + content.read_bytes()
    about["salt"] = whole[: 32 + moved].hex()
    content.write_bytes(whole[32 + moved :])
    assert content.read_bytes() != b"not guilty"
    (out / "payloads/0-0.json").write_text(json.dumps(about))
    summed(out)
    said = bare(out / "verify.py")
    assert said.returncode == 3, said.stdout


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"file":1}'], ids=["a list", "deep", "a number"])
def test_what_is_written_about_a_payload_does_not_end_the_verifier(content: str, tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    (out / "payloads/0-0.json").write_text(content)
    summed(out)
    said = bare(out / "verify.py")
    assert (said.returncode, said.stderr) == (3, "")


def test_a_bundle_of_another_shape_is_found_by_the_verifier_in_one_file(tmp_path: Path) -> None:
    life(tmp_path, [LOG], *pairs(0, 2))
    policy, bundle = tmp_path / "policy", tmp_path / "public/tile/entries/000.p/4"
    policy.write_text(str(LOG.verifier))
    whole = bundle.read_bytes()
    last = len(whole) - len(encode(outcome(1))) - 2
    command = [Path(bare_verifier.__file__), "--log", tmp_path / "public", "--policy", policy]
    assert bare(*command).returncode == 0
    for changed in (whole + b"\0\0", whole[:last] + b"\xff\xff" + whole[last + 2 :]):
        bundle.write_bytes(changed)
        assert verify(folder(tmp_path / "public"), POLICY).integrity.verdict is Verdict.NO
        said = bare(*command)
        assert said.returncode == 3, said.stdout


def test_the_verifier_in_one_file_reads_text_the_same_on_every_machine(tmp_path: Path) -> None:
    out = with_payload(tmp_path)
    strict = [sys.executable, "-I", "-S", "-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    said = subprocess.run([*strict, out / "verify.py"], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize(
    "policy",
    [
        "log {log}\nwitness w1 {witness}\n",
        "log {log}\nwitness w1 {witness}\ngroup g 0 w1\nquorum g\n",
        "log {log} unitl 1\nquorum none\n",
        "log {log}\nwitness w1 {witness}\nwitness w2 {witness}\ngroup g 2 w1 w2\nquorum g\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1\ngroup h any w1\ngroup q all g h\nquorum q\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1\ngroup h all w1 g\nquorum h\n",
        "log {log}\nwitness w1 {witness}\ngroup g any w1 w1\nquorum g\n",
    ],
    ids=[
        "no quorum",
        "a group of none",
        "a misspelt term",
        "one witness twice",
        "one witness in two groups",
        "one witness beside its group",
        "a member twice in a group",
    ],
)
def test_a_policy_that_one_verifier_refuses_the_other_does_not_take(policy: str, tmp_path: Path) -> None:
    note = life(tmp_path, [LOG], *pairs(0, 2))
    (tmp_path / "public/checkpoint").write_bytes(bytes(note.signed(WITNESS.sign(note.text, seconds=1))))
    text = policy.format(log=LOG.verifier, witness=WITNESS.verifier)
    with pytest.raises(BadPolicy):
        Policy.parse(text)
    (tmp_path / "policy").write_text(text)
    said = bare(Path(bare_verifier.__file__), "--log", tmp_path / "public", "--policy", tmp_path / "policy")
    assert said.returncode != 0, said.stdout
