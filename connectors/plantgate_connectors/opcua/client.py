"""asyncua's client with the few private things we need of it behind names, and everything automatic switched off.

`Client.connect` is never called: it would start asyncua's supervisor, stale-subscription watchdog and renewal tasks,
which decide on their own when to reconnect. The steps are taken one by one instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from asyncua import Client, ua
from asyncua.common.shortcuts import Shortcuts
from asyncua.crypto.security_policies import SecurityPolicy

from plantgate_connectors.opcua import endpoints
from plantgate_connectors.opcua.pki import Identity, der, split_chain
from plantgate_connectors.opcua.protocol import BoundedUaClient
from plantgate_connectors.opcua.settings import OpcUaSettings


@dataclass(frozen=True, slots=True)
class Resume:
    """What it takes to pick a server-side session up again from a new channel (OPC 10000-4, 6.7)."""

    token: ua.NodeId
    nonce: bytes | None
    session_timeout_seconds: float
    """As granted when it was created; not told again when it is picked up."""
    policy_id: str | None = None
    """The token policy it was logged in by: a server may offer one under several names, and refuse a change."""

    def to_json(self) -> dict[str, object]:
        """For a file; `from_json` reads it."""
        return {
            "token": self.token.to_string(),
            "nonce": None if self.nonce is None else self.nonce.hex(),
            "session_timeout_seconds": self.session_timeout_seconds,
            "policy_id": self.policy_id,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, object]) -> "Resume":
        """Raises KeyError, ValueError or TypeError if that is not what was written."""
        nonce, policy_id = written["nonce"], written["policy_id"]
        return cls(
            ua.NodeId.from_string(str(written["token"])),
            None if nonce is None else bytes.fromhex(str(nonce)),
            float(str(written["session_timeout_seconds"])),
            None if policy_id is None else str(policy_id),
        )


class PlainClient(Client):
    """Bounded, without reconnecting, and choosing the way to log in by strength instead of by position."""

    def __init__(self, settings: OpcUaSettings, *, name: str, application_uri: str) -> None:
        super().__init__(settings.url, timeout=settings.request_timeout_seconds)
        self.transport = BoundedUaClient(settings.request_timeout_seconds, settings.limits)
        self.uaclient = self.transport
        self.uaclient.pre_request_hook = self._wait_until_ready
        self.nodes = Shortcuts(self.uaclient.session)
        self.name = "plantgate"
        self.description = name
        self.product_uri = "urn:plantgate"
        self.application_uri = application_uri
        self._token_type = endpoints.user_token(settings.user)
        self._adopted_policy_id: str | None = None
        self.session_timeout = round(settings.session_timeout_seconds * 1000)
        self.secure_channel_timeout = round(settings.channel_lifetime_seconds * 1000)

    def protect(self, policy: SecurityPolicy) -> None:
        """Use this policy, with its keys, for the channel."""
        self.security_policy = policy  # type: ignore[assignment]  # asyncua infers the attribute's type from its default
        self.uaclient.set_security(policy)

    def identify(self, user: Identity) -> None:
        """Log in by certificate."""
        self.user_certificate = user.certificate
        self.user_private_key = user.key

    def server_policy(self, token_type: ua.UserTokenType) -> ua.UserTokenPolicy:
        """The strongest token policy offered for this kind of user; raises `endpoints.NotOffered`."""
        chosen = endpoints.choose_token(self._policy_ids, token_type, self.security_policy.URI)
        if self._adopted_policy_id is not None:
            chosen.PolicyId = self._adopted_policy_id
        return chosen

    def expect(self, endpoint: ua.EndpointDescription) -> None:
        """Take token policies and certificate from the endpoint: CreateSession, which would tell them, is skipped."""
        self._policy_ids = list(endpoint.UserIdentityTokens or [])
        if endpoint.ServerCertificate and not self.security_policy.peer_certificate:
            self.security_policy.peer_certificate = der(split_chain(endpoint.ServerCertificate)[0])

    async def log_in(self) -> None:
        """ActivateSession with what the user was set to."""
        self._adopted_policy_id = self._adopted_policy_id or self.server_policy(self._token_type).PolicyId
        await self.activate_session(username=self._username, password=self._password, certificate=self.user_certificate)

    def adopt(self, resume: Resume) -> None:
        """Take over a session that exists at the server; `log_in` then picks it up."""
        self.uaclient.session.restore_authentication_token(resume.token)
        self._adopted_policy_id = resume.policy_id
        self._server_nonce = resume.nonce  # type: ignore[assignment]  # asyncua infers the type from its default

    def forget(self) -> None:
        """Go back to having no session."""
        self.uaclient.session.reset_authentication_token()
        self._server_nonce = None
        self._adopted_policy_id = None

    def resume_point(self, session_timeout_seconds: float) -> Resume:
        """The session as it stands: the server's last nonce is what the next ActivateSession must sign."""
        token = self.uaclient.session.authentication_token
        return Resume(token, self._server_nonce, session_timeout_seconds, self._adopted_policy_id)

    def drop(self) -> None:
        """Leave without a word; the session stays at the server."""
        self.transport.drop()
