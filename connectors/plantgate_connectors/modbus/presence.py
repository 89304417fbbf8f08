"""Which devices answer, told once when one goes and once when it returns; the connection is up while any does."""

from plantgate.sdk import Context


class Presence:
    """Of one session."""

    def __init__(self, context: Context, tags_by_device: dict[str, int]) -> None:
        self._context = context
        self._tags = tags_by_device
        self._refused: dict[str, int] = {}
        self._here: set[str] = set()
        self._away: dict[str, str] = {}
        self._live: set[str] = set()
        context.standing.desired = sum(tags_by_device.values())
        self._count()

    def here(self, device: str, *, refused: int) -> None:
        """It answers; `refused` of its tags do not exist there."""
        if device in self._here and self._refused.get(device) == refused:
            return
        self._refused[device] = refused
        if device not in self._here:
            self._here.add(device)
            self._live.add(device)
            if self._away.pop(device, None) is not None:
                self._context.log.info("device answers again", device=device)
            self._context.standing.up(devices=len(self._tags))
        self._count()

    def away(self, device: str, reason: str) -> None:
        """It does not."""
        if device not in self._away:
            self._context.log.warning("device away, probing until it answers", device=device, reason=reason)
        self._away[device] = reason
        if device in self._here:
            self._here.discard(device)
            self._count()
        if len(self._away) == len(self._tags):
            more = f" (and {len(self._away) - 1} more devices)" if len(self._away) > 1 else ""
            self._context.standing.away(f"{device}: {reason}{more}")

    def refuses(self, device: str, what: str, reason: str) -> None:
        """Some of its registers do not exist; said once by who keeps account."""
        self._context.log.warning("device refuses, other tags go on", device=device, registers=what, reason=reason)

    def _count(self) -> None:
        standing = self._context.standing
        standing.monitored = sum(self._tags[device] - self._refused.get(device, 0) for device in self._here)
        standing.live = sum(self._tags[device] - self._refused.get(device, 0) for device in self._live)
