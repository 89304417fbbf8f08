"""Our UR twin speaks RTDE as others understand it: ur_rtde (SDU Robotics, C++) reads it, writes to it and asks it.

It says something about the twin, and so about the protocol as the connector speaks it; no real robot was used.
"""

import asyncio
import importlib.util
import json
import os
import platform
import sys

import pytest

from tests.peers.ur_twin import robot

HOST = "127.0.0.30"
"""An address of loopback that nobody else takes; ur_rtde knows no other ports than a controller's."""

CLIENT = """
import json, sys, time
from dashboard_client import DashboardClient
from rtde_io import RTDEIOInterface
from rtde_receive import RTDEReceiveInterface

host, fields = sys.argv[1], sys.argv[2].split()
receive = RTDEReceiveInterface(host, 100.0, fields, False, True)
began = receive.getTimestamp()
while receive.getTimestamp() < began + 0.2:
    time.sleep(0.01)
dashboard = DashboardClient(host)
dashboard.connect()
io = RTDEIOInterface(host, False, True)
print(json.dumps({
    "pose": receive.getActualTCPPose(),
    "joints": receive.getActualQ(),
    "mode": receive.getRobotMode(),
    "safety": receive.getSafetyMode(),
    "runtime": receive.getRuntimeState(),
    "double": receive.getOutputDoubleRegister(36),
    "int": receive.getOutputIntRegister(37),
    "robotmode": dashboard.robotmode(),
    "safetystatus": dashboard.safetystatus(),
    "program": dashboard.programState(),
    "remote": dashboard.isInRemoteControl(),
    "wrote": [io.setInputDoubleRegister(42, 0.75), io.setInputIntRegister(43, -7)],
}), flush=True)
time.sleep(0.5)
"""
FIELDS = (
    "timestamp actual_TCP_pose actual_q robot_mode safety_mode runtime_state"
    " output_double_register_36 output_int_register_37"
)


def require_ur_rtde() -> None:
    """Skip where it cannot be had, fail where it must be."""
    if importlib.util.find_spec("rtde_receive") is not None:
        return
    built_for = sys.version_info[:2] < (3, 13) and platform.machine() == "x86_64"
    if built_for and os.environ.get("PLANTGATE_REQUIRE_PEERS") == "1":
        pytest.fail("ur_rtde is not here; scripts/setup installs it", pytrace=False)
    pytest.skip("ur_rtde is not here; it is built for Python 3.11 and 3.12 on x86-64, where scripts/setup installs it")


@pytest.mark.integration
def test_a_client_of_others_reads_our_twin_writes_to_it_and_asks_its_dashboard() -> None:
    require_ur_rtde()
    told, inputs = asyncio.run(_talk())
    assert told == {
        "pose": [0.1, -0.2, 0.3, 0.4, -0.5, 0.6],
        "joints": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "mode": 7,
        "safety": 1,
        "runtime": 2,
        "double": -0.125,
        "int": -(2**31),
        "robotmode": "Robotmode: RUNNING",
        "safetystatus": "Safetystatus: NORMAL",
        "program": "PLAYING mailbox.urp",
        "remote": True,
        "wrote": [True, True],
    }
    assert (inputs["input_double_register_42"], inputs["input_int_register_43"]) == (0.75, -7)


async def _talk() -> tuple[dict[str, object], dict[str, bool | int | float]]:
    async with robot(HOST) as twin:
        twin.set("actual_TCP_pose", (0.1, -0.2, 0.3, 0.4, -0.5, 0.6))
        twin.set("actual_q", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
        twin.set("output_double_register_36", -0.125)
        twin.set("output_int_register_37", -(2**31))
        pipe = asyncio.subprocess.PIPE
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, HOST, FIELDS, stdout=pipe)
        try:
            async with asyncio.timeout(60):
                printed, _ = await client.communicate()
        finally:
            if client.returncode is None:
                client.kill()
                await client.wait()
        return json.loads(printed.splitlines()[-1]), twin.inputs
