"""What a controller that breaks the rules can do to us: cost itself its session, with a reason and in time."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from plantgate.sdk import Command, Deadline, OutcomeUnknown, Unavailable
from plantgate.testing.simloop import running
from plantgate_connectors.ur.quality import BAD_NO_COMMUNICATION
from tests.connectors.ur.given import HOST, OFFSET, collect, lines, of, to_the_end, ur, watched, writer
from tests.peers.ur_twin import Spoil, robot

pytestmark = pytest.mark.simulated(seeds=3)


def package(kind: str, payload: bytes) -> bytes:
    return struct.pack(">HB", 3 + len(payload), ord(kind)) + payload


def instead(kind: str, *sent: bytes | float) -> Spoil:
    """These bytes and pauses in place of packages of that kind."""
    return lambda whole: [*sent] if chr(whole[2]) == kind else [whole]


def changed(kind: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda whole: [change(whole)] if chr(whole[2]) == kind else [whole]


def half_a_package(whole: bytes) -> list[bytes | float]:
    return [whole[:20], 60.0] if chr(whole[2]) == "U" else [whole]


OPENINGS: dict[str, Spoil] = {
    "another protocol greets": instead("V", b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a version answer of 5 bytes": instead("v", package("v", b"\0\0\0\5\0")),
    "an answer to something else": instead("V", package("S", b"\1")),
    "half an answer, then silence": changed("O", lambda whole: whole[:7]),
    "fewer types than fields": instead("O", package("O", b"\1DOUBLE")),
    "more types than fields": instead("O", package("O", b"\1DOUBLE,VECTOR6D,DOUBLE")),
    "an unknown type": instead("O", package("O", b"\1DOUBLE,VECTOR7D")),
    "types that are no text": instead("O", package("O", b"\1\xff\xfe\xfd")),
    "nothing found at all": instead("O", package("O", b"\0NOT_FOUND,NOT_FOUND")),
    "64 KiB of types": instead("O", package("O", b"\1" + b"DOUBLE," * 9000)),
    "data before there is a recipe": instead("v", package("U", bytes(57))),
    "a length of 65535": instead("S", b"\xff\xffU"),
    "a text whose lengths lie": instead("V", package("M", b"\xffhello")),
    "a start that is refused": instead("S", package("S", b"\0")),
    "no answer to the start": instead("S"),
}


@pytest.mark.parametrize("what", OPENINGS)
async def test_an_opening_against_the_rules_is_unavailable_with_a_reason_and_in_time(tmp_path: Path, what: str) -> None:
    async with robot(HOST) as twin:
        twin.spoil = OPENINGS[what]
        with pytest.raises(Unavailable, match=f"{HOST}:30004"):
            async with ur(tmp_path).source():
                pass
        assert running().elapsed < 10
        await asyncio.sleep(1.0)
        assert running().network.connections(HOST) == 0
        twin.spoil = None
        async with ur(tmp_path).source() as source:
            await collect(source, 2)


DATA: dict[str, Spoil] = {
    "a length of 65535": instead("U", b"\xff\xffU\0\0\0"),
    "a length of 0": instead("U", b"\0\0U"),
    "one byte too many": changed("U", lambda whole: package("U", whole[3:] + b"\0")),
    "one byte too few": changed("U", lambda whole: package("U", whole[3:-1])),
    "another recipe": changed("U", lambda whole: whole[:3] + b"\2" + whole[4:]),
    "a kind that there is not": changed("U", lambda whole: whole[:2] + b"X" + whole[3:]),
    "an answer nobody asked for": changed("U", lambda whole: package("O", b"\1DOUBLE")),
    "a time stamp that is no number": changed(
        "U", lambda whole: whole[:4] + struct.pack(">d", float("nan")) + whole[12:]
    ),
    "half a package, then silence": half_a_package,
    "a byte a second": lambda whole: (
        [x for byte in whole for x in (bytes((byte,)), 1.0)] if whole[2] == 85 else [whole]
    ),
    "silence": instead("U"),
    "noise": instead("U", bytes(range(256))),
}


@pytest.mark.parametrize("what", DATA)
async def test_data_against_the_rules_ends_the_session_and_never_is_a_value(tmp_path: Path, what: str) -> None:
    async with robot(HOST) as twin:
        connector = ur(tmp_path)
        async with connector.source() as source:
            await collect(source, 3)
            twin.spoil = DATA[what]
            async with asyncio.timeout(30):
                batch, reason = await to_the_end(source)
        assert f"{HOST}:30004" in reason
        assert of(batch, "pose")[-1] == (None, BAD_NO_COMMUNICATION)
        assert all(value in ([0.1, -0.2, 0.3, 0.0, 3.14, 0.0], None) for value, _ in of(batch, "pose"))
        twin.spoil = None
        async with connector.source() as source:
            await collect(source, 3)


async def test_what_the_controller_says_is_in_the_log_and_ends_nothing(tmp_path: Path) -> None:
    text = package("M", b"\x0bdisk \xffisful" + b"\x04RTDE\x01")
    async with robot(HOST) as twin:
        twin.spoil = lambda whole: [text, whole] if chr(whole[2]) == "U" else [whole]
        connector = ur(tmp_path)
        async with connector.source() as source:
            assert len(await watched(source, 20.0)) > 190
    assert len(lines(connector)) < 110, "a controller that talks without end does not fill the log"
    [said, *_] = [(level, facts) for level, event, facts in lines(connector) if "controller says" in event]
    assert said == ("warning", {"text": "disk \ufffdisful", "source": "RTDE", "level": "error"})


@pytest.mark.parametrize("what", [what for what in DATA if "stamp" not in what])
async def test_a_command_under_way_when_the_rules_are_broken_is_an_unknown_outcome(tmp_path: Path, what: str) -> None:
    async with robot(HOST) as twin:
        connector = writer(tmp_path)
        async with connector.actuator() as actuator:

            def spoil() -> None:
                twin.spoil = DATA[what]

            twin.program.on_applied = spoil
            with pytest.raises(OutcomeUnknown):
                await actuator.write(Command("id", OFFSET, "[0.001,0,0]", Deadline.after(3.0)))
        twin.spoil, twin.program.on_applied = None, None
        async with connector.actuator() as actuator:
            assert (await actuator.read(OFFSET, Deadline.after(1.0))).value == "[0.001,0.0,0.0]"
    assert twin.program.applied == [(0.001, 0.0, 0.0)]


async def test_an_output_register_of_a_type_it_cannot_have_is_not_trusted_with_a_command(tmp_path: Path) -> None:
    async with robot(HOST) as twin:
        twin.spoil = changed("O", lambda whole: package("O", whole[3:].replace(b",INT32", b",UINT8")))
        with pytest.raises(Unavailable, match="which it cannot be"):
            async with writer(tmp_path).actuator():
                pass
