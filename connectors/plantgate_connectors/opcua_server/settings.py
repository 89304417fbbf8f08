"""What an operator can say about the OPC UA server; the docstrings are the documentation."""

from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings


def _number(written: object) -> object:
    return float(written) if isinstance(written, int) and not isinstance(written, bool) else written


Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400)]


class Policy(Enum):
    """Security policies; those with SHA-1 signatures or short keys are not offered at all."""

    BASIC256SHA256 = "Basic256Sha256"
    AES128_SHA256_RSAOAEP = "Aes128_Sha256_RsaOaep"
    AES256_SHA256_RSAPSS = "Aes256_Sha256_RsaPss"
    NONE = "None"


class User(Settings):
    """Somebody who may log in with a password."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """User name."""
    password: Secret
    """Password, as a reference: `${file:/run/secrets/scada}`."""


class Security(Settings):
    """How channels are protected, and as whom we present ourselves."""

    policies: Annotated[tuple[Policy, ...], Field(min_length=1)] = (
        Policy.AES256_SHA256_RSAPSS,
        Policy.AES128_SHA256_RSAOAEP,
        Policy.BASIC256SHA256,
    )
    """Policies to offer. `None` lets anyone on the network read along, and is offered only if written here."""
    sign_only: bool = False
    """Offer channels that are signed and not encrypted too, where somebody must be able to read the traffic."""
    certificate: Path | None = None
    """Our application instance certificate (DER or PEM), if your plant issues them.
    Without it one is made on first use and kept below `<store folder>/pki-server/own`."""
    private_key: Path | None = None
    """The certificate's private key (DER or PEM). Given together with `certificate`."""
    private_key_password: Secret | None = None
    """Password of the private key, as a reference."""

    @property
    def open_to_all(self) -> bool:
        """Whether clients without a certificate are let in."""
        return Policy.NONE in self.policies

    @model_validator(mode="after")
    def _together(self) -> "Security":
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are given together")
        return self


class Login(Settings):
    """Who may log in, and how often somebody may fail."""

    users: tuple[User, ...] = ()
    """Users with passwords."""
    certificates: bool = False
    """Whether users may log in with a certificate that lies in `<store folder>/pki-server/users/trusted`."""
    anonymous: bool = False
    """Whether a client with a trusted certificate may read without logging in."""
    failures_max: Annotated[int, Field(ge=1, le=1000)] = 5
    """After so many failed logins in a row from one address, it is refused for `lockout_seconds`."""
    lockout_seconds: Seconds = 60.0
    """How long an address is refused after that, whatever it tries."""

    @field_validator("users")
    @classmethod
    def _distinct(cls, written: tuple[User, ...]) -> tuple[User, ...]:
        if len({user.name for user in written}) < len(written):
            raise ValueError("a user is named twice")
        return written


class Limits(Settings):
    """What clients may take at most, all together unless said otherwise; a hostile or broken one meets these first."""

    connections_max: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Most connections. One more is closed at once."""
    sessions_max: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Most sessions."""
    subscriptions_max: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Most subscriptions."""
    monitored_items_max: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """Most monitored items."""
    queue_max: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most values kept for one monitored item; a client that asks for more is told."""
    queued_bytes_max: Bytes = 256 * 2**20
    """Most bytes of values and messages kept for clients. At this, queues keep their newest value only, flagged."""
    tags_max: Annotated[int, Field(ge=1, le=10_000_000)] = 200_000
    """Most tags. Values of one more are set aside."""
    message_bytes_max: Bytes = 4 * 2**20
    """Largest request taken. A longer one ends the connection."""
    chunks_max: Annotated[int, Field(ge=1, le=65_536)] = 80
    """Most chunks in one request."""
    operations_max: Annotated[int, Field(ge=1, le=100_000)] = 2000
    """Most nodes in one request; clients are told in the server's OperationLimits."""
    login_seconds: Seconds = 20.0
    """A connection that has no activated session after so long is closed."""
    chunk_seconds: Seconds = 10.0
    """A chunk that has begun must be whole after so long, and an answer taken."""
    session_seconds: Seconds = 600.0
    """Longest session timeout granted."""


class OpcUaServerSettings(Settings):
    """An OPC UA server that shows the tags of the flows that end here."""

    host: str = "0.0.0.0"  # noqa: S104  a server is there to be reached; who is let in is decided by certificate
    """Address to listen on; `127.0.0.1` for this machine only."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 4840
    """TCP port."""
    hostname: str | None = None
    """Name or address under which clients reach us, for the endpoint list; the one they dialled unless given."""
    application_uri: str | None = None
    """Our application's URI, also in our certificate. `urn:<host>:plantgate:<connection>` unless given."""
    root: Annotated[str, Field(min_length=1, max_length=100)] = "Plant"
    """Name of the folder below Objects that holds the tags."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = ()
    """Tags to show before their first value (BadWaitingForInitialData). The others appear when they come."""
    security: Security = Security()
    """How channels are protected. Signed and encrypted, by clients whose certificates are trusted, unless said
    otherwise."""
    login: Login = Login()
    """Who may log in. At least one way must be given."""
    keep_seconds: Seconds = 60.0
    """How often the latest values are written to the store's folder, so that a restart shows them
    (UncertainLastUsableValue) until new ones come. They are written at the end too."""
    limits: Limits = Limits()
    """What clients may take at most."""

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each."""
        found = []
        if Policy.NONE in self.security.policies:
            found.append(
                "security.policies: with None anyone on the network can read every tag, and passwords guard little"
            )
        if self.login.anonymous:
            found.append("login.anonymous: whoever has a trusted certificate reads every tag without saying who it is")
        if self.security.sign_only:
            found.append("security.sign_only: values cross the network readable by anyone on it")
        return tuple(found)

    @field_validator("tags")
    @classmethod
    def _distinct(cls, written: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(written)) < len(written):
            raise ValueError("a tag is named twice")
        return written

    @model_validator(mode="after")
    def _someone(self) -> "OpcUaServerSettings":
        login = self.login
        if not (login.users or login.certificates or login.anonymous):
            raise ValueError("nobody may log in: give login.users, login.certificates or login.anonymous")
        return self
