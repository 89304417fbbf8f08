"""Asks what would be granted: reads secrets and certificates, looks at URLs; posts nothing and listens nowhere."""

from plantgate.sdk import Context, Finding, Survey, Unavailable
from plantgate_connectors.http.access import Access
from plantgate_connectors.http.client import calling, reach
from plantgate_connectors.http.fetch import Fetcher
from plantgate_connectors.http.readings import reader
from plantgate_connectors.http.settings import HttpSettings, Poll, Receive, Send
from plantgate_connectors.http.tls import server_context
from plantgate_connectors.payloads.documents import Unreadable


async def survey(settings: HttpSettings, context: Context) -> Survey:
    """Whether we may post cannot be asked without posting, so it is not."""
    findings: list[Finding] = []
    if settings.receive is not None:
        findings.append(_receiving(settings.receive, context))
    findings += [await _polling(poll, context) for poll in settings.poll]
    if settings.send is not None:
        findings.append(await _sending(settings.send, context))
    return Survey(tuple(findings))


def _receiving(receive: Receive, context: Context) -> Finding:
    subject = f"{receive.host}:{receive.port}"
    wanted = "anybody" if receive.anonymous else f"{len(receive.allow)} senders"
    try:
        Access(receive, context).begin(0.0)
        if receive.tls is not None:
            server_context(receive.tls, context.connection)
    except Unavailable as error:
        return Finding(subject, wanted, str(error), fine=False)
    return Finding(subject, wanted, "secrets and certificates can be read")


async def _polling(poll: Poll, context: Context) -> Finding:
    wanted = f"{poll.payload.value} every {poll.interval_seconds:g} s"
    try:
        async with calling(poll, context.connection) as session:
            body = await Fetcher(poll, context.connection, session).fetch()
        batch = reader(poll)(body or b"", {})
    except Unavailable as error:
        return Finding(poll.url, wanted, str(error), fine=False)
    except Unreadable as error:
        return Finding(poll.url, wanted, f"the answer is not {poll.payload.value}: {error}", fine=False)
    return Finding(poll.url, wanted, f"{len(batch)} values")


async def _sending(send: Send, context: Context) -> Finding:
    who = f"{context.connection}: {send.url}"
    try:
        await reach(send, who, context.connection)
    except Unavailable as error:
        return Finding(send.url, "reachable", str(error), fine=False)
    return Finding(send.url, "reachable", "yes; nothing was posted")
