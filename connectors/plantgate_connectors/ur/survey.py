"""Asks the controller which fields and registers it would grant, for `plantgate plan`; no register is written."""

from plantgate.sdk import Context, Finding, Survey, Unavailable
from plantgate_connectors.ur.dashboard import Misunderstood, Question, dashboard, meaning
from plantgate_connectors.ur.granted import advice, granted
from plantgate_connectors.ur.link import Link, connected, reachable
from plantgate_connectors.ur.recipe import IN_USE, NOT_FOUND
from plantgate_connectors.ur.settings import RemoteControl, UrSettings

_REFUSED = {
    IN_USE: "in use: by a fieldbus, another client, or a session of this gateway that runs now",
    NOT_FOUND: "the controller has no such register",
}


async def survey(settings: UrSettings, context: Context) -> Survey:
    """On connections of its own. A controller or dashboard that is away is a finding, too."""
    findings: list[Finding] = []
    try:
        link = await connected(
            settings.host, settings.rtde_port, context.log, lambda package: None, settings.connect_seconds
        )
    except Unavailable as error:
        return Survey((Finding(settings.host, "a controller", str(error), fine=False),))
    try:
        findings += await _controller(settings, link)
    except Unavailable as error:
        findings.append(Finding(link.name, "an RTDE exchange", str(error), fine=False))
    finally:
        link.leave("surveyed")
    if settings.dashboard is not None or (settings.writes and settings.remote_control is RemoteControl.REQUIRED):
        findings += await _dashboard(settings)
    return Survey(tuple(findings))


async def _controller(settings: UrSettings, link: Link) -> list[Finding]:
    version = await link.agree(settings.connect_seconds)
    frequency = reachable(settings.frequency_hz, version)
    recipe, missing = await granted(
        link, [output.field for output in settings.outputs], frequency, settings.connect_seconds
    )
    found = [
        Finding(
            link.name,
            f"{len(settings.outputs)} fields at {settings.frequency_hz:g} Hz",
            f"{len(settings.outputs) - len(missing)} fields at {frequency:g} Hz,"
            f" {recipe.data_bytes} bytes a package, software {version}",
            fine=not missing and frequency == settings.frequency_hz,
        )
    ]
    found += [Finding(f"field {name}", "a value", f"not found: {advice(name)}", fine=False) for name in missing]
    for write in settings.writes:
        asked = await link.inputs(write.inputs, settings.connect_seconds)
        for name, kind in zip(asked.fields, asked.types, strict=True):
            reason = _REFUSED.get(kind)
            found.append(Finding(f"register {name}", f"to write {write.tag}", reason or "granted", fine=reason is None))
    return found


async def _dashboard(settings: UrSettings) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with dashboard(settings.host, settings.dashboard_port, settings.connect_seconds) as board:
            for question in (Question.ROBOT_MODE, Question.SAFETY_STATUS, Question.REMOTE_CONTROL):
                line = await board.ask(question)
                try:
                    meaning(question, line)
                    found.append(Finding(f"dashboard {question.value}", "an answer", line))
                except Misunderstood as error:
                    found.append(Finding(f"dashboard {question.value}", "an answer", str(error), fine=False))
    except Unavailable as error:
        found.append(Finding(f"dashboard {settings.host}", "answers", str(error), fine=False))
    return found
