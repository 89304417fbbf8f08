"""Asks witnesses to sign what was published. The plant never waits for one: whoever is away is asked again later."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeAlias

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import BadNote, Note, Verifier, check_note
from plantgate.audit.tree import Node, consistency_proof
from plantgate.audit.witness import Request
from plantgate.sdk.errors import GatewayError, Unavailable

_ANSWER_BYTES_MAX: Final = 16 * 1024
_SIZE_MAX: Final = 2**63
Asking: TypeAlias = AbstractAsyncContextManager[ClientResponse]


class WitnessDisagrees(GatewayError):
    """A witness has seen another past of this log: there was a fork or a roll-back, here or there."""


@dataclass(slots=True)
class Cosigner:
    """One witness, as a log sees it."""

    url: str
    """Where it is: ``http://box2.plant:9490``."""
    verifier: Verifier
    """Its public key."""
    seconds: float = 10.0
    """How long it may take to answer."""
    seen: int = field(default=0)
    """Size of the log that it signed last, as far as we know; it corrects us."""

    @property
    def name(self) -> str:
        """Its key's name."""
        return self.verifier.name

    async def cosign(self, note: Note, node: Node) -> Note:
        """The note with the witness' signature.

        `node` gives the hashes of the log up to that checkpoint. Raises `Unavailable` where the witness is away,
        `WitnessDisagrees` where it has seen what this log never was, `BadNote` where its answer is none.
        """
        checkpoint = Checkpoint.parse(note.text)
        for _ in range(2):  # the second time with the size that it says it has seen
            proof = tuple(
                await asyncio.to_thread(consistency_proof, min(self.seen, checkpoint.size), checkpoint.size, node)
            )
            status, answer = await self._ask(Request(self.seen, proof, note))
            if status == 409:
                self.seen = self._size(answer, checkpoint)
                continue
            if status == 200:
                return self._signed(note, checkpoint, answer)
            if status == 422:
                raise WitnessDisagrees(f"{self.url}: {answer.strip()}; the witness saw another log at size {self.seen}")
            raise Unavailable(f"{self.url}: the witness answered {status}: {answer.strip()[:200]}")
        raise Unavailable(f"{self.url}: the witness changes its mind about what it saw")

    async def last(self, origin: str) -> Note | None:
        """The checkpoint of this log that it signed last; None where it knows of none. Raises `Unavailable`, `BadNote`.

        Whether that is true is not asked here: the log's own signature on it says so.
        """
        where = f"{self.url}/{sha256(origin.encode()).hexdigest()}/checkpoint"
        status, answer = await self._told(lambda session: session.get(where, allow_redirects=False))
        return Note.parse(answer.encode()) if status == 200 else None

    async def _ask(self, request: Request) -> tuple[int, str]:
        where = f"{self.url}/add-checkpoint"
        return await self._told(lambda session: session.post(where, data=bytes(request), allow_redirects=False))

    async def _told(self, ask: Callable[[ClientSession], Asking]) -> tuple[int, str]:
        try:
            async with ClientSession(timeout=ClientTimeout(total=self.seconds)) as session, ask(session) as answer:
                content = b""  # one read gives what has come, which may be a part
                while len(content) < _ANSWER_BYTES_MAX and (more := await answer.content.read(_ANSWER_BYTES_MAX)):
                    content += more
                return answer.status, content.decode(errors="replace")
        except (ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"{self.url}: the witness does not answer: {str(error) or type(error).__name__}"
            ) from error

    def _size(self, answer: str, checkpoint: Checkpoint) -> int:
        written = answer.strip()
        if not written.isdecimal() or len(written) > 19 or int(written) >= _SIZE_MAX:
            raise BadNote(f"{self.url}: the witness answered 409 without a size")
        size = int(written)
        if size > checkpoint.size:
            raise WitnessDisagrees(
                f"{self.url}: the witness has seen {size} entries of {checkpoint.origin}, which has {checkpoint.size}: "
                "this log was rolled back"
            )
        return size

    def _signed(self, note: Note, checkpoint: Checkpoint, answer: str) -> Note:
        lines = Note.parse(f"{note.text}\n{answer}".encode())
        if self.verifier not in check_note(lines, [self.verifier]):
            raise BadNote(f"{self.url}: the witness' answer is not signed by {self.verifier.name}")
        self.seen = checkpoint.size
        return note.signed(*(each for each in lines.signatures if self.verifier.made(each)))
