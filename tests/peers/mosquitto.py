"""Eclipse Mosquitto, the MQTT broker: started, stopped, killed and brought back with what it had kept."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.peers import require
from tests.peers.child import Child, PeerError
from tests.peers.small_disk import SmallDisk


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the broker, and whether its clients must show a certificate of the same authority."""

    authority: Path
    certificate: Path
    key: Path
    client_certificates: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """Who one of our own helpers is towards a broker that asks."""

    user: str | None = None
    password: str | None = None
    certificate: Path | None = None
    key: Path | None = None


class Mosquitto:
    """A broker on a port of its own. It keeps sessions and messages on disk, so `kill` loses none it had written."""

    def __init__(
        self, folder: Path, port: int, tls: Tls | None, login: Login, *, disk: SmallDisk | None = None
    ) -> None:
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = port
        self.tls = tls
        self.login = login
        self.log = folder / "mosquitto.log"
        self._disk = disk
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """The running process."""
        assert self._child is not None, "the broker is not running"
        return self._child

    async def start(self, seconds: float = 10.0) -> None:
        """Start, and return when the port answers. After `kill` or `stop`, the same broker comes back."""
        within = self._disk.command if self._disk is not None else ()
        command: list[str | Path] = [*within, require.find("mosquitto"), "-c", self.folder / "mosquitto.conf"]
        child = await Child.start(command, log=self.log)
        self._child = child
        try:
            async with asyncio.timeout(seconds):
                while not await self._answers():
                    if not child.running:
                        raise PeerError(f"mosquitto did not start: {child.last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await child.kill()
            raise PeerError(f"mosquitto did not answer on port {self.port} in {seconds} s") from None

    async def stop(self) -> None:
        """End as an operator would: sessions and queues are written first."""
        if self._child is not None:
            await self._child.stop()

    async def kill(self) -> None:
        """End at once (SIGKILL). Mosquitto may lose what it acknowledged in the last moment before."""
        await self.child.kill()

    async def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish one message with `mosquitto_pub`; returns when the broker has acknowledged it."""
        command: list[str | Path] = [
            "mosquitto_pub",
            *self.arguments(),
            "-t",
            topic,
            "-q",
            str(qos),
            "-s" if payload else "-n",
        ]
        if retain:
            command.append("-r")
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            _, errors = await process.communicate(payload)
        if process.returncode != 0:
            raise PeerError(f"mosquitto_pub to {topic}: {errors.decode().strip()}")

    def arguments(self) -> list[str]:
        """How `mosquitto_pub` and `mosquitto_sub` reach this broker."""
        found = ["-h", self.host, "-p", str(self.port)]
        if self.tls is not None:
            found += ["--cafile", str(self.tls.authority)]
        if self.login.certificate is not None and self.login.key is not None:
            found += ["--cert", str(self.login.certificate), "--key", str(self.login.key)]
        if self.login.user is not None:
            found += ["-u", self.login.user, "-P", self.login.password or ""]
        return found

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True


@contextlib.asynccontextmanager
async def mosquitto(
    *,
    folder: Path | None = None,
    port: int = 0,
    users: Mapping[str, str] | None = None,
    tls: Tls | None = None,
    login: Login | None = None,
    settings: Sequence[str] = (),
    disk: SmallDisk | None = None,
) -> AsyncIterator[Mosquitto]:
    """Run a broker; it is there when the block begins and gone when it ends.

    `users` are passwords by name (nobody else is let in); `login` is what `publish` and the recorder use, by default
    the first of `users`. `settings` are further lines for `mosquitto.conf`; what it keeps
    goes to `disk` instead of the folder, if given.
    """
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(TemporaryDirectory(prefix="mosquitto-")))
        home.mkdir(parents=True, exist_ok=True)
        chosen = port or free_port()
        if login is None:
            login = Login(*next(iter(users.items()))) if users else Login()
        lines = [
            f"listener {chosen} 127.0.0.1",
            f"allow_anonymous {'false' if users else 'true'}",
            "persistence true",
            f"persistence_location {disk.mounted if disk is not None else home}/",
            # Write after every change: with its defaults Mosquitto forgets all that is queued when it is killed.
            "autosave_interval 1",
            "autosave_on_changes true",
            "max_queued_messages 0",
            "max_queued_bytes 0",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
        ]
        if os.geteuid() == 0 or disk is not None:
            lines.append("user root")  # it would become user mosquitto, which may not write here
        if users:
            lines.append(f"password_file {await _password_file(home, users)}")
        if tls is not None:
            lines += [f"cafile {tls.authority}", f"certfile {tls.certificate}", f"keyfile {tls.key}"]
            if tls.client_certificates:
                lines.append("require_certificate true")
        (home / "mosquitto.conf").write_text("\n".join([*lines, *settings]) + "\n")
        broker = Mosquitto(home, chosen, tls, login, disk=disk)
        await broker.start()
        try:
            yield broker
        finally:
            await broker.child.kill()


def free_port() -> int:
    """A port that is free now; for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _password_file(folder: Path, users: Mapping[str, str]) -> Path:
    path = folder / "passwords"
    path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
    path.chmod(0o600)
    # Turns clear passwords into hashes, in place.
    process = await asyncio.create_subprocess_exec(str(require.find("mosquitto_passwd")), "-U", str(path))
    if await process.wait() != 0:
        raise PeerError("mosquitto_passwd failed")
    return path
