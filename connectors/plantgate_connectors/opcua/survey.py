"""Asks a server what it would grant, for `plantgate plan`: connects, tries everything, and takes it all back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, cast

from asyncua import ua

from plantgate.sdk import Context, Finding, Survey
from plantgate_connectors.opcua import events
from plantgate_connectors.opcua.addressing import Resolution, WantedEvent, resolve
from plantgate_connectors.opcua.failures import status_name, translated
from plantgate_connectors.opcua.filters import data_change_filter
from plantgate_connectors.opcua.limits import batches
from plantgate_connectors.opcua.nodeids import node_id, parse
from plantgate_connectors.opcua.protection import Policy
from plantgate_connectors.opcua.session import Session, connect
from plantgate_connectors.opcua.settings import OpcUaSettings

_SKEW_SECONDS_MOST: Final = 2.0
_NAMED_MOST: Final = 3
_CURRENT_READ, _HISTORY_READ = 0x01, 0x04
"""Bits of the UserAccessLevel attribute (OPC 10000-3, 8.57)."""


async def survey(settings: OpcUaSettings, context: Context) -> Survey:
    """What the server says to every question a session would ask. Raises `Unavailable` when it cannot be asked."""
    session = await connect(settings, context)
    try:
        findings = _connection(session, settings)
        findings.append(await _clock(session, context))
        resolution = await resolve(session, settings)
        findings += [
            Finding(problem.subject, "as written", problem.reason, fine=False) for problem in resolution.problems
        ]
        findings += _unstable(session, settings)
        findings += await _subscription(session, settings, resolution)
        return Survey(tuple(findings))
    finally:
        await session.close(delete_subscriptions=True)


def _connection(session: Session, settings: OpcUaSettings) -> list[Finding]:
    limits, security = session.limits, settings.security
    asked, granted = settings.session_timeout_seconds, session.session_timeout_seconds
    open_channel = security.policy is Policy.NONE
    shown = f", server certificate SHA-256 {session.server_certificate}" if session.server_certificate else ""
    make = "" if limits.items_max is None else f", holds {limits.items_max} monitored items"
    return [
        Finding("server", settings.url, f"{limits.server or 'says nothing of itself'} ({session.application_uri})"),
        Finding(
            "security",
            "None" if open_channel else f"{security.policy.value}/{security.mode.value}",
            session.security + shown,
        ),
        Finding("session timeout", f"{asked:g} s", f"{granted:g} s"),
        Finding(
            "operation limits",
            f"{settings.limits.operations_per_call_max} a call",
            f"{limits.monitored_items_per_call} monitored items, {limits.nodes_per_read} reads,"
            f" {limits.nodes_per_history_read} history reads a call; profile {limits.profile.value}{make}",
        ),
    ]


async def _clock(session: Session, context: Context) -> Finding:
    with translated(context, "read the server's clock"):
        [answer] = await session.client.uaclient.read_attributes(
            [node_id(ua.ObjectIds.Server_ServerStatus_CurrentTime)], ua.AttributeIds.Value
        )
    moment = answer.Value.Value if answer.Value is not None else None
    if not isinstance(moment, datetime):
        return Finding("server clock", "a time", "none", fine=False)
    skew = moment.replace(tzinfo=UTC).timestamp() - context.clock.now() / 1e9
    fine = abs(skew) <= _SKEW_SECONDS_MOST
    return Finding("server clock", f"within {_SKEW_SECONDS_MOST:g} s of ours", f"{skew:+.1f} s", fine=fine)


def _unstable(session: Session, settings: OpcUaSettings) -> list[Finding]:
    """Node ids by namespace number, with what to write instead."""
    grouped: dict[int, list[str]] = {}
    for row in settings.rows:
        if not row.address.stable:
            grouped.setdefault(int(row.address.namespace), []).append(row.tag)
    findings = []
    for index, tags in grouped.items():
        known = session.namespaces[index] if index < len(session.namespaces) else None
        instead = f"write nsu={known}; instead" if known else "the server has no such namespace"
        findings.append(
            Finding(
                _several(tags),
                f"ns={index};…",
                f"a number that can change when the server restarts; {instead}",
                fine=False,
            )
        )
    for event in settings.events:
        address = parse(event.node)
        if not address.stable:
            findings.append(Finding(event.tag, event.node, "a number that can change; write nsu=… instead", fine=False))
    return findings


async def _subscription(session: Session, settings: OpcUaSettings, resolution: Resolution) -> list[Finding]:
    """A subscription that never publishes, with every item on it."""
    interval = settings.publishing_interval_ms
    keepalive = max(1, round(settings.keepalive_seconds * 1000 / interval))
    lifetime = max(3 * keepalive, round(settings.lifetime_seconds * 1000 / interval))
    request = ua.CreateSubscriptionRequest()
    request.Parameters.RequestedPublishingInterval = ua.Double(interval)
    request.Parameters.RequestedMaxKeepAliveCount = ua.UInt32(keepalive)
    request.Parameters.RequestedLifetimeCount = ua.UInt32(min(lifetime, 0xFFFF_FFFF))
    request.Parameters.PublishingEnabled = cast("ua.Boolean", False)
    with translated(session.context, "create a subscription"):
        # asyncua's own create_subscription would start a publish loop
        made = await _created(session, request)
    granted = float(made.RevisedPublishingInterval)
    findings = [
        _revised("publishing interval", interval, granted, "ms"),
        _revised("keep-alive", settings.keepalive_seconds, made.RevisedMaxKeepAliveCount * granted / 1000, "s"),
        _revised(
            "subscription lifetime",
            settings.lifetime_seconds,
            made.RevisedLifetimeCount * granted / 1000,
            "s",
            least=True,
        ),
    ]
    try:
        findings += await _items(session, int(made.SubscriptionId), resolution)
        for event in resolution.events:
            findings.append(await _event(session, int(made.SubscriptionId), event))
    finally:
        with translated(session.context, "delete the subscription"):
            await session.client.uaclient.session.delete_subscriptions([int(made.SubscriptionId)])
    return findings


async def _created(session: Session, request: "ua.CreateSubscriptionRequest") -> "ua.CreateSubscriptionResult":
    from asyncua.ua.ua_binary import struct_from_binary

    protocol = session.client.uaclient.protocol
    if protocol is None:
        raise ConnectionError("the connection is closed")
    body = await protocol.send_request(request, session.settings.request_timeout_seconds)
    response = struct_from_binary(ua.CreateSubscriptionResponse, body)
    response.ResponseHeader.ServiceResult.check()
    result: ua.CreateSubscriptionResult = response.Parameters
    return result


@dataclass(slots=True)
class _Groups:
    """Tags by what was said of them: twelve thousand equal answers are one line."""

    tags: dict[tuple[str, str, bool], list[str]] = field(default_factory=dict)

    def add(self, tag: str, wanted: str, granted: str, *, fine: bool) -> None:
        self.tags.setdefault((wanted, granted, fine), []).append(tag)

    def findings(self) -> list[Finding]:
        """Trouble first, then the largest groups."""
        ordered = sorted(self.tags.items(), key=lambda group: (group[0][2], -len(group[1])))
        return [Finding(_several(tags), wanted, granted, fine=fine) for (wanted, granted, fine), tags in ordered]


async def _items(session: Session, subscription: int, resolution: Resolution) -> list[Finding]:
    groups = _Groups()
    rows = list(zip(resolution.tags, resolution.nodes, resolution.options, strict=True))
    for some in batches(rows, min(session.limits.monitored_items_per_call, session.limits.nodes_per_read)):
        nodes = [node for _, node, _ in some]
        parameters = ua.CreateMonitoredItemsParameters()
        parameters.SubscriptionId = ua.UInt32(subscription)
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        for handle, (_, node, options) in enumerate(some):
            item = _disabled(node, ua.AttributeIds.Value, handle)
            item.RequestedParameters.SamplingInterval = ua.Double(options.sampling_ms)
            item.RequestedParameters.QueueSize = ua.UInt32(options.queue_size)
            item.RequestedParameters.DiscardOldest = cast("ua.Boolean", options.discard_oldest)
            if (chosen := data_change_filter(options)) is not None:
                item.RequestedParameters.Filter = chosen
            parameters.ItemsToCreate.append(item)
        with translated(session.context, "ask about the tags"):
            results = await session.client.uaclient.session.create_monitored_items(parameters)
            types = await _read(session, nodes, ua.AttributeIds.DataType)
            access = await _read(session, nodes, ua.AttributeIds.UserAccessLevel)
        for (tag, _, options), result, kind, rights in zip(some, results, types, access, strict=True):
            wanted = f"sampled every {options.sampling_ms:g} ms, queue {options.queue_size}"
            if options.deadband is not None:
                wanted += f", deadband {options.deadband}"
            code = result.StatusCode.value
            if code >> 31:
                groups.add(tag, wanted, status_name(code), fine=False)
                continue
            readable = not isinstance(rights, int) or bool(rights & _CURRENT_READ)
            history = isinstance(rights, int) and bool(rights & _HISTORY_READ)
            granted = (
                f"{_type_name(kind)}, every {result.RevisedSamplingInterval:g} ms, queue {result.RevisedQueueSize}"
                + (", history" if history else "")
                + ("" if readable else ", but we may not read it")
            )
            groups.add(tag, wanted, granted, fine=readable)
    return groups.findings()


async def _event(session: Session, subscription: int, wanted: WantedEvent) -> Finding:
    made = await events.plan(session, wanted)
    item = _disabled(wanted.node, ua.AttributeIds.EventNotifier, 0)
    item.RequestedParameters.Filter = made.filter
    parameters = ua.CreateMonitoredItemsParameters()
    parameters.SubscriptionId = ua.UInt32(subscription)
    parameters.ItemsToCreate = [item]
    with translated(session.context, "ask about the events"):
        [result] = await session.client.uaclient.session.create_monitored_items(parameters)
    code = result.StatusCode.value
    said = status_name(code) if code >> 31 else f"{len(made.names)} fields"
    kind = "conditions" if made.conditions else "events"
    return Finding(
        wanted.tag, f"{kind} of {wanted.key}, severity {wanted.severity_min} or more", said, fine=not code >> 31
    )


def _disabled(node: ua.NodeId, attribute: int, handle: int) -> "ua.MonitoredItemCreateRequest":
    item = ua.MonitoredItemCreateRequest()
    item.ItemToMonitor.NodeId = node
    item.ItemToMonitor.AttributeId = ua.UInt32(attribute)
    item.MonitoringMode = ua.MonitoringMode.Disabled
    item.RequestedParameters.ClientHandle = ua.UInt32(handle)
    return item


async def _read(session: Session, nodes: Sequence[ua.NodeId], attribute: "ua.AttributeIds") -> list[object]:
    answers = await session.client.uaclient.read_attributes(list(nodes), attribute)
    return [answer.Value.Value if answer.Value is not None else None for answer in answers]


def _type_name(kind: object) -> str:
    if not isinstance(kind, ua.NodeId):
        return "type unknown"
    if kind.NamespaceIndex == 0 and isinstance(kind.Identifier, int):
        return str(ua.ObjectIdNames.get(kind.Identifier, f"i={kind.Identifier}"))
    return "a type of its own"


def _revised(subject: str, asked: float, granted: float, unit: str, *, least: bool = False) -> Finding:
    """A lifetime that is cut short means loss in a longer outage: that is for the operator to know."""
    fine = granted >= asked * 0.99 if least else granted <= asked * 1.01 or granted <= asked + 1
    return Finding(subject, f"{asked:g} {unit}", f"{granted:g} {unit}", fine=fine)


def _several(tags: Sequence[str]) -> str:
    named = ", ".join(tags[:_NAMED_MOST])
    return named if len(tags) <= _NAMED_MOST else f"{named} and {len(tags) - _NAMED_MOST} more"
