"""Asks a running gateway over HTTP, and says how it stands."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, TypeAlias

from plantgate.config.model import HttpSettings
from plantgate.config.yaml12 import NotYaml, parse
from plantgate.terminal.tables import duration, table

Answer: TypeAlias = dict[str, Any]

_ANSWER_BYTES_MAX: Final = 64 * 2**20
_COUNTS: Final = frozenset(
    {"ACCEPTED", "DELIVERED", "QUEUED", "DROPPED", "SET ASIDE", "DIFFERENCE", "IN/S", "OUT/S", "BEHIND", "LIVE",
     "MONITORED", "WANTED", "RESTARTS", "STALLS", "MEMORY", "CPU"}
)  # fmt: skip


class NoAnswer(Exception):
    """No gateway answers there; the message is a sentence for the operator."""


def address_of(plant_file: Path | None) -> str:
    """The URL of the gateway that runs this plant file; of one with default settings if there is no such file.

    Raises `NoAnswer` if the file leaves the port open.
    """
    listen: object = None
    if plant_file is not None:
        try:
            root = parse(plant_file.read_bytes()).root
        except (OSError, NotYaml):
            root = None
        http = root.get("http") if isinstance(root, dict) else None
        listen = http.get("listen") if isinstance(http, dict) else None
    written = listen if isinstance(listen, str) else HttpSettings().listen
    host, _, port = written.rpartition(":")
    if port == "0":
        raise NoAnswer(f"{plant_file} lets the gateway take any free port; give the address its log names with --url")
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  asked, not bound
    return f"http://{here}:{port}"


def ask(url: str, what: str, *, seconds: float = 5.0) -> Answer:
    """What the gateway answers to GET /`what`. Raises `NoAnswer`."""
    if not url.startswith(("http://", "https://")):
        raise NoAnswer(f"{url} is not an HTTP address; write for example http://127.0.0.1:9480")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/{what}", timeout=seconds) as answer:  # noqa: S310  checked above
            body = answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        with error:
            raise NoAnswer(f"{url} answers, but not like a gateway: {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        why = str(getattr(reason, "strerror", None) or reason).lower()
        raise NoAnswer(
            f"no gateway answers at {url}: {why}; is it running, and is `http: listen` this address?"
        ) from error
    try:
        told = json.loads(body)
    except ValueError as error:
        raise NoAnswer(f"{url} answers, but not like a gateway: not JSON") from error
    if not isinstance(told, dict):
        raise NoAnswer(f"{url} answers, but not like a gateway: not a JSON object")
    return told


def status_text(status: Answer) -> str:
    """The status for a terminal."""
    ready = "ready" if status["ready"] else "NOT READY"
    parts = [f"{status['plant']}: plantgate {status['version']}, running since {status['started']}, {ready}"]
    if problem := status.get("problem"):
        parts.append(f"! {problem}")
    if stalls := status.get("stalls"):
        parts.append(f"! the event loop has stood still {stalls} times")
    parts += ["", _connections(status["connections"]), "", _flows(status["flows"])]
    if deeds := status.get("deeds"):
        parts += ["", _deeds(deeds)]
    if cells := status.get("cells"):
        parts += ["", _cells(cells)]
    off = [
        f"! flow {name} to {to}: {told['difference']} values are unaccounted for; please report this"
        for name, flow in status["flows"].items()
        for to, told in flow["destinations"].items()
        if told["difference"]
    ]
    return "\n".join([*parts, *(["", *off] if off else [])])


def _connections(connections: Answer) -> str:
    rows = []
    for name, connection in connections.items():
        for use in connection["uses"] or [{}]:
            tags = [str(use.get(count, "")) if use.get("desired") else "" for count in ("live", "monitored", "desired")]
            since = duration(use["since_seconds"]) if use else ""
            state = use.get("state", "not used")
            rows.append([name, connection["type"], use.get("flow", ""), use.get("role", ""), state, since, *tags,
                         use.get("reason", "")])  # fmt: skip
    head = ("CONNECTION", "TYPE", "FLOW", "ROLE", "STATE", "SINCE", "LIVE", "MONITORED", "WANTED", "WHY")
    return table(head, rows, right=_COUNTS)


def _deeds(deeds: Answer) -> str:
    ended = ", ".join(f"{count} {standing}" for standing, count in sorted(deeds["answers"].items())) or "none"
    lines = [f"audit log: {deeds['entries']} entries, {deeds['published']} of them signed; writes proposed: {ended}"]
    lines += [f"! {name} is stopped: {reason}" for name, reason in deeds["stopped"].items()]
    lines += [f"! {_writes(deeds['held'])} may have happened; the machine is asked"] if deeds["held"] else []
    if count := deeds["waiting"]:
        lines += [f"{_writes(count)} {'waits' if count == 1 else 'wait'} for people: plantgate approvals list"]
    lines += [f"! {deeds['clock']}"] if deeds["clock"] else []
    return "\n".join(lines)


def _writes(count: int) -> str:
    return f"{count} write{'' if count == 1 else 's'}"


def _cells(cells: Answer) -> str:
    rows = []
    for name, cell in cells.items():
        memory, cpu = f"{cell['rss_bytes'] / 1e6:.0f} MB", f"{cell['cpu_seconds']:.1f} s"
        rows.append([name, ", ".join(cell["connections"]), cell["state"], duration(cell["since_seconds"]),
                     str(cell["restarts"]), str(cell["stalls"]), memory, cpu, cell["reason"]])  # fmt: skip
    head = ("CELL", "CONNECTIONS", "STATE", "SINCE", "RESTARTS", "STALLS", "MEMORY", "CPU", "WHY")
    return table(head, rows, right=_COUNTS)


def _flows(flows: Answer) -> str:
    rows = []
    for name, flow in flows.items():
        for to, told in flow["destinations"].items():
            counts = [
                str(told[key]) for key in ("accepted", "delivered", "queued", "dropped", "set_aside", "difference")
            ]
            rates = [f"{flow['rate_in']:.1f}", f"{told['rate_out']:.1f}", duration(told["behind_seconds"])]
            rows.append([name, ", ".join(flow.get("sources", flow.get("from", ()))), to, *counts, *rates])
    head = ("FLOW", "FROM", "TO", "ACCEPTED", "DELIVERED", "QUEUED", "DROPPED", "SET ASIDE", "DIFFERENCE",
            "IN/S", "OUT/S", "BEHIND")  # fmt: skip
    return table(head, rows, right=_COUNTS)
