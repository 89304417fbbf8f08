"""Where the peers are, and what a test does when one is missing: skip with a sentence, or fail where CI asks."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """A peer is not on this machine; says which and how to get it."""


def cache() -> Path:
    """The folder that `scripts/peers` fills."""
    return Path(os.environ.get("PLANTGATE_PEERS_CACHE") or ROOT / ".cache" / "peers")


def data() -> Path:
    """The folder with the data sets of others (ETTh1.csv is in `ett/`)."""
    return Path(os.environ.get("PLANTGATE_DATA") or ROOT.parent / "shared" / "data")


def require(*names: str) -> None:
    """Skip the calling test unless every peer is here; fail it instead where PLANTGATE_REQUIRE_PEERS=1.

    Names: `node-opcua`, `sparkplug-node`, `mosquitto`, `ett` and `deeppcb` (data sets), `modbus-slave`, `mbpoll`,
    `socat`, `kafka`, `small-disk` (a mount of our own), `tlog-verify`, `tessera-fsck` and `litewitness` (of audit
    logs), `load-server` (of the benchmark), `nut-upsd` and `nut-dummy-ups` (Network UPS Tools), `rtsp-server`
    (gortsplib).
    """
    for name in names:
        try:
            find(name)
        except Missing as missing:
            if os.environ.get("PLANTGATE_REQUIRE_PEERS") == "1":
                pytest.fail(str(missing), pytrace=False)
            pytest.skip(str(missing))


def find(name: str) -> Path:
    """The program (or file) of a peer. Raises `Missing`."""
    match name:
        case "node-opcua":
            return _node("node-opcua")
        case "nodejs":
            return _file(cache() / "nodejs" / "node", "scripts/peers installs it")
        case "sparkplug-node":
            return _node("sparkplug-client")
        case "mosquitto":
            for client in ("mosquitto_pub", "mosquitto_sub"):
                _program(client)
            return _program(name)
        case "mosquitto_passwd":
            return _program(name)
        case "ett":
            return _file(data() / "ett" / "ETTh1.csv", "set PLANTGATE_DATA to the folder that holds ett/ETTh1.csv")
        case "deeppcb":
            return _file(data() / "deeppcb" / "images", "set PLANTGATE_DATA to the folder that holds deeppcb/").parent
        case "modbus-slave":
            return _file(cache() / "modbus" / "modbus_slave", "scripts/peers builds it")
        case "modbus-load":
            return _file(cache() / "modbus" / "modbus_load", "scripts/peers --bench builds it")
        case "small-disk":
            return small_disk_tool()
        case "mbpoll" | "socat" | "java" | "curl" | "openssl":
            return _program(name)
        case "kafka":
            _program("java")
            return _file(cache() / "kafka" / "installed-pom.xml", "scripts/peers installs it").parent / "lib"
        case "tlog-verify":
            return _file(cache() / "go" / "verify", "scripts/peers builds it")
        case "tessera-fsck":
            return _file(cache() / "go" / "fsck", "scripts/peers builds it")
        case "litewitness" | "witnessctl":
            return _file(cache() / "go" / name, "scripts/peers builds it")
        case "ssh-agent" | "ssh-keygen" | "ssh-add":
            return _program(name)
        case "nut-upsd" | "nut-dummy-ups":
            # Debian keeps the drivers here, and in /usr/sbin a wrapper of upsd's that asks /etc/nut first.
            return _file(Path("/lib/nut") / name.removeprefix("nut-"), "scripts/peers installs nut-server")
        case "rtsp-server":
            return _file(cache() / "rtsp" / "server", "scripts/peers builds it")
        case "load-server":
            return _file(cache() / "open62541" / "load_server", "scripts/peers --bench builds it")
    raise ValueError(f"no peer is called {name}")


def small_disk_tool() -> Path:
    """`unshare`, where this user may mount in a namespace of its own."""
    tool = _program("unshare")
    allowed = subprocess.run([tool, "-rm", "true"], capture_output=True, check=False)
    if allowed.returncode != 0:
        raise Missing(f"no disk of a given size can be made here: {allowed.stderr.decode().strip()}")
    return tool


def _node(package: str) -> Path:
    _file(cache() / "node" / "node_modules" / package / "package.json", "scripts/peers installs it")
    return _file(cache() / "nodejs" / "node", "scripts/peers installs it")


def _program(name: str) -> Path:
    # Debian puts the broker into /usr/sbin, which is not on everyone's path.
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not on this machine: scripts/peers installs it")
    return Path(found)


def _file(path: Path, remedy: str) -> Path:
    if not path.exists():
        raise Missing(f"{path} is not there: {remedy}")
    return path
