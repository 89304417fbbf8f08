"""What an operator writes for an HTTP connection: receive, or poll, and send."""

from enum import Enum
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings
from plantgate.sdk.porter import is_loopback
from plantgate_connectors.calls import check_who, checked_url
from plantgate_connectors.http.meaning import Meaning
from plantgate_connectors.http.paths import PathPattern
from plantgate_connectors.http.tls import ServerTls
from plantgate_connectors.payloads.words import TimeFormat
from plantgate_connectors.tls import ClientTls

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Format(Enum):
    """How a batch is written."""

    JSON = "json"
    COLUMNS = "columns"
    CLOUDEVENTS = "cloudevents"


class Sender(Settings):
    """Who may post, and how they show that it is them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Their name: in the log, as the user name with `password`, as the key's name with `signature`."""
    bearer: Secret | None = None
    """A token they send as `Authorization: Bearer …`, as a reference; 16 characters or more."""
    password: Secret | None = None
    """A password they send with their name (HTTP Basic), as a reference."""
    signature: Secret | None = None
    """A key they sign each request with (HMAC-SHA256) and never send, as a reference; 16 characters or more."""
    tags: tuple[str, ...] = ()
    """Beginnings of the names of tags they may give values of, such as `press3/`; by default all."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(secret is not None for secret in (self.bearer, self.password, self.signature)) != 1:
            raise ValueError(f"{self.name}: write one of bearer, password and signature")
        return self


class Path(Meaning):
    """A path that takes readings."""

    path: str
    """A path; segments may be `{name}` (any one segment, for use in `tag`), and the last one `{name#}` (all that
    follow)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = PathPattern(self.path).names
        for where, template in self.templates().items():
            template.only(names, where)
        return self


class Receive(Settings):
    """A server that takes readings."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for every network the machine is on. By default this machine only."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8460
    """TCP port."""
    tls: ServerTls | None = None
    """Encryption."""
    allow: tuple[Sender, ...] = ()
    """Who may post."""
    anonymous: bool = False
    """Whether anybody who reaches the port may post."""
    paths: Annotated[tuple[Path, ...], Field(min_length=1)]
    """What is taken, and what it means; the first path that fits is used."""
    answer_seconds: Seconds = 10.0
    """How long a request may wait until its readings are safe on disk; then it is answered 503, to be sent again."""
    body_bytes_max: Annotated[Bytes, Field(ge=128, le=2**28)] = 2**20
    """Largest body; a larger one is refused."""
    body_seconds: Seconds = 30.0
    """How long a body may take to arrive."""
    head_seconds: Seconds = 10.0
    """How long the head of a request may take to arrive, and a TLS handshake."""
    idle_seconds: Seconds = 75.0
    """How long an open connection is kept without a request."""
    connections_max: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Most connections at a time."""
    per_peer_max: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Most connections at a time from one address."""
    buffer_bytes_max: Annotated[Bytes, Field(ge=2**16)] = 16 * 2**20
    """Received and not yet safe, of all requests together; beyond it, requests are answered 503 unread."""
    failures_max: Annotated[int, Field(ge=1, le=1000)] = 10
    """Wrong credentials from one address in a minute; then it is answered 429 until the minute is over."""
    keys_max: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    """How many `Idempotency-Key`s are remembered; 0 ignores them."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = [sender.name for sender in self.allow]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"allow: {name} is named twice")
        certificates = self.tls is not None and self.tls.client_ca_file is not None
        if self.anonymous and self.allow:
            raise ValueError("anonymous lets everybody in, so allow has no use; write one of them")
        if not (self.allow or self.anonymous or certificates):
            raise ValueError("nobody may post: write allow with a name and a bearer token, or tls.client_ca_file")
        return self


class Calling(Settings):
    """A server we call, and who we are there."""

    url: str
    """Where: `https://host/path`, or `http://`."""
    bearer: Secret | None = None
    """A token to send as `Authorization: Bearer …`, as a reference."""
    username: str | None = None
    """User name (HTTP Basic)."""
    password: Secret | None = None
    """Password, as a reference."""
    tls: ClientTls = ClientTls()
    """Whom to trust, and our own certificate."""
    answer_seconds: Seconds = 10.0
    """How long an exchange may take, connecting and reading included."""

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        return checked_url(url, ("https", "http"))

    @model_validator(mode="after")
    def _who(self) -> Self:
        check_who(self.username, self.password, self.bearer)
        return self

    @property
    def in_clear(self) -> bool:
        """Whether something secret goes over a network unencrypted."""
        parts = urlsplit(self.url)
        secret = self.bearer is not None or self.password is not None
        return secret and parts.scheme == "http" and not is_loopback(parts.hostname or "")


class Poll(Calling, Meaning):
    """A URL to ask again and again, and what its answer means."""

    interval_seconds: Annotated[float, Field(ge=0.05, le=86_400)] = 10.0
    """From one request to the next."""
    body_bytes_max: Annotated[Bytes, Field(ge=128, le=2**28)] = 2**20
    """Largest answer; a larger one counts as a failure."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for where, template in self.templates().items():
            template.only(frozenset(), where)
        return self


class Send(Calling):
    """Where batches are posted to."""

    format: Format = Format.JSON
    """`json`, `columns` (the same in a third fewer bytes), or `cloudevents` (1.0, structured)."""
    time: TimeFormat = TimeFormat.RFC3339
    """Source times as `rfc3339` text, exact to the nanosecond, or as whole `nanoseconds` since 1970 UTC."""
    signature: Secret | None = None
    """A key to sign each request with, as a reference; the receiver knows it as `username` says. Not with a bearer or a
    password."""
    body_bytes_max: Annotated[Bytes, Field(ge=1024, le=2**28)] = 2**20
    """Larger batches are split into several requests; so are those the server calls too large."""
    answer_seconds: Seconds = 30.0
    """How long the server may take to confirm a request before it is sent again."""
    web_page_is_success: bool = False
    """Whether a web page (`text/html`) with a status of success counts as one; it usually is the log-in page of
    something that stands between."""

    @model_validator(mode="after")
    def _who(self) -> Self:
        if self.signature is not None:
            if self.bearer is not None or self.password is not None or self.username is None:
                raise ValueError(
                    "signature: write username (the key's name) beside it, and neither bearer nor password"
                )
        elif (self.username is None) != (self.password is None):
            raise ValueError("username and password come together: write both or neither")
        elif self.bearer is not None and self.username is not None:
            raise ValueError("bearer and username both say who we are: write one of them")
        return self


class HttpSettings(Settings):
    """What to exchange over HTTP; a flow reads through `receive` or `poll`, and writes through `send`."""

    receive: Receive | None = None
    """For flows that begin here: others post readings to us."""
    poll: tuple[Poll, ...] = ()
    """For flows that begin here: we ask others."""
    send: Send | None = None
    """For flows that end here: we post batches."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.receive is not None and self.poll:
            raise ValueError("receive and poll are two sources; make a connection of each")
        if self.receive is None and not self.poll and self.send is None:
            raise ValueError("write receive, poll or send")
        return self
