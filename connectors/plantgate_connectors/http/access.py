"""Who may post: tokens, passwords and signatures, compared in a time that tells nothing."""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Batch, Context, Secret, Unavailable
from plantgate_connectors.http import signature
from plantgate_connectors.http.problem import Problem, not_now
from plantgate_connectors.http.settings import Receive, Sender

LENGTH_LEAST: Final = 16
"""Characters of a token or key; a shorter one can be guessed."""
_REFRESH_SECONDS: Final = 5.0
"""How old a secret read from its file may be: a new one counts, and a deleted one stops counting, within this."""
_CREDENTIALS_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is."""

    name: str
    """Theirs, or their certificate's; empty where anybody may post."""
    tags: tuple[str, ...] = ()
    signed: signature.Signature | None = None
    """To be checked when the body is there."""

    def refuse_foreign(self, batch: Batch) -> None:
        """Raises `Problem` if a tag is not theirs to give."""
        if not self.tags:
            return
        for tags in (batch.tags, *(gap.tags for gap in batch.gaps)):
            for tag in tags:
                if not tag.startswith(self.tags):
                    raise Problem(403, f"{self.name} may not give values of {tag!a}")


class Access:
    """Lives as long as the connector, so that a new session forgets no used signature."""

    def __init__(self, settings: Receive, context: Context) -> None:
        self._settings, self._context = settings, context
        self._nonces = signature.Nonces(self._wall())
        self._known: dict[str, str] = {}
        """Secrets by sender; one that cannot be read is not there, so it lets nobody in."""
        self._read_at: float | None = None
        schemes = {
            "Bearer": any(sender.bearer for sender in settings.allow),
            'Basic realm="plantgate", charset="UTF-8"': any(sender.password for sender in settings.allow),
            signature.SCHEME: any(sender.signature for sender in settings.allow),
        }
        self._challenge = ", ".join(scheme for scheme, offered in schemes.items() if offered)

    def begin(self, now: float) -> None:
        """Read every secret. Raises `Unavailable` for one that is not there or too short to guard anything."""
        self._known = {sender.name: self._reveal(sender) for sender in self._settings.allow}
        self._read_at = now

    def caller(self, authorization: str | None, certificate: str, now: float) -> Caller:
        """Who it is, as far as the head of the request can say. Raises `Problem`.

        `certificate` is the name in the one that was shown, empty if none was.
        """
        if not self._settings.allow:
            return Caller(certificate)  # TLS has checked it; or anybody may post
        if authorization is None:
            raise self._unknown("say who you are")
        self._refresh(now)
        scheme, _, rest = authorization.partition(" ")
        rest = rest.strip()
        if len(rest) > _CREDENTIALS_MOST:
            raise self._unknown("these are not credentials")
        match scheme.lower():
            case "bearer":
                return self._bearer(rest)
            case "basic":
                return self._basic(rest)
            case "hmac-sha256":
                return self._signed(rest)
        raise self._unknown("this kind of credentials is not taken")

    def check_body(self, caller: Caller, *, method: str, target: str, body: bytes) -> None:
        """Whether the signature is that of this request; from then on it is used. Raises `Problem`."""
        signed = caller.signed
        if signed is None:
            return
        secret = self._known.get(caller.name)
        expected = signature.sign(
            secret or "", method=method, target=target, time=signed.time, nonce=signed.nonce, body=body
        )
        if secret is None or not hmac.compare_digest(expected, signed.signature):
            raise self._unknown("the signature is not that of this request")
        if objection := self._nonces.objection(signed, self._wall()):  # perhaps used while its body was under way
            raise self._unknown(objection)
        if not self._nonces.use(signed, self._wall()):
            raise not_now("too many signed requests in five minutes", 60.0)

    def _bearer(self, token: str) -> Caller:
        found = self._matching(token, [sender for sender in self._settings.allow if sender.bearer is not None])
        if found is None:
            raise self._unknown("this token is not known here")
        return Caller(found.name, found.tags)

    def _basic(self, written: str) -> Caller:
        try:
            name, colon, password = base64.b64decode(written, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise self._unknown("these are not credentials") from None
        named = [sender for sender in self._settings.allow if sender.password is not None and sender.name == name]
        found = self._matching(password, named) if colon else None
        if found is None:
            raise self._unknown("wrong user name or password")
        return Caller(found.name, found.tags)

    def _signed(self, written: str) -> Caller:
        signed = signature.read(written)
        if signed is None:
            raise self._unknown('write key="…", time="…", nonce="…" (8 characters or more), signature="…"')
        for sender in self._settings.allow:
            if sender.signature is not None and sender.name == signed.key:
                if objection := self._nonces.objection(signed, self._wall()):
                    raise self._unknown(objection)
                return Caller(sender.name, sender.tags, signed)
        raise self._unknown("this key is not known here")

    def _matching(self, written: str, senders: list[Sender]) -> Sender | None:
        """Every secret is compared, whichever fits."""
        found = None
        for sender in senders:
            secret = self._known.get(sender.name)
            fits = hmac.compare_digest((secret or "").encode(), written.encode(errors="surrogateescape"))
            if fits and secret is not None:
                found = sender
        return found

    def _unknown(self, why: str) -> Problem:
        return Problem(401, why, headers={"WWW-Authenticate": self._challenge}, close=True)

    def _refresh(self, now: float) -> None:
        if self._read_at is not None and now - self._read_at < _REFRESH_SECONDS:
            return
        self._read_at = now
        for sender in self._settings.allow:
            try:
                self._known[sender.name] = self._reveal(sender)
            except Unavailable as error:
                if self._known.pop(sender.name, None) is not None:
                    self._context.log.error("credentials gone, this sender is not let in", reason=str(error))

    def _reveal(self, sender: Sender) -> str:
        secret: Secret | None = sender.bearer or sender.signature or sender.password
        assert secret is not None, "settings ask for one of them"
        revealed = secret.reveal()
        if len(revealed) < LENGTH_LEAST and sender.password is None:
            raise Unavailable(
                f"{self._context.connection}: the token or key of {sender.name} has fewer than {LENGTH_LEAST} "
                "characters and can be guessed; make one with: openssl rand -hex 32",
                retry_after_seconds=30.0,
            )
        if not revealed:
            raise Unavailable(f"{self._context.connection}: the password of {sender.name} is empty")
        return revealed

    def _wall(self) -> float:
        return self._context.clock.now() / 1e9
