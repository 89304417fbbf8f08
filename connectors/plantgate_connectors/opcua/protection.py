"""Settings of how the channel is protected and who we are on it."""

from enum import Enum
from pathlib import Path

from pydantic import field_validator, model_validator

from plantgate.sdk import Secret, Settings


class Policy(Enum):
    """Security policies; those with SHA-1 or short keys are not offered at all."""

    BEST = "best"
    NONE = "None"
    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"


class Mode(Enum):
    """What the policy does with a message."""

    SIGN = "Sign"
    SIGN_AND_ENCRYPT = "SignAndEncrypt"


class Flaw(Enum):
    """A fault of a pinned server certificate that an operator may choose to live with."""

    VALIDITY = "validity"
    APPLICATION_URI = "application_uri"
    KEY_USAGE = "key_usage"


class Security(Settings):
    """How the channel to the server is protected."""

    policy: Policy = Policy.BEST
    """Security policy. `best` takes the strongest the server offers and never `None`; a named one is taken or the
    connection refused, never another. `None` (readable and forgeable by anyone on the network) only if written here."""
    mode: Mode = Mode.SIGN_AND_ENCRYPT
    """`SignAndEncrypt`, or `Sign` where somebody must be able to read the traffic. Ignored with policy `None`."""
    certificate: Path | None = None
    """Our application instance certificate (DER or PEM), if your plant issues them.
    Without it one is made on first use and kept below `<store folder>/pki/own`."""
    private_key: Path | None = None
    """The certificate's private key (DER or PEM). Given together with `certificate`."""
    private_key_password: Secret | None = None
    """Password of the private key, as a reference."""
    server_thumbprint: str | None = None
    """Trust exactly the certificate with this SHA-256 (64 hex digits) or SHA-1 (40) thumbprint.
    Replaces putting it into `pki/trusted`; colons and spaces are ignored."""
    tolerate: tuple[Flaw, ...] = ()
    """Faults of the pinned certificate to accept: `validity`, `application_uri`, `key_usage`.
    Only together with `server_thumbprint`, since a fault is acceptable for one known certificate, not for all."""

    @field_validator("server_thumbprint")
    @classmethod
    def _hex(cls, written: str | None) -> str | None:
        if written is None:
            return None
        digits = written.replace(":", "").replace(" ", "").lower()
        if len(digits) not in (40, 64) or any(digit not in "0123456789abcdef" for digit in digits):
            raise ValueError("a thumbprint has 64 hex digits (SHA-256) or 40 (SHA-1)")
        return digits

    @model_validator(mode="after")
    def _together(self) -> "Security":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are given together")
        if self.tolerate and self.server_thumbprint is None:
            raise ValueError("tolerate needs server_thumbprint: a fault is acceptable for one known certificate only")
        return self


class User(Settings):
    """Who we are to the server: a name and password, or a certificate and its key."""

    name: str | None = None
    """User name."""
    password: Secret | None = None
    """Password, as a reference: `${file:/run/secrets/press3}` or `${env:PRESS3_PASSWORD}`."""
    password_in_clear: bool = False
    """Send the password even where the server offers no way to encrypt it and the channel does not either.
    Anyone on the network can then read it."""
    certificate: Path | None = None
    """User certificate (DER or PEM)."""
    private_key: Path | None = None
    """Its private key (DER or PEM)."""
    private_key_password: Secret | None = None
    """Password of that key, as a reference."""

    @model_validator(mode="after")
    def _one_way(self) -> "User":
        named = self.name is not None and self.password is not None
        certified = self.certificate is not None and self.private_key is not None
        halves = sum(part is not None for part in (self.name, self.password, self.certificate, self.private_key))
        if named == certified or halves != 2:
            raise ValueError("give name and password, or certificate and private_key; leave user out for anonymous")
        return self
