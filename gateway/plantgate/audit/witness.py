"""A witness: signs checkpoints of logs it knows, and never two that contradict each other. Blocking.

Source: c2sp.org/tlog-witness v1.0.0. It keeps one checkpoint for each log, durable before it answers, so that a log
which was rolled back or forked finds nobody to sign for it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import COSIGNATURE, BadNote, Note, Signature, Signer, Verifier, check_note, unbase64
from plantgate.audit.tree import EMPTY, HASH_SIZE, NotProven, check_consistency
from plantgate.sdk.clock import Clock
from plantgate.store.disk import Disk, Open, replace_file

PROOF_MAX: Final = 63
REQUEST_BYTES_MAX: Final = 128 * 1024


class Refusal(Enum):
    """Why a checkpoint is not signed; the value is the status of the HTTP answer."""

    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    OTHER_SIZE = 409
    NOT_CONSISTENT = 422


class Refused(Exception):
    """The witness does not sign."""

    def __init__(self, refusal: Refusal, sentence: str, size: int | None = None) -> None:
        super().__init__(sentence)
        self.refusal = refusal
        self.size = size
        """What the witness has seen last, where the log thought otherwise."""


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint, and the proof that it is what the witness saw last, grown."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: Note

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old}", *(base64.b64encode(each).decode() for each in self.proof), ""]
        return "\n".join(lines).encode() + b"\n" + bytes(self.checkpoint)

    @classmethod
    def parse(cls, content: bytes) -> "Request":
        """Raises `Refused`."""
        try:
            head, blank, note = content.partition(b"\n\n")
            first, *rest = head.decode().split("\n")
            word, _, number = first.partition(" ")
            good = number.isdecimal() and len(number) < 20 and str(int(number)) == number
            if not blank or word != "old" or not good:
                raise BadNote("the request does not begin with `old <size>`")
            if len(rest) > PROOF_MAX:
                raise BadNote(f"a proof of {len(rest)} hashes")
            proof = tuple(unbase64(line, "a hash of the proof") for line in rest)
            if any(len(each) != HASH_SIZE for each in proof):
                raise BadNote(f"a hash that is not {HASH_SIZE} bytes")
            return cls(int(number), proof, Note.parse(note))
        except (BadNote, UnicodeDecodeError) as error:
            raise Refused(Refusal.MALFORMED, str(error)) from None


class Witness:
    """Signs for the logs whose keys it was given; remembers in a folder."""

    def __init__(self, folder: Path, signer: Signer, logs: Sequence[Verifier], disk: Disk, clock: Clock) -> None:
        if signer.verifier.kind != COSIGNATURE:
            raise BadNote(f"{signer.verifier.name}: a log's key; a witness needs one of its own kind")
        self._folder = folder
        self._signer = signer
        self._logs = {log.name: [each for each in logs if each.name == log.name] for log in logs}
        """A log's keys; while one replaces the other, it has two."""
        self._disk = disk
        self._clock = clock
        disk.make_directory(folder)

    @property
    def verifier(self) -> Verifier:
        """Its public key, for policies."""
        return self._signer.verifier

    def last(self, origin: str) -> Note | None:
        """What it signed last for a log; None for one it has not signed for. Raises `OSError`, `BadNote`."""
        try:
            file = self._disk.open(self._file(origin), Open.READ)
        except FileNotFoundError:
            return None
        try:
            return Note.parse(file.pread(file.size(), 0))
        finally:
            file.close()

    def add(self, request: Request) -> Signature:
        """Its signature; what it signs is durable before. Raises `Refused`, `OSError`."""
        checkpoint = self._judged(request)
        last = self._seen(checkpoint.origin)
        if request.old != last.size:
            raise Refused(Refusal.OTHER_SIZE, f"size {last.size} was seen last, not {request.old}", last.size)
        try:
            check_consistency(request.old, checkpoint.size, request.proof, last.root, checkpoint.root)
        except NotProven as error:
            raise Refused(Refusal.NOT_CONSISTENT, str(error)) from None
        signature = self._signer.sign(request.checkpoint.text, seconds=self._clock.now() // 1_000_000_000)
        replace_file(self._disk, self._file(checkpoint.origin), bytes(request.checkpoint.signed(signature)))
        return signature

    def _judged(self, request: Request) -> Checkpoint:
        try:
            checkpoint = Checkpoint.parse(request.checkpoint.text)
        except BadNote as error:
            raise Refused(Refusal.MALFORMED, str(error)) from None
        if checkpoint.origin not in self._logs:
            raise Refused(Refusal.UNKNOWN_LOG, f"the log {checkpoint.origin} is not known here")
        try:
            if not check_note(request.checkpoint, self._logs[checkpoint.origin]):
                raise BadNote(f"not signed by {checkpoint.origin}")
        except BadNote as error:
            raise Refused(Refusal.NOT_SIGNED, str(error)) from None
        if request.old > checkpoint.size:
            raise Refused(Refusal.MALFORMED, f"a log of {checkpoint.size} was never one of {request.old}")
        return checkpoint

    def _seen(self, origin: str) -> Checkpoint:
        note = self.last(origin)
        return Checkpoint(origin, 0, EMPTY) if note is None else Checkpoint.parse(note.text)

    def _file(self, origin: str) -> Path:
        return self._folder / sha256(origin.encode()).hexdigest()
