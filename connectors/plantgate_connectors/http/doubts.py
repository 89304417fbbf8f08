"""What is allowed and still unwise, a sentence each."""

from urllib.parse import urlsplit

from plantgate.sdk.porter import is_loopback
from plantgate_connectors.http.settings import HttpSettings, Receive


def doubts(settings: HttpSettings) -> tuple[str, ...]:
    """Each begins with the setting's path; `plantgate check` shows them as warnings."""
    found: list[str] = []
    if settings.receive is not None:
        found += _of_receiving(settings.receive)
    for place, poll in enumerate(settings.poll):
        if poll.in_clear:
            found.append(f"poll.{place}: credentials go over the network unencrypted; use https if the server has it")
        if poll.answer_seconds > poll.interval_seconds:
            found.append(f"poll.{place}.answer_seconds is longer than the interval: a slow answer costs polls")
    if settings.send is not None:
        if settings.send.in_clear:
            found.append("send: credentials go over the network unencrypted; use https if the server has it")
        elif _plain(settings.send.url):
            found.append("send.url: batches go over the network unencrypted; use https if the server has it")
    return tuple(found)


def _of_receiving(receive: Receive) -> list[str]:
    found = []
    beyond = not is_loopback(receive.host)
    if beyond and receive.tls is None:
        found.append(
            f"receive.host {receive.host}: others on the network can read and change what is posted, and tokens; "
            "write tls, or listen on 127.0.0.1 behind a proxy that has it"
        )
    if receive.anonymous:
        where = "on the network" if beyond else "on this machine"
        found.append(f"receive.anonymous: every program {where} can post readings that look like a machine's")
    return found


def _plain(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
