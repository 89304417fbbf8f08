"""Goes on where the last session ended: the same session, else the same subscriptions, else new ones.

Session picked up (`connect` tried it) → subscriptions still in it; new session → TransferSubscriptions. What survives
is asked for its missed messages (Republish); for what does not, new items are made and the gap is filled from history
where the server keeps it. Each rung that fails leads to the next, and every interruption leaves a gap record.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate_connectors.opcua.backlog import Hole, Interruption
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.envelope import SEQUENCE_MAX
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.session import Session

_GET_MONITORED_ITEMS: Final = node_id(ua.ObjectIds.Server_GetMonitoredItems)
_SERVER: Final = node_id(ua.ObjectIds.Server)
_HALF: Final = 2**31


async def go_on(session: Session, continuity: Continuity, inbox: Inbox) -> None:
    """Find out which subscriptions are still there, and queue what must be fetched. Raises `Unavailable`."""
    cause = "gateway restarted" if continuity.restarted else "connection lost"
    if continuity.began and not continuity.subscriptions:
        _interrupted(continuity, continuity.last.handles(), cause, inbox)
    elif continuity.subscriptions:
        await _pick_up(session, continuity, inbox, cause)
    continuity.restarted = False
    continuity.began = True


async def _pick_up(session: Session, continuity: Continuity, inbox: Inbox, cause: str) -> None:
    standing = continuity.context.standing
    known = dict(continuity.subscriptions)
    held = await (_transfer(session, list(known)) if session.fresh else _still_there(session, list(known)))
    for id_, subscription in known.items():
        available = held.get(id_)
        if available is None:
            standing.count("subscriptions_lost")
            _interrupted(continuity, continuity.bury(subscription), cause, inbox)
            continue
        standing.count("subscriptions_transferred" if session.fresh else "subscriptions_kept")
        if continuity.restarted:
            await _compare(session, continuity, id_)
        subscription.outage = cause
        subscription.heard = asyncio.get_running_loop().time()
        missed = [number for number in available if 0 < (number - subscription.received) % SEQUENCE_MAX < _HALF]
        if missed:
            missed.sort(key=lambda number: (number - subscription.received) % SEQUENCE_MAX)
            subscription.received, subscription.outage = missed[-1], None
            continuity.backlog.push(Hole(subscription, continuity.items.at_home(id_), missed, cause))
            inbox.mend.set()


def _interrupted(continuity: Continuity, handles: list[int], cause: str, inbox: Inbox) -> None:
    if handles:
        continuity.backlog.push(Interruption(handles, cause))
        inbox.mend.set()


async def _transfer(session: Session, ids: Sequence[int]) -> dict[int, list[int]]:
    """The subscriptions that came over, with the messages the server still has of each."""
    parameters = ua.TransferSubscriptionsParameters()
    parameters.SubscriptionIds = [ua.UInt32(id_) for id_ in ids]
    parameters.SendInitialValues = False
    with translated(session.context, "transfer the subscriptions"):
        try:
            results = await session.client.uaclient.session.transfer_subscriptions(parameters)
        except UaStatusCodeError as error:
            _reason(session, "transfer", error.code)
            return {}
    over = {}
    for id_, result in zip(ids, results, strict=False):
        if result.StatusCode.is_good():
            over[id_] = [int(number) for number in result.AvailableSequenceNumbers or ()]
        else:
            _reason(session, f"transfer of {id_}", result.StatusCode.value)
    return over


async def _still_there(session: Session, ids: Sequence[int]) -> dict[int, list[int]]:
    """Asks by telling them to go on publishing, which also renews their lifetime."""
    parameters = ua.SetPublishingModeParameters()
    parameters.PublishingEnabled = True
    parameters.SubscriptionIds = [ua.UInt32(id_) for id_ in ids]
    with translated(session.context, "find the subscriptions"):
        try:
            results = await session.client.uaclient.session.set_publishing_mode(parameters)
        except UaStatusCodeError as error:
            _reason(session, "going on", error.code)
            return {}
    return {id_: [] for id_, result in zip(ids, results, strict=False) if result.is_good()}


async def _compare(session: Session, continuity: Continuity, subscription: int) -> None:
    """After a restart the server knows better than the file which items are in a subscription."""
    request = ua.CallMethodRequest()
    request.ObjectId, request.MethodId = _SERVER, _GET_MONITORED_ITEMS
    request.InputArguments = [ua.Variant(subscription, ua.VariantType.UInt32)]
    with translated(session.context, "ask for the monitored items"):
        try:
            [result] = await session.client.uaclient.session.call([request])
            result.StatusCode.check()
        except UaStatusCodeError:
            return
    answers = [list(output.Value or ()) for output in result.OutputArguments or ()]
    if len(answers) != 2 or len(answers[0]) != len(answers[1]):
        return
    ids, handles = answers
    items = continuity.items
    items.unsettle(items.at_home(subscription))
    for id_, handle in zip(ids, handles, strict=True):
        if handle < len(items):
            items.settle(handle, id_, subscription)


def _reason(session: Session, what: str, code: int) -> None:
    session.context.log.info("the server did not keep a subscription for us", step=what, status=f"0x{code:08X}")
