"""The audit log and what acts on machines: opened, kept running and closed with the gateway."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

from plantgate import __version__
from plantgate.audit.cosign import Cosigner
from plantgate.audit.entry import FORMAT, Entry, Kind, new_id
from plantgate.audit.entry import Phase as EntryPhase
from plantgate.audit.keep import keep_public
from plantgate.audit.log import AuditLog
from plantgate.audit.note import BadNote, Signer, Verifier
from plantgate.audit.vault import Vault
from plantgate.config.model import AuditSettings, Plant
from plantgate.control.acting import Acting
from plantgate.control.door import may_be_used, opened
from plantgate.control.evidence import Evidence
from plantgate.control.hand import Hand
from plantgate.control.loop import Look, Loop
from plantgate.control.past import Past
from plantgate.control.record import GATEWAY
from plantgate.control.settings import ControlSettings
from plantgate.flow.stop import Stop
from plantgate.observe.status import DeedsStatus, LoopStatus
from plantgate.runtime.flowline import RECONNECT, Use
from plantgate.runtime.supervisor import Phase, Session, keep_running
from plantgate.sdk import Batch, Clock, GatewayError, Log, Rejected, Standing, iso
from plantgate.store.disk import Disk, OsDisk
from plantgate.store.writer import DiskFull


class Deeds:
    """Made by `open`; what it runs is in `services`. Without a `control` section it only keeps the log."""

    def __init__(
        self,
        plant: Plant,
        log: AuditLog,
        witnesses: list[Cosigner],
        uses: list[Use],
        cameras: list[Use],
        *,
        clock: Clock,
        news: Log,
    ) -> None:
        self.plant, self.log, self.witnesses, self.uses, self.cameras = plant, log, witnesses, uses, cameras
        self.acting: Acting | None = None
        self.loops: list[Loop] = []
        self.hands: dict[str, Hand] = {}
        self.vault: Vault | None = None
        self._clock, self._news = clock, news
        self._public = Standing(news)

    @classmethod
    async def open(
        cls,
        plant: Plant,
        settings: AuditSettings,
        uses: list[Use],
        cameras: list[Use],
        *,
        clock: Clock,
        news: Log,
        disk: Disk | None,
    ) -> Self:
        """`uses`: the connections that are written to; `cameras`: one for each loop.

        Raises `GatewayError`, `OSError`, `ValueError`: nothing is written then.
        """
        signers = [
            _signer(settings.key, settings.origin),
            *(_signer(key, settings.origin) for key in settings.more_keys),
        ]
        disk = disk or OsDisk()
        past = Past()
        log = await AuditLog.open(settings.folder, settings.origin, signers, disk=disk, clock=clock, hear=past.hear)
        async with AsyncExitStack() as undone:
            undone.push_async_callback(log.close)
            for sentence in log.recovered:
                news.warning("audit log recovered", found=sentence)
            with suppress(GatewayError, OSError):  # on a disk that is still full it is tried again later
                await log.backfill()
            witnesses = [Cosigner(each.url, Verifier.parse(each.key)) for each in settings.witnesses]
            deeds = cls(plant, log, witnesses, uses, cameras, clock=clock, news=news)
            if settings.vault is not None:
                deeds.vault = await asyncio.to_thread(Vault.open, settings.vault.folder, settings.vault.wrapping)
                undone.callback(deeds.vault.close)
            try:
                await deeds._say(Kind.START)
            except DiskFull as error:  # nothing automatic can act then, and people on the spot still can
                news.error("the audit log has no room for the start of the gateway", reason=str(error))
            if plant.control is not None:
                await deeds._begin_acting(plant.control, past, disk)
            undone.pop_all()
        return deeds

    async def _begin_acting(self, control: ControlSettings, past: Past, disk: Disk) -> None:
        plant = self.plant
        if trouble := may_be_used(plant.control_socket):
            raise Rejected(trouble)
        self.hands = {
            use.connection: Hand(use.connection, use.connector.actuator, use.context.standing.up) for use in self.uses
        }
        self.acting = await Acting.begin(
            control,
            self.log,
            past,
            self.hands,
            connections={use.connection: plant.connections[use.connection].settings for use in self.uses},
            loops={
                name: {"camera": plant.connections[loop.camera].settings, "model": plant.models[loop.model].settings}
                for name, loop in control.loops.items()
            },
            folder=plant.store.folder / "control",
            disk=disk,
            clock=self._clock,
            news=self._news,
            cells=self._cells,
            evidence=await self._evidence(),
        )
        self.loops = [Loop(name, loop, self.acting, self._news) for name, loop in control.loops.items()]

    def services(self) -> Iterator[tuple[str, Phase, Session]]:
        """Name, phase and service of each part; the log first, so that it is ready when something happens."""
        yield "audit log", Phase.AUDIT, self._keep_public
        if self.acting is None:
            return
        for use in self.uses:
            yield f"control → {use.connection}", Phase.EFFECTS, partial(self._keep, use)
        for name, service in self.acting.services():
            yield f"control {name}", Phase.STAGES, service
        for loop, camera in zip(self.loops, self.cameras, strict=True):
            yield f"{camera.connection} → loop {loop.name}", Phase.SOURCES, partial(self._look, loop, camera)
        yield "control desk", Phase.STAGES, self._serve

    def see(self, batch: Batch) -> None:
        """What the flows bring, for guards and rules."""
        if self.acting is not None:
            self.acting.gate.latest.see(batch)

    def looks(self) -> dict[str, tuple[Look, ...]]:
        """The last pictures of every loop."""
        return {loop.name: tuple(loop.looks) for loop in self.loops}

    async def close(self) -> None:
        """All services have ended. Raises `GatewayError`, `OSError` where the log does not close cleanly."""
        try:
            await self._say(Kind.STOP)
            await self.log.publish()
        finally:
            if self.vault is not None:
                self.vault.close()
            await self.log.close()

    def status(self) -> DeedsStatus:
        """How it stands now."""
        published = self.log.published
        gate = None if self.acting is None else self.acting.gate
        return DeedsStatus(
            entries=self.log.size,
            published=0 if published is None else published.size,
            answers={} if gate is None else {standing.value: count for standing, count in gate.answers.items()},
            stopped={} if gate is None else {name: thrown.reason for name, thrown in gate.stopped().items()},
            held=0 if gate is None else sum(map(len, gate.held.values())),
            waiting=0 if self.acting is None else len(self.acting.approvals.waiting()),
            clock="" if gate is None else gate.steady.objection(),
            loops={
                loop.name: LoopStatus(**{name: getattr(loop.figures, name) for name in LoopStatus.__dataclass_fields__})
                for loop in self.loops
            },
        )

    async def _keep_public(self, stop: Stop) -> None:
        keeping = partial(
            keep_public, self.log, self.witnesses, clock=self._clock, log=self._news, gateway=self.plant.plant
        )
        await keep_running(
            lambda stop: keeping(stop=stop), stop=stop, backoff=RECONNECT, standing=self._public, log=self._news
        )

    async def _keep(self, use: Use, stop: Stop) -> None:
        context = use.context
        session = self.hands[use.connection].session
        await keep_running(session, stop=stop, backoff=RECONNECT, standing=context.standing, log=context.log)

    async def _look(self, loop: Loop, camera: Use, stop: Stop) -> None:
        assert self.plant.control is not None
        entry = self.plant.models[self.plant.control.loops[loop.name].model]

        async def session(stop: Stop) -> None:
            async with entry.adapter(entry.settings).model() as model, camera.connector.camera() as pictures:
                await loop.run(pictures, model, stop)

        context = camera.context
        await keep_running(session, stop=stop, backoff=RECONNECT, standing=context.standing, log=context.log)

    async def _serve(self, stop: Stop) -> None:
        """People may ask until the gateway stops; what they have begun by then is brought to its end."""
        assert self.plant.control is not None
        assert self.acting is not None
        control = self.plant.control
        try:
            async with opened(self.plant.control_socket, self.acting.desk, control.people, self._news):
                await stop.wait()
        except OSError as error:
            self._news.error("nobody can reach the desk", socket=str(self.plant.control_socket), reason=str(error))
            await stop.wait()
        await self.acting.gate.close()

    async def _say(self, kind: Kind) -> None:
        now = self._clock.now()
        await self.log.append(
            Entry(
                v=FORMAT,
                id=new_id(now),
                kind=kind,
                phase=EntryPhase.OBSERVED,
                time=iso(now) or "",
                who=GATEWAY,
                details={"plant": self.plant.plant, "version": __version__},
            )
        )

    async def _evidence(self) -> Evidence | None:
        settings = self.plant.audit
        if self.vault is None or settings is None or settings.vault is None:
            return None
        used = await asyncio.to_thread(self.vault.bytes_used)
        return Evidence(self.vault, used, settings.vault.bytes_max, self._clock, self._news)

    def _cells(self, connection: str) -> tuple[str, ...]:
        cell = self.plant.cell_of(connection)
        return () if cell is None else (cell,)


def _signer(key: Path, origin: str) -> Signer:
    try:
        signer = Signer.parse(key.read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError, BadNote) as error:
        raise Rejected(
            f"the audit log's key {key} cannot be used: {error}; `plantgate audit keys {origin} --out {key}` makes one"
        ) from error
    if signer.verifier.name != origin:
        raise Rejected(f"{key} is the key of {signer.verifier.name}, and the log is {origin}")
    return signer
