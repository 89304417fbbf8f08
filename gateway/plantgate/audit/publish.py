"""Makes a log's entries public: bundles, tiles, and a checkpoint that is signed last. Blocking; one thread at a time.

In this order, each step durable before the next: entries are read back from the disk and hashed anew, never taken from
memory (a bit that flips between hashing and storing has ended a public log before); bundles and tiles; the checkpoint,
into the record of what was signed; the checkpoint, in its place. A crash anywhere leaves a public log that is
whole, and at most some files that the next publication finds as they must be.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from plantgate.audit.checkpoint import Checkpoint
from plantgate.audit.note import BadNote, Note, Signer, check_note
from plantgate.audit.rows import Rows
from plantgate.audit.tiles import WIDTH, Tiles, Unreadable, bundle_path, pack_bundle, tile_path
from plantgate.audit.tree import HASH_SIZE, check_consistency, consistency_proof, leaf_hash, root_of
from plantgate.sdk.errors import GatewayError
from plantgate.store.disk import Disk, Open, replace_file
from plantgate.store.segment import no_space


class Inconsistent(GatewayError):
    """What is to be published contradicts what was: nothing is signed any more until a person has looked."""


class Publisher:
    """One for each log; the only writer of its public folder."""

    def __init__(self, folder: Path, origin: str, signers: Sequence[Signer], disk: Disk) -> None:
        self._folder = folder
        self.origin = origin
        self._signers = signers
        self._disk = disk
        self.last: Checkpoint | None = None
        """What was signed last."""
        self._contradicted = ""
        """Why this is not the only history that we have signed."""

    def resume(self, signed: Note | None) -> None:
        """Go on from what was signed last, which is made public if a crash came between, and there is room.

        Raises `Inconsistent` where the public files are not those of that checkpoint, or of a later one, `OSError`.
        """
        last = Checkpoint.parse(signed.text) if signed is not None else None
        known, public = last.size if last is not None else 0, self._public_size()
        if public > known:
            raise Inconsistent(
                f"a checkpoint of {public} entries is public, and this log knows of {known} that were signed: it is an "
                "older copy; nothing is signed, since that would be a second history"
            )
        if signed is None or last is None:
            return
        try:
            root = root_of(last.size, Tiles(self.read, last.size).node)
        except Unreadable as error:
            raise Inconsistent(f"the public log is damaged: {error}; restore it from a copy") from None
        if root != last.root:
            raise Inconsistent(f"the public tiles do not lead to the root that was signed at size {last.size}")
        self.last = last
        if not self._is_public(signed):
            try:
                self._replace("checkpoint", bytes(signed))
            except OSError as error:
                if not no_space(error):  # a full disk must not keep anybody from the log; the next one takes its place
                    raise

    def heed(self, note: Note) -> None:
        """What somebody else has of this log. Raises `Inconsistent` where we have signed that, and it is not our past.

        From then on nothing is signed. What we have not signed proves nothing. Blocking.
        """
        checkpoint, last = Checkpoint.parse(note.text), self.last
        ours = check_note(note, [signer.verifier for signer in self._signers])
        if not ours or checkpoint.origin != self.origin:
            return
        if last is None or checkpoint.size > last.size:
            known = 0 if last is None else last.size
            self._contradicted = (
                f"this log has signed {checkpoint.size} entries elsewhere, and knows of {known}: it is an older copy"
            )
        else:
            with suppress(Unreadable):  # of what is archived the root cannot be told here
                if root_of(checkpoint.size, Tiles(self.read, last.size).node) != checkpoint.root:
                    self._contradicted = f"this log has signed another history of {checkpoint.size} entries elsewhere"
        self._must_be_the_only_one()

    def _must_be_the_only_one(self) -> None:
        if self._contradicted:
            raise Inconsistent(f"{self._contradicted}; nothing is signed until a person has looked")

    def prepare(self, size: int, root: bytes, stored: Callable[[int], Iterable[bytes]]) -> Note | None:
        """Put bundles and tiles of the log up to `size` in place and sign; None where there is nothing new.

        `stored` reads entries back from the disk, from an index on; `root` is what was hashed when they came.
        The note is to be kept for good, and then to be given to `release`. Raises `Inconsistent`, `OSError`.
        """
        self._must_be_the_only_one()
        try:
            return self._prepared(size, root, stored)
        except Unreadable as error:
            raise Inconsistent(f"the public log is damaged: {error}; restore it from a copy") from None

    def _prepared(self, size: int, root: bytes, stored: Callable[[int], Iterable[bytes]]) -> Note | None:
        before = self.last.size if self.last is not None else 0
        if self.last is not None and size == before:
            return None
        begin = before // WIDTH * WIDTH
        rows = Rows.at(Tiles(self.read, before), begin)
        entries = islice(stored(begin), size - begin)
        while chunk := list(islice(entries, WIDTH)):
            self._bundle(rows.size // WIDTH, chunk, before)
            for level, number, content in rows.extend([leaf_hash(entry) for entry in chunk]):
                self._write(tile_path(level, number), content)
        if rows.size != size:
            raise Inconsistent(f"{rows.size} entries are stored where {size} were acknowledged")
        for level, number, content in rows.unfinished():
            self._write(tile_path(level, number, len(content) // HASH_SIZE), content)
        if rows.root() != root:
            raise Inconsistent("the entries on the disk are not those that were acknowledged: their hash is another")
        checkpoint = Checkpoint(self.origin, size, root)
        self._check_past(checkpoint)
        text = str(checkpoint)
        return Note(text, tuple(signer.sign(text) for signer in self._signers))

    def release(self, note: Note) -> None:
        """Make a signed checkpoint the public one; also with more signatures, when witnesses have signed. `OSError`."""
        self._replace("checkpoint", bytes(note))
        before, self.last = self.last.size if self.last else 0, Checkpoint.parse(note.text)
        for level, number in _became_full(before, self.last.size):
            self._clear_partial(tile_path(level, number))
            if level == 0:
                self._clear_partial(bundle_path(number))

    def drop(self, begin: int, end: int) -> None:
        """Take away bundles and tiles of the lowest level, of full bundles ``begin`` to ``end``. Raises `OSError`.

        Entries of these are no longer here, and their hashes are still one level up. Harmless if they are gone.
        """
        for number in range(begin, end):
            for path in (bundle_path(number), tile_path(0, number)):
                self._clear_partial(path)
                with suppress(FileNotFoundError):
                    self._disk.unlink(self._folder / path)
        touched = [path for number in range(begin, end) for path in (bundle_path(number), tile_path(0, number))]
        for folder in dict.fromkeys((self._folder / path).parent for path in touched):
            self._disk.sync_directory(folder)

    def _public_size(self) -> int:
        """Of the public checkpoint, if a key of ours has signed it; 0 otherwise."""
        try:
            note = Note.parse(self.read("checkpoint"))
            checkpoint = Checkpoint.parse(note.text)
            ours = check_note(note, [signer.verifier for signer in self._signers])
        except (OSError, BadNote):
            return 0
        return checkpoint.size if ours and checkpoint.origin == self.origin else 0

    def _is_public(self, signed: Note) -> bool:
        """Possibly with more signatures."""
        try:
            return Note.parse(self.read("checkpoint")).text == signed.text
        except (OSError, BadNote):
            return False

    def _bundle(self, number: int, entries: Sequence[bytes], before: int) -> None:
        """Also those of an older, narrower bundle must still be the same."""
        self._write(bundle_path(number, len(entries)), pack_bundle(entries))
        older = before - number * WIDTH
        if 0 < older < len(entries):
            self._must_hold(bundle_path(number, older), pack_bundle(entries[:older]))

    def _check_past(self, checkpoint: Checkpoint) -> None:
        if self.last is None:
            return
        tiles = Tiles(self.read, checkpoint.size)
        proof = consistency_proof(self.last.size, checkpoint.size, tiles.node)
        try:
            check_consistency(self.last.size, checkpoint.size, proof, self.last.root, checkpoint.root)
        except ValueError as error:
            raise Inconsistent(f"{error}; nothing is signed") from None

    def _write(self, path: str, content: bytes) -> None:
        """In place at once or not at all; what is there already must be the same."""
        if not self._must_hold(path, content, missing_is_fine=True):
            self._replace(path, content)

    def _must_hold(self, path: str, content: bytes, *, missing_is_fine: bool = False) -> bool:
        try:
            file = self._disk.open(self._folder / path, Open.READ)
        except FileNotFoundError:
            if missing_is_fine:
                return False
            raise Inconsistent(f"{path}: was published and is gone; restore it from a copy") from None
        try:
            if file.pread(len(content) + 1, 0) != content:
                raise Inconsistent(f"{path}: was published with other content; nothing is written over it")
        finally:
            file.close()
        return True

    def read(self, path: str) -> bytes:
        """A public file. Raises `OSError`."""
        file = self._disk.open(self._folder / path, Open.READ)
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()

    def _clear_partial(self, path: str) -> None:
        """The narrower ones of a tile that is full: whoever holds an older checkpoint reads the full one."""
        place = self._folder / f"{path}.p"
        with suppress(FileNotFoundError):
            for name in self._disk.names(place):
                self._disk.unlink(place / name)

    def _replace(self, path: str, content: bytes) -> None:
        place = self._folder / path
        self._disk.make_directory(place.parent)
        replace_file(self._disk, place, content)


def _became_full(before: int, size: int) -> Iterator[tuple[int, int]]:
    """Level and number of the tiles that were begun at the first size and are full at the second."""
    level = 0
    while (full := size >> 8 * (level + 1)) > (begun := before >> 8 * (level + 1)):
        yield from ((level, number) for number in range(begun, full))
        level += 1
