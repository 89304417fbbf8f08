"""Checks an export of an audit log, or a whole published log, with Python (3.9 or later) and nothing else. It shares
no code with plantgate, so that one is a check of the other.

    python3 -I verify.py                                  the export it lies in, with the keys that came with that
    python3 -I verify.py --policy FILE                    with keys that you got from elsewhere: do this
    python3 -I verify.py EXPORT --policy FILE             another export, when you have this file from elsewhere too
    python3 -I verify.py --log FOLDER --policy FILE       a whole log as it was published

Exit codes: 0 all of it is so; 2 not enough witnesses; 3 not what was signed; 5 nothing could be judged.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

Point = tuple[int, int, int, int]
Key = tuple[str, bytes, int, bytes]
Signed = tuple[str, int, bytes, list[str], bool]


class Bad(Exception):
    """It is not what was signed."""


# ---- Ed25519, RFC 8032 section 5.1 ----

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(one: Point, other: Point) -> Point:
    """Two points of the curve, in extended coordinates."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c = 2 * one[3] * other[3] * D % P
    d = 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    """A point, so many times."""
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point = add(point, point)
        number >>= 1
    return total


def point_of(content: bytes) -> Point:
    """From its 32 bytes."""
    y = int.from_bytes(content, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        raise Bad("a signature or key that is no point of the curve")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (not x and sign):
        raise Bad("a signature or key that is no point of the curve")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is good."""
    if len(signature) != 64:
        return False
    try:
        public, nonce = point_of(key), point_of(signature[:32])
    except Bad:
        return False
    number = int.from_bytes(signature[32:], "little")
    if number >= Q:
        return False
    digest = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = times(number, BASE), add(nonce, times(digest, public))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# ---- signed notes, checkpoints and policies: c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-policy ----


def text_of(path: Path) -> str:
    """UTF-8, with the line ends that are there, whatever this machine writes."""
    return path.read_bytes().decode()


def unbase64(text: str) -> bytes:
    """Canonical base64 only."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise Bad(f"{text[:60]!r} is not base64") from None
    if base64.b64encode(content).decode() != text:
        raise Bad(f"{text[:60]!r} is not canonical base64")
    return content


def key_of(vkey: str) -> Key:
    """Name, id, kind and bytes of a public key."""
    name, _, rest = vkey.partition("+")
    if name == "PRIVATE":
        raise Bad("that is a private key; give the public one")
    written, _, encoded = rest.partition("+")
    content = unbase64(encoded)
    made = hashlib.sha256(name.encode() + b"\n" + content).digest()[:4]
    if made.hex() != written or len(content) != 33:
        raise Bad(f"{vkey}: not a key")
    return name, made, content[0], content[1:]


def signers_of(note: str, keys: list[Key]) -> set[Key]:
    """Those of the keys that have signed a note; a known key's bad signature condemns it."""
    text, _, below = note.rpartition("\n\n")
    text += "\n"
    found: set[Key] = set()
    if not below.endswith("\n"):
        raise Bad("a note that does not end with a line")
    for line in below[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        content = unbase64(encoded)
        if dash != "\u2014":
            raise Bad(f"not a signature: {line[:60]!r}")
        for key in keys:
            if key[:2] != (name, content[:4]):
                continue
            signature, message = content[4:], text
            if key[2] == 4:
                message = f"cosignature/v1\ntime {int.from_bytes(signature[:8], 'big')}\n{text}"
                signature = signature[8:]
            if key in found or not ed25519(key[3], message.encode(), signature):
                raise Bad(f"the signature of {name} is not good")
            found.add(key)
    return found


def checkpoint_of(note: str) -> tuple[str, int, bytes]:
    """Origin, size and root."""
    lines = note.rpartition("\n\n")[0].split("\n")
    if len(lines) != 3 or not lines[1].isdecimal():
        raise Bad("not a checkpoint")
    return lines[0], int(lines[1]), unbase64(lines[2])


class Policy:
    """Whose signatures are asked for."""

    def __init__(self, text: str) -> None:
        self.own: list[tuple[Key, int, int | None]] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        grouped: set[str] = set()
        self.quorum: str | None = None
        self.origin = ""
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if len(lines) > 1 and not any(line.split()[0] == "quorum" for line in lines):
            raise Bad("policy: no line that begins with quorum")
        for line in lines:
            words = line.split()
            if words[0] == "root":
                continue
            if len(words) == 1:
                words = ["log", *words]
            if words[0] in ("log", "signer"):
                term = dict(zip(words[2::2], words[3::2]))  # noqa: B905  for older Pythons too
                if len(words) != 3 and (len(words) % 2 or set(words[2::2]) - {"from", "until"}):
                    raise Bad(f"policy: {line!r} has a term that is none")
                key = key_of(words[1])
                self.own.append((key, int(term.get("from", 0)), int(term["until"]) if "until" in term else None))
                self.origin = key[0] if words[0] == "log" else self.origin
            elif words[0] == "witness":
                key = key_of(words[2])
                if words[1] in self.witnesses or any(key[3] == each[3] for each in self.witnesses.values()):
                    raise Bad(f"policy: {line!r} names a witness a second time")
                self.witnesses[words[1]] = key
            elif words[0] == "group":
                members = words[3:]
                needed = {"all": len(members), "any": 1}.get(words[2])
                self.groups[words[1]] = (int(words[2]) if needed is None else needed, members)
                if not 1 <= self.groups[words[1]][0] <= len(members):
                    raise Bad(f"policy: {line!r} asks for a number that its members cannot be")
                if len(grouped.union(members)) < len(grouped) + len(members):
                    raise Bad(f"policy: {line!r} has a member that stands twice, or in another group")
                grouped.update(members)
            elif words[0] == "quorum":
                self.quorum = None if words[1] == "none" else words[1]
            else:
                raise Bad(f"policy: {line!r} means nothing here")

    def judge(self, note: str) -> Signed:
        """Origin, size, root, the witnesses that signed, and whether they suffice."""
        origin, size, root = checkpoint_of(note)
        found = signers_of(note, [key for key, _, _ in self.own] + list(self.witnesses.values()))
        asked = [key for key, begin, end in self.own if begin <= size and (end is None or size < end)]
        for key in asked:
            if key not in found:
                raise Bad(f"the checkpoint is not signed by {key[0]} ({key[1].hex()}), which the policy names")
        if not asked:
            raise Bad(f"the policy names no key for a log of {size} entries")
        if origin != self.origin:
            raise Bad(f"the checkpoint is of {origin}, not of {self.origin}")
        seen = sorted(name for name, key in self.witnesses.items() if key in found)
        return origin, size, root, seen, self.quorum is None or self.met(self.quorum, seen)

    def met(self, name: str, seen: list[str]) -> bool:
        """Whether a witness, or enough of a group, has signed."""
        if name not in self.groups:
            return name in seen
        needed, members = self.groups[name]
        return sum(self.met(member, seen) for member in members) >= needed


# ---- the tree: RFC 6962 section 2.1, RFC 9162 section 2.1.3.2 ----


def leaf(entry: bytes) -> bytes:
    """The leaf of an entry."""
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


def check_inclusion(hash_: bytes, index: int, size: int, path: list[bytes], root: bytes) -> None:
    """That a leaf is in a tree."""
    if not 0 <= index < size:
        raise Bad(f"there is no entry {index} in a log of {size}")
    first, last = index, size - 1
    for sibling in path:
        if not last:
            raise Bad(f"entry {index}: its proof is too long")
        if first & 1 or first == last:
            hash_ = node(sibling, hash_)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            hash_ = node(hash_, sibling)
        first, last = first >> 1, last >> 1
    if last or hash_ != root:
        raise Bad(f"entry {index} is not in the log that was signed")


# ---- an export ----


def check_export(folder: Path, policy: Policy) -> tuple[Signed, str]:
    """Everything in it, against the signed checkpoint; the number of entries and of payloads."""
    listed = set()
    for line in text_of(folder / "SHA256SUMS").splitlines():
        digest, _, name = line.partition("  ")
        listed.add(name)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise Bad(f"{name}: not the file that was exported")
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in listed | {"SHA256SUMS"}:
            raise Bad(f"{path.relative_to(folder)}: was not exported")
    note = text_of(folder / "checkpoint")
    signed = policy.judge(note)
    entries = 0
    for path in sorted((folder / "entries").iterdir(), key=lambda each: int(each.stem)):
        head, _, below = text_of(folder / "proofs" / f"{path.stem}.tlog-proof").partition("\n\n")
        magic, index, *hashes = head.split("\n")
        if magic != "c2sp.org/tlog-proof@v1" or index != f"index {path.stem}":
            raise Bad(f"{path.stem}.tlog-proof: not the proof of that entry")
        size, root = signed[1:3] if below == note else policy.judge(below)[1:3]
        check_inclusion(leaf(path.read_bytes()), int(path.stem), size, [unbase64(each) for each in hashes], root)
        entries += 1
    payloads = 0
    for path in sorted((folder / "payloads").glob("*.json")) if (folder / "payloads").is_dir() else []:
        about = json.loads(text_of(path))
        content = (folder / "payloads" / about["file"]).read_bytes()
        salt = bytes.fromhex(about["salt"])
        committed = {"commitment": "sha256:" + hashlib.sha256(salt + content).hexdigest(), "size": len(content)}
        entry = json.loads((folder / "entries" / f"{about['entry']}.json").read_bytes())
        # The length of the salt says where the content begins: a byte could be moved from one to the other.
        if len(salt) != 32 or {**committed, "name": about["name"]} not in entry.get("payloads", []):
            raise Bad(f"{path.name}: entry {about['entry']} does not commit to that content")
        payloads += 1
    return signed, f"{entries} entries and {payloads} payloads"


# ---- a whole log: c2sp.org/tlog-tiles ----


def check_log(folder: Path, policy: Policy) -> tuple[Signed, str]:
    """Every entry, against the signed root."""
    signed = policy.judge(text_of(folder / "checkpoint"))
    size, root = signed[1:3]
    subtrees: list[bytes] = []
    for number in range((size + 255) // 256):
        width = min(256, size - 256 * number)
        groups = [f"{number % 1000:03d}"]
        rest = number // 1000
        while rest:
            groups.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        path = folder / "tile" / "entries" / "/".join(groups)
        exact = width == 256
        if not exact and (path.parent / f"{path.name}.p" / str(width)).exists():
            path, exact = path.parent / f"{path.name}.p" / str(width), True
        content, at = path.read_bytes(), 0
        for index in range(256 * number, 256 * number + width):
            length = int.from_bytes(content[at : at + 2], "big")
            hash_, at = leaf(content[at + 2 : at + 2 + length]), at + 2 + length
            while index & 1:
                hash_, index = node(subtrees.pop(), hash_), index >> 1
            subtrees.append(hash_)
        if at > len(content) or (exact and at != len(content)):
            raise Bad(f"{path.relative_to(folder)}: its entries do not end where the file does")
    found = subtrees.pop() if subtrees else hashlib.sha256(b"").digest()
    while subtrees:
        found = node(subtrees.pop(), found)
    if found != root:
        raise Bad(f"the {size} entries are not those that were signed")
    return signed, f"all {size} entries"


def main() -> int:
    """Judge, and say so in a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parent
    parser.add_argument("export", nargs="?", type=Path, default=here, help="the export (the folder of this file)")
    parser.add_argument("--policy", type=Path, help="whose signatures count (those that came with the export)")
    parser.add_argument("--log", type=Path, help="a published log, instead of an export")
    chosen = parser.parse_args()
    came_with_it, policy = chosen.export / "policy", None
    file = chosen.policy or came_with_it
    given = file.resolve() != came_with_it.resolve()
    try:
        policy = Policy(text_of(file))
        (origin, size, _, witnesses, enough), what = (
            check_log(chosen.log, policy) if chosen.log else check_export(chosen.export, policy)
        )
    except (Bad, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if policy is None and given:
            sys.stdout.write(f"cannot be judged: {file}: {error}\n")
            return 5
        sys.stdout.write(f"NOT what was signed: {error}\n")
        return 3
    except OSError as error:
        sys.stdout.write(f"cannot be judged: {error.filename}: {error.strerror}\n")
        return 5
    sys.stdout.write(f"{what} are in the log of {size} entries that {origin} signed\n")
    more = "" if enough else ": the policy asks for more"
    sys.stdout.write(f"  witnessed by {', '.join(witnesses) or 'nobody'}{more}\n")
    if not given:
        sys.stdout.write("  by the keys that came with it: compare them with keys that you have from elsewhere\n")
    if not chosen.log:
        sys.stdout.write(
            "  checked: entries/ and payloads/; the page index.html is a view of them that nobody has signed\n"
        )
    return 0 if enough else 2


if __name__ == "__main__":
    sys.exit(main())
