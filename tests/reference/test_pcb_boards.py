"""The PCB line's model: what it says of a board, and templates that are missing, broken or made anew."""

import asyncio
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from pcb_line.boards import BoardModel, BoardsSettings, Templates
from pcb_line.detect import Detector, Grey
from pcb_line.draw import drawn_pair
from PIL import Image

from plantgate.sdk import Deadline, Frame, OneThread, Prediction, Rejected

PAIR = drawn_pair(2003, 6)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def put(folder: Path, name: str, picture: Grey) -> None:
    Image.fromarray(picture).save(folder / f"new {name}", "PNG")
    (folder / f"new {name}").rename(folder / name)


def seen(detector: Detector, templates: Templates, name: str = "one.png") -> Prediction:
    """What the model makes of the board with this template."""

    async def asked() -> Prediction:
        with OneThread("boards") as thread:
            model = BoardModel(detector, thread, BoardsSettings(templates=templates.folder), templates)
            pixels = memoryview(PAIR.board)  # type: ignore[arg-type]  # numpy's arrays are buffers
            return await model.predict(Frame("board", pixels, 0.0, context={"template": name}), Deadline.after(60))

    return asyncio.run(asked())


def test_the_digest_is_that_of_template_and_board(tmp_path: Path, detector: Detector) -> None:
    put(tmp_path, "one.png", PAIR.template)
    templates = Templates(tmp_path)
    wanted = hashlib.sha256(PAIR.template.tobytes() + PAIR.board.tobytes()).hexdigest()
    assert [seen(detector, templates).inputs for _ in range(2)] == [f"sha256:{wanted}"] * 2


def test_a_template_that_was_made_anew_is_read_anew(tmp_path: Path, detector: Detector) -> None:
    put(tmp_path, "one.png", PAIR.template)
    templates = Templates(tmp_path)
    templates.fill()
    before = seen(detector, templates)
    put(tmp_path, "one.png", PAIR.board)
    after = seen(detector, templates)
    assert before.facts["defects"]
    assert after.facts["defects"] == []
    assert before.inputs != after.inputs


def broken() -> bytes:
    """A PNG whose second piece of pixels has lost its name: Pillow calls that an error of syntax."""
    written = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (640, 640), np.uint8)).save(written, "PNG")
    first, second, rest = written.getvalue().split(b"IDAT", 2)
    return first + b"IDAT" + second + bytes(4) + rest


def test_a_template_that_cannot_be_read_rejects_the_board_and_ends_nothing(tmp_path: Path, detector: Detector) -> None:
    (tmp_path / "text.png").write_bytes(b"no picture")
    (tmp_path / "broken.png").write_bytes(broken())
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    put(tmp_path, "half.png", PAIR.template)
    os.truncate(tmp_path / "half.png", (tmp_path / "half.png").stat().st_size // 2)
    put(tmp_path, "small.png", np.zeros((20, 20), np.uint8))
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    templates = Templates(tmp_path)
    templates.fill()
    for name in (*(path.name for path in tmp_path.iterdir()), "missing.png"):
        with pytest.raises(Rejected, match=f"the template {name} cannot be read"):
            seen(detector, templates, name)
    for name in ("", "..", "../one.png", "/one.png"):
        with pytest.raises(Rejected):
            seen(detector, templates, name)


def test_memory_holds_as_many_templates_as_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detector: Detector
) -> None:
    for number in range(6):
        put(tmp_path, f"{number}.png", PAIR.template)
    monkeypatch.setattr("pcb_line.boards._KEPT_BYTES_MAX", 5_000_000)
    templates = Templates(tmp_path)
    templates.fill()
    kept = len(templates._kept)
    assert 1 < kept < 6
    for number in range(6):
        assert seen(detector, templates, f"{number}.png").facts["defects"]
        assert len(templates._kept) <= kept
