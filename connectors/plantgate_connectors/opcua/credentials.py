"""Decides with whom we talk and as whom, before a session exists: endpoint, server certificate, our certificate, user.

Everything here that fails needs a person, so it raises `Unavailable` with a long pause and says what the person can do.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from asyncua import ua

from plantgate.sdk import Context, Secret, Unavailable
from plantgate_connectors.opcua import endpoints
from plantgate_connectors.opcua.client import PlainClient
from plantgate_connectors.opcua.failures import SECURITY_PAUSE_SECONDS, translated
from plantgate_connectors.opcua.pki import Identity, Store, load_identity, split_chain, thumbprints
from plantgate_connectors.opcua.protection import Policy, User
from plantgate_connectors.opcua.settings import OpcUaSettings
from plantgate_connectors.opcua.trust import Refused, Unknown, judge


async def discover(settings: OpcUaSettings, context: Context) -> tuple[Policy, ua.EndpointDescription]:
    """Ask for the endpoints over an open channel, as OPC UA has it, and choose; `same_offer` checks what was told."""
    client = PlainClient(settings, name=f"plantgate {context.connection}", application_uri="")
    try:
        with translated(context, f"reach {settings.url}"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.connect_sessionless()
        with translated(context, "get the server's endpoints"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                offers = await client.get_endpoints()
                await client.disconnect_sessionless()
    finally:
        client.drop()
    with translated(context, "read the server's endpoints"):
        try:
            policy, endpoint = endpoints.choose(offers, settings.security)
            endpoints.choose_token(
                endpoint.UserIdentityTokens or [], endpoints.user_token(settings.user), endpoint.SecurityPolicyUri
            )
        except endpoints.NotOffered as error:
            raise person_needed(context, f"{error}; refusing to connect with less") from error
    return policy, endpoint


async def secure(
    client: PlainClient, settings: OpcUaSettings, context: Context, policy: Policy, endpoint: ua.EndpointDescription
) -> str:
    """Judge the server's certificate and give the client its keys; the server has not heard from us yet.

    Returns the SHA-256 thumbprint of the server's certificate, or nothing if it was not looked at.
    """
    store = Store(context.site_folder / "pki")
    user, thumbprint = settings.user, ""
    if policy is not Policy.NONE or (user is not None and user.name is not None and endpoint.ServerCertificate):
        # With policy None a password can still be encrypted for the server's certificate: for whose, matters as much.
        thumbprint = await asyncio.to_thread(_judge, settings, context, store, endpoint)
    if user is not None:
        await _introduce(client, context, user)
    if policy is not Policy.NONE:
        identity = await asyncio.to_thread(_identity, settings, context, store, client.application_uri)
        leaf = split_chain(endpoint.ServerCertificate)[0]
        made = endpoints.policy_class(policy)
        client.protect(made(leaf, identity.certificate, identity.key, endpoints.mode_of(endpoint)))
    return thumbprint


def same_offer(
    context: Context, settings: OpcUaSettings, told: Sequence[ua.EndpointDescription], chosen: ua.EndpointDescription
) -> None:
    """Over the protected channel the server repeats its endpoints: somebody in between may have hidden better ones."""
    try:
        _, best = endpoints.choose(told, settings.security)
    except endpoints.NotOffered as error:
        raise person_needed(context, f"the server denies the endpoint it offered before: {error}") from error
    if (best.SecurityPolicyUri, best.SecurityMode) != (chosen.SecurityPolicyUri, chosen.SecurityMode):
        raise person_needed(
            context,
            f"the server offers {endpoints.offered([best])}, which was hidden when we asked for its endpoints;"
            " somebody may be tampering with the connection",
        )


def no_secret_in_clear(client: PlainClient, settings: OpcUaSettings, context: Context) -> None:
    """Refuse to send a password that anyone on the network could read, unless the operator wrote that it may be."""
    user = settings.user
    if user is None or user.name is None or user.password_in_clear:
        return
    try:
        token = client.server_policy(ua.UserTokenType.UserName)
    except endpoints.NotOffered as error:
        raise person_needed(context, str(error)) from error
    if endpoints.in_clear(token) and client.security_policy.Mode != ua.MessageSecurityMode.SignAndEncrypt:
        raise person_needed(
            context,
            "the server takes passwords only unencrypted on this channel; use security mode SignAndEncrypt,"
            " or write password_in_clear: true under user to send it readable by anyone on the network",
        )


def person_needed(context: Context, reason: str) -> Unavailable:
    """For what only a person can change; tried again all the same, since that is how the change is noticed."""
    return Unavailable(f"{context.connection}: {reason}", retry_after_seconds=SECURITY_PAUSE_SECONDS)


async def _introduce(client: PlainClient, context: Context, user: User) -> None:
    if user.name is not None and user.password is not None:
        client.set_user(user.name)
        client.set_password(user.password.reveal())
    elif user.certificate is not None and user.private_key is not None:
        try:
            mine = await asyncio.to_thread(_loaded, user.certificate, user.private_key, user.private_key_password)
        except ValueError as error:
            raise person_needed(context, f"the user's certificate cannot be used: {error}") from error
        client.identify(mine)


def _judge(settings: OpcUaSettings, context: Context, store: Store, endpoint: ua.EndpointDescription) -> str:
    try:
        store.prepare()
        chain = split_chain(endpoint.ServerCertificate or b"")
    except ValueError as error:
        raise person_needed(context, f"the server shows no usable certificate ({error})") from error
    except OSError as error:
        raise person_needed(context, f"cannot use the certificate store {store.folder}: {error}") from error
    leaf, thumbprint = chain[0], thumbprints(chain[0])[0]
    try:
        judge(
            chain,
            store,
            application_uri=str(endpoint.Server.ApplicationUri or ""),
            host=urlsplit(settings.url).hostname or "",
            pin=settings.security.server_thumbprint,
            tolerate=settings.security.tolerate,
            now=context.clock.now(),
        )
    except Refused as error:
        parked = store.park(leaf)
        what = f"the server's certificate {leaf.subject.rfc4514_string()} (SHA-256 {thumbprint})"
        advice = (
            f"it is in {parked}; compare the thumbprint with the server's own and move the file to {store.trusted}"
            if isinstance(error, Unknown)
            else f"it is in {parked}"
        )
        raise person_needed(context, f"{what} is refused: {error}; {advice}") from error
    return thumbprint


def _identity(settings: OpcUaSettings, context: Context, store: Store, application_uri: str) -> Identity:
    security = settings.security
    try:
        if security.certificate is not None and security.private_key is not None:
            return _loaded(security.certificate, security.private_key, security.private_key_password)
        return store.identity(application_uri, context.clock.now())
    except (ValueError, OSError) as error:
        raise person_needed(context, f"our own certificate cannot be used: {error}") from error


def _loaded(certificate: Path, key: Path, password: Secret | None) -> Identity:
    return load_identity(certificate, key, password.reveal().encode() if password is not None else None)
