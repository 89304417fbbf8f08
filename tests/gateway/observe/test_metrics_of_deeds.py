"""What acts on machines, as Prometheus sees it."""

from plantgate.observe.metrics import metrics_of
from plantgate.observe.status import DeedsStatus, GatewayStatus, LoopStatus


def text(deeds: DeedsStatus) -> list[str]:
    status = GatewayStatus(
        "line3", "1.0", "", "", ready=True, stalls=0, problem="", connections={}, flows={}, deeds=deeds
    )
    return metrics_of(lambda: status)().decode().splitlines()


def test_what_is_stopped_held_and_waiting_can_be_alerted_on() -> None:
    deeds = DeedsStatus(
        entries=12,
        published=9,
        answers={"done": 3, "denied": 1},
        stopped={"model:eyes": "in the shadow"},
        held=2,
        waiting=1,
        clock="",
        loops={"rework": LoopStatus(frames=5, late=1, unreadable=0, decided=4, done=3, bins=[0, 2, 1, *[0] * 9])},
    )
    lines = text(deeds)
    for line in (
        "plantgate_audit_entries_total 12.0",
        "plantgate_audit_unpublished 3.0",
        'plantgate_writes_total{standing="denied"} 1.0',
        "plantgate_writes_held 2.0",
        "plantgate_writes_waiting 1.0",
        'plantgate_stopped{what="everything"} 0.0',
        'plantgate_stopped{what="model:eyes"} 1.0',
        'plantgate_loop_frames_total{came="late",loop="rework"} 1.0',
    ):
        assert line in lines, "\n".join(lines)
