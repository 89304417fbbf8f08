"""A picture, a model, a rule, a machine: in time, or not at all."""

import asyncio
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from PIL import Image

from plantgate.audit.entry import Kind, Phase, Result
from plantgate.control.loop import Loop
from plantgate.control.png import png
from plantgate.control.proposal import Answer, Standing
from plantgate.control.settings import ControlSettings
from plantgate.flow.stop import Stop
from plantgate.runtime.supervisor import keep_running
from plantgate.sdk import Backoff, Deadline, Exhausted, Frame, Prediction, Rejected, Unavailable, Value
from plantgate.sdk import Standing as State
from tests.gateway.control.given import OVEN, Plant, plant, run, settings

LOOP = {
    "camera": "cam",
    "model": "eyes",
    "deadline_ms": 120,
    "decisions": [
        {"of": "defects", "fact": "defect", "rule": "R-1", "tag": OVEN, "unit": "degC", "value": "40.0 + defect.shift"}
    ],
}


def written(**changed: Any) -> ControlSettings:
    """The plant's settings, and one loop, which may differ."""
    whole = settings(oven={"interval_seconds": 0, "change_max_per_minute": 1000}).model_dump(mode="json", by_alias=True)
    whole["loops"] = {"heat": {**LOOP, **changed}}
    return ControlSettings.model_validate_json(json.dumps(whole))


@dataclass
class Eyes:
    """A model that says what it is told to, after a while."""

    defects: Value = ()
    seconds: float = 0.01
    error: Exception | None = None
    name: str = "eyes/1"
    digest: str = "sha256:" + "e" * 64
    target: str = "test"
    asked: int = 0

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return Prediction({"defects": self.defects}, 0.9, "sha256:" + "f" * 64, "said")


@dataclass
class Pictures:
    """A camera with so many pictures."""

    left: int
    names: list[str] = field(default_factory=list)

    async def frame(self) -> Frame:
        await asyncio.sleep(0.5)
        if not self.left:
            raise Exhausted("no more")
        self.left -= 1
        return picture()


def picture() -> Frame:
    return Frame("p", memoryview(bytes(12)).cast("B", (3, 4)), asyncio.get_running_loop().time())


def defect(score: float = 0.9, confidence: float = 0.9, shift: float = 10.0) -> Mapping[str, Value]:
    return {"score": score, "confidence": confidence, "shift": shift}


async def look(here: Plant, eyes: Eyes, **changed: Any) -> tuple[Loop, tuple[Answer, ...]]:
    loop = Loop("heat", written(**changed).loops["heat"], here.acting, here.news)
    return loop, await loop.look(picture(), eyes)


def test_what_is_seen_is_acted_on_and_the_record_says_what_was_seen_and_by_which_rule() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, (answer,) = await look(here, Eyes([defect(0.2, 0.99), defect(0.9, 0.85, 11.0), defect(0.9, 0.9)]))
            assert (answer.standing, here.oven.values[OVEN]) == (Standing.DONE, 50.0)
            intent = next(entry for entry in here.entries() if entry.id == answer.entry)
            assert intent.model is not None
            assert (intent.model.model, intent.model.confidence, intent.model.threshold) == ("eyes/1", "0.9", "0.8")
            assert intent.trace == "p"
            assert (loop.figures.frames, loop.figures.done, loop.figures.late) == (1, 1, 0)
            assert sum(loop.figures.bins) == 1

    run(main)


@pytest.mark.parametrize("defects", [[], [defect(0.2)], None, (), "text", 5, [{"shift": 1.0}], [float("nan")]])
def test_where_no_rule_holds_nothing_is_proposed(defects: Value) -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, answers = await look(here, Eyes(defects))
            assert (answers, here.oven.written) == ((), [])
            assert not [entry for entry in here.entries() if entry.kind in (Kind.WRITE, Kind.DENIAL)]
            assert loop.looks[-1].number == 1

    run(main)


def test_a_model_that_is_too_slow_is_not_waited_for_and_that_is_on_record() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, answers = await look(here, Eyes([defect()], seconds=0.2))
            assert (answers, here.oven.written, loop.figures.late) == ((), [], 1)
            late = here.entries()[-1]
            assert (late.kind, late.phase, late.result) == (Kind.DECISION, Phase.OBSERVED, Result.LATE)

    run(main)


def test_a_late_answer_about_a_picture_with_a_name_that_no_record_can_hold_is_on_record() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            await loop.look(replace(picture(), name="half \udcff" + "n" * 500), Eyes([defect()], seconds=5))
            details = here.entries()[-1].details
            assert details["frame"].startswith("half \\udcffnnn")

    run(main)


def test_an_answer_that_leaves_no_time_to_write_is_refused() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, (answer,) = await look(here, Eyes([defect()], seconds=0.1195))
            assert (answer.standing, here.oven.written) == (Standing.LATE, []), answer
            assert loop.figures.late == 1

    run(main)


def test_a_confidence_below_the_rules_is_denied_and_on_record() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            _, (answer,) = await look(here, Eyes([defect(confidence=0.79)]))
            assert (answer.standing, answer.reason) == (Standing.DENIED, "confidence: 0.79 is not at least 0.8")

    run(main)


@pytest.mark.parametrize(
    ("value", "saw"),
    [("defect.missing", "type: "), ("'hot'", "type: 'hot' is not a number"), ("defect.shift * 1e9", "range: ")],
)
def test_a_value_that_comes_to_nothing_is_denied(value: str, saw: str) -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            decisions = [{**LOOP["decisions"][0], "value": value}]  # type: ignore[index]
            _, (answer,) = await look(here, Eyes([defect()]), decisions=decisions)
            assert answer.standing is Standing.DENIED
            assert saw in answer.reason

    run(main)


