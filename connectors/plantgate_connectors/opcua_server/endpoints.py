"""What we offer: one endpoint for each policy and mode, under the address by which the client found us."""

from typing import Final
from urllib.parse import urlsplit

from asyncua import ua

from plantgate_connectors.opcua.pki import Identity, der
from plantgate_connectors.opcua_server import suites
from plantgate_connectors.opcua_server.channel import NONE, SIGN, SIGN_AND_ENCRYPT
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings, Policy

TRANSPORT: Final = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"


def modes(settings: OpcUaServerSettings) -> frozenset[tuple[str, int]]:
    """Offered policies by URI, each with each of its modes."""
    offered: set[tuple[str, int]] = set()
    for policy in settings.security.policies:
        if policy is Policy.NONE:
            offered.add((suites.NONE_URI, NONE))
            continue
        suite = next(each for each in suites.SUITES if each.name == policy.value)
        offered.add((suite.uri, SIGN_AND_ENCRYPT))
        if settings.security.sign_only:
            offered.add((suite.uri, SIGN))
    return frozenset(offered)


class Endpoints:
    """The endpoint list, and our description."""

    def __init__(self, settings: OpcUaServerSettings, identity: Identity, application_uri: str) -> None:
        self._settings = settings
        self._certificate = der(identity.certificate)
        self._application_uri = application_uri
        self.tokens: dict[str, list[ua.UserTokenPolicy]] = {}
        """By policy URI; set once it is known who may log in."""

    def listed(self, dialled: str | None) -> list[ua.EndpointDescription]:
        """All endpoints, strongest first."""
        url = self._url(dialled)
        made = []
        strength = [suite.uri for suite in suites.SUITES] + [suites.NONE_URI]
        order = sorted(modes(self._settings), key=lambda offer: (strength.index(offer[0]), -offer[1]))
        for rank, (uri, mode) in enumerate(order):
            endpoint = ua.EndpointDescription()
            endpoint.EndpointUrl = url
            endpoint.Server = self.described(dialled)
            endpoint.ServerCertificate = self._certificate
            endpoint.SecurityMode = ua.MessageSecurityMode(mode)
            endpoint.SecurityPolicyUri = uri
            endpoint.UserIdentityTokens = self.tokens.get(uri, [])
            endpoint.TransportProfileUri = TRANSPORT
            endpoint.SecurityLevel = ua.Byte(0 if uri == suites.NONE_URI else 100 - rank)
            made.append(endpoint)
        return made

    def described(self, dialled: str | None) -> ua.ApplicationDescription:
        """Who we are."""
        described = ua.ApplicationDescription()
        described.ApplicationUri = self._application_uri
        described.ProductUri = "urn:plantgate"
        described.ApplicationName = ua.LocalizedText("plantgate")
        described.ApplicationType = ua.ApplicationType.Server
        described.DiscoveryUrls = [self._url(dialled)]
        return described

    def _url(self, dialled: str | None) -> str:
        """What clients shall dial: as the operator says, else as this one did."""
        port = self._settings.port
        host = self._settings.hostname
        if host is None:
            try:
                parts = urlsplit((dialled or "")[:512])
                host, port = parts.hostname or "localhost", parts.port or port
            except ValueError:
                host = "localhost"
        return f"opc.tcp://{f'[{host}]' if ':' in host else host}:{port}"