def test_a_picture_that_cannot_be_read_is_counted_and_the_next_goes_on() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, answers = await look(here, Eyes(error=Rejected("no picture")))
            assert (answers, loop.figures.unreadable) == ((), 1)
            assert loop.looks[-1].note == "no picture"

    run(main)


def test_a_model_that_cannot_be_asked_ends_the_session() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            with pytest.raises(Unavailable):
                await look(here, Eyes(error=Unavailable("away")))

    run(main)


def test_a_loop_ends_with_its_pictures_or_when_asked() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop, eyes = Loop("heat", written().loops["heat"], here.acting, here.news), Eyes()
            await loop.run(Pictures(3), eyes, Stop())
            assert eyes.asked == 3
            stop = Stop()
            running = asyncio.create_task(loop.run(Pictures(100), eyes, stop))
            await asyncio.sleep(1.2)
            stop.set()
            await running
            assert eyes.asked == 5

    run(main)


@pytest.mark.parametrize(
    ("decision", "saw"),
    [
        ({"tag": "oven/else"}, "`oven/else` is not under `writes`"),
        ({"rule": "R-9"}, "there is no rule `R-9`"),
        ({"fact": "thing"}, "must have `facts: [thing]`"),
        ({"value": "defect."}, "is not CEL"),
        ({"value": "other.x"}, "speaks of `other`"),
    ],
)
def test_a_loop_that_does_not_fit_its_rules_is_refused_when_it_is_written(decision: dict[str, str], saw: str) -> None:
    with pytest.raises(ValueError, match=re.escape(saw)):
        written(decisions=[{**LOOP["decisions"][0], **decision}])  # type: ignore[index]


def test_a_picture_is_served_as_png() -> None:
    """Read by a reader that is not ours."""
    grey = memoryview(bytes(range(12))).cast("B", (3, 4))
    colour = memoryview(bytes(range(36))).cast("B", (3, 4, 3))
    with Image.open(io.BytesIO(png(grey))) as read:
        assert (read.mode, read.size, read.tobytes()) == ("L", (4, 3), bytes(range(12)))
    with Image.open(io.BytesIO(png(colour))) as read:
        assert (read.mode, read.size, read.tobytes()) == ("RGB", (4, 3), bytes(range(36)))


@pytest.mark.parametrize("at", [math.nan, math.inf, 1e9])
def test_a_picture_of_a_time_that_is_still_to_come_moves_no_deadline(at: float) -> None:
    """A time that is no number was never too late, for any guard or actuator."""

    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            answers = await loop.look(replace(picture(), at=at), Eyes([defect()], seconds=0.3))
            assert (answers, here.oven.written, loop.figures.late) == ((), [], 1)

    run(main)


@pytest.mark.parametrize("own", [0, "0.1", None, True, math.nan, [0.99]])
def test_a_fact_whose_own_confidence_is_no_number_has_none(own: Value) -> None:
    """It had that of the model's answer as a whole."""

    async def main() -> None:
        async with plant(written=written()) as here:
            fact: Mapping[str, Value] = {"score": 0.9, "shift": 10.0, "confidence": own}
            _, answers = await look(here, Eyes([fact]))
            assert {answer.standing for answer in answers} <= {Standing.DENIED}
            assert here.oven.written == []

    run(main)


def test_a_fact_that_is_certain_and_one_without_a_confidence_are_believed() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            for fact in ({"score": 0.9, "shift": 10.0, "confidence": 1}, {"score": 0.9, "shift": 11.0}):
                _, (answer,) = await look(here, Eyes([fact]))
                assert answer.standing is Standing.DONE

    run(main)


def test_one_fact_without_a_sound_confidence_does_not_come_before_a_sure_one() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            _, (answer,) = await look(here, Eyes([defect(confidence=0.5), {**defect(), "confidence": None}, defect()]))
            assert answer.standing is Standing.DONE

    run(main)


@pytest.mark.parametrize("whose", ["camera", "model"])
def test_a_wait_that_a_library_cancelled_itself_ends_the_session_and_not_the_loop(whose: str) -> None:
    """The service ended in silence, and nothing looked at any picture any more."""

    class Leaving(Pictures):
        async def frame(self) -> Frame:
            if whose == "camera":
                raise asyncio.CancelledError
            return await super().frame()

    class Dreaming(Eyes):
        async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
            raise asyncio.CancelledError

    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            ways: list[tuple[Pictures, Eyes]] = [(Leaving(1), Dreaming()), (Pictures(1), Eyes())]

            async def session(stop: Stop) -> None:
                await loop.run(*ways.pop(0), stop)

            standing = State(here.news)
            await keep_running(session, stop=Stop(), backoff=Backoff(0.1, 0.1), standing=standing, log=here.news)
            assert (ways, standing.counters) == ([], {"session_errors": 1})
            assert loop.looks[-1].note == "", "it looks at pictures again"
            looking = asyncio.create_task(loop.run(Pictures(100), Eyes(), Stop()))
            await asyncio.sleep(0.2)
            looking.cancel()
            await asyncio.wait([looking])
            assert looking.cancelled(), "whoever ends the loop ends it"

    run(main)


def test_a_model_that_says_that_there_is_no_more_ends_no_loop() -> None:
    async def main() -> None:
        async with plant(written=written()) as here:
            loop = Loop("heat", written().loops["heat"], here.acting, here.news)
            with pytest.raises(Exhausted):
                await loop.run(Pictures(1), Eyes(error=Exhausted("odd")), Stop())

    run(main)
