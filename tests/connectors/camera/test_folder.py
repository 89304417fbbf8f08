"""Pictures that are files: new ones once each, finished ones only, and what cannot be read costs no other."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from plantgate.sdk import Camera, Exhausted, Unavailable
from plantgate_connectors.camera import Cameras
from tests.connectors.camera.given import BLUE, RED, bomb, cameras, counted, packed, said

pytestmark = pytest.mark.simulated(seeds=2)


def folder(tmp_path: Path, **written: Any) -> Cameras:
    """A connector on the folder `in`; files count at once unless said otherwise."""
    common = {key: written.pop(key) for key in ("grey", "pixels_max", "context") if key in written}
    (tmp_path / "in").mkdir(exist_ok=True)
    return cameras(tmp_path, folder={"path": str(tmp_path / "in"), "settle_ms": 0, "poll_ms": 1, **written}, **common)


def put(tmp_path: Path, name: str, data: bytes | None = None) -> Path:
    """A finished file, as a careful camera leaves it: renamed into place."""
    written = tmp_path / "writing"
    written.write_bytes(packed() if data is None else data)
    return written.rename(tmp_path / "in" / name)


async def nothing(camera: Camera) -> None:
    """No picture comes while the folder is looked at many times."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await camera.frame()


async def test_what_appears_is_given_once_and_what_was_there_is_not_new(tmp_path: Path) -> None:
    connector = folder(tmp_path)
    put(tmp_path, "0.png")
    async with connector.camera() as camera:
        await nothing(camera)
        put(tmp_path, "1.png", packed(BLUE, (5, 2)))

        frame = await camera.frame()

        assert (frame.name, frame.pixels.shape, frame.time) == ("1.png", (2, 5, 3), None)
        assert tuple(frame.pixels[0, 0, colour] for colour in range(3)) == BLUE
        assert frame.at <= asyncio.get_running_loop().time()
        await nothing(camera)
    assert counted(connector) == {"frames_given": 1}


async def test_of_several_the_newest_is_given_and_the_others_are_counted(tmp_path: Path) -> None:
    connector = folder(tmp_path)
    async with connector.camera() as camera:
        for number in (2, 3, 1):
            put(tmp_path, f"{number}.png")
        assert (await camera.frame()).name == "3.png"
        await nothing(camera)
    assert counted(connector) == {"frames_given": 1, "frames_skipped": 2}


async def test_a_picture_that_lay_there_while_nobody_looked_is_as_old_as_it_may_be(tmp_path: Path) -> None:
    """A loop that was busy, a session that was away: where the picture is counted as new, its budget would be too."""
    connector, now = folder(tmp_path, poll_ms=20), asyncio.get_running_loop().time
    async with connector.camera() as camera:
        asking = asyncio.ensure_future(camera.frame())
        await asyncio.sleep(1)
        began = now()
        put(tmp_path, "1.png")
        assert (await asking).at >= began, "it was looked for all the time"
        await asyncio.sleep(5)
        put(tmp_path, "2.png")
        assert (await camera.frame()).at == pytest.approx(now() - 5, abs=0.05)
    await asyncio.sleep(7)
    put(tmp_path, "3.png")
    async with connector.camera() as camera:
        assert (await camera.frame()).at == pytest.approx(now() - 7, abs=0.05)


async def test_of_each_picture_the_age_counts_from_when_it_was_found_though_others_come_first(tmp_path: Path) -> None:
    async with folder(tmp_path, take="each", settle_ms=10).camera() as camera:
        for number in range(3):
            put(tmp_path, f"{number}.png")
        given = [await camera.frame()]
        for _ in range(2):
            await asyncio.sleep(1)
            given.append(await camera.frame())
    assert [frame.at - given[0].at for frame in given] == [0, 0, 0]


@pytest.mark.parametrize(("order", "names"), [("name", ["a", "b", "c"]), ("time", ["c", "a", "b"])])
async def test_each_is_given_in_order(tmp_path: Path, order: str, names: list[str]) -> None:
    async with folder(tmp_path, take="each", order=order).camera() as camera:
        for second, name in enumerate(["c", "a", "b"]):
            os.utime(put(tmp_path, f"{name}.png"), (second, second))
        assert [(await camera.frame()).name for _ in names] == [f"{name}.png" for name in names]
        await nothing(camera)


async def test_once_gives_what_is_there_and_then_no_more(tmp_path: Path) -> None:
    connector = folder(tmp_path, take="once", context={"product": "A12"}, grey=True)
    for name in ("2.png", "1.png"):
        put(tmp_path, name)
    async with connector.camera() as camera:
        frames = [await camera.frame(), await camera.frame()]
        with pytest.raises(Exhausted):
            await camera.frame()
    assert [(frame.name, frame.pixels.shape, dict(frame.context)) for frame in frames] == [
        ("1.png", (3, 4), {"product": "A12"}),
        ("2.png", (3, 4), {"product": "A12"}),
    ]


async def test_the_next_session_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    connector = folder(tmp_path, take="each")
    async with connector.camera() as camera:
        put(tmp_path, "1.png")
        await camera.frame()
    put(tmp_path, "2.png")
    async with connector.camera() as camera:
        assert (await camera.frame()).name == "2.png"
        await nothing(camera)


async def test_a_file_that_is_written_again_is_a_new_picture(tmp_path: Path) -> None:
    async with folder(tmp_path).camera() as camera:
        put(tmp_path, "latest.png", packed(RED))
        await camera.frame()
        put(tmp_path, "latest.png", packed(BLUE))
        assert (await camera.frame()).pixels[0, 0, 2] == BLUE[2]


async def test_a_file_is_not_read_before_it_has_stayed_as_it_is(tmp_path: Path) -> None:
    connector = folder(tmp_path, settle_ms=400)
    whole = packed(RED, (200, 200))
    loop = asyncio.get_running_loop()
    async with connector.camera() as camera:
        taken = asyncio.ensure_future(camera.frame())
        with (tmp_path / "in" / "slow.png").open("wb", buffering=0) as file:
            for start in range(0, len(whole), len(whole) // 4):
                file.write(whole[start : start + len(whole) // 4])
                written = loop.time()
                await asyncio.sleep(0.05)
        frame = await taken
    assert frame.at - written >= 0.4
    assert counted(connector) == {"frames_given": 1}, "no half of it was looked at"


async def test_a_file_that_was_read_too_early_is_read_again_when_it_is_finished(tmp_path: Path) -> None:
    connector = folder(tmp_path)
    whole = packed(RED, (200, 200))
    async with connector.camera() as camera:
        put(tmp_path, "1.png", whole[: len(whole) // 2])
        await nothing(camera)
        assert counted(connector) == {"frames_unreadable": 1}
        with (tmp_path / "in" / "1.png").open("ab") as file:
            file.write(whole[len(whole) // 2 :])
        assert (await camera.frame()).pixels.shape == (200, 200, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"no picture", "none of PNG"),
        (packed()[:-20], "broken"),
        (packed(form="JPEG", size=(64, 64))[:-60], "broken"),
        (bomb(20_000, 4_000), "pixels_max"),
        (b"\0" * 50_000, "file_bytes_max"),
    ],
    ids=["text", "half a PNG", "half a JPEG", "bomb", "large"],
)
async def test_what_cannot_be_read_is_named_and_counted_and_the_next_goes_on(
    tmp_path: Path, data: bytes, told: str
) -> None:
    connector = folder(tmp_path, take="each", file_bytes_max=20_000)
    async with connector.camera() as camera:
        put(tmp_path, "1.png", data)
        put(tmp_path, "2.png", data)
        put(tmp_path, "3.png")
        assert (await camera.frame()).name == "3.png"
    assert counted(connector) == {"frames_unreadable": 2, "frames_given": 1}
    _connected, unreadable, again = said(connector)
    assert unreadable[:2] == ("warning", "a picture cannot be read, the next is waited for")
    assert unreadable[2]["picture"] == "1.png"
    assert told in str(unreadable[2]["reason"])
    assert again[1] == "pictures can be read again"


async def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the disk itself refuses here."""
    connector = folder(tmp_path, take="each")
    real = os.open

    def refusing(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("1.png"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refusing)
    async with connector.camera() as camera:
        put(tmp_path, "1.png")
        put(tmp_path, "2.png")
        assert (await camera.frame()).name == "2.png"
    assert said(connector)[1][2]["reason"] == "the file cannot be opened: Permission denied"


async def test_a_name_that_is_no_text_is_spelled_out_and_its_template_still_found(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, a line's end, what would colour a terminal: it goes into records, logs and pages."""
    connector = folder(tmp_path, take="each", template={})
    async with connector.camera() as camera:
        put(tmp_path, os.fsdecode(b"a\xff\n\x1b[31m.png"))
        put(tmp_path, os.fsdecode(b"b\xff.png"), b"no picture")
        frame = await camera.frame()
        assert frame.name == r"a\udcff\n\x1b[31m.png"
        assert os.fsencode(frame.context["template"]) == b"a\xff\n\x1b[31m.png"
        await nothing(camera)
    assert said(connector)[1][2]["picture"] == r"b\udcff.png"


async def test_what_is_no_file_of_that_kind_is_passed_over(tmp_path: Path) -> None:
    connector = folder(tmp_path, take="each", pattern="*_test.*")
    async with connector.camera() as camera:
        inside = tmp_path / "in"
        (inside / "folder_test.png").mkdir()
        os.mkfifo(inside / "pipe_test.png")
        (inside / "link_test.png").symlink_to(put(tmp_path, "0001_other.png"))
        for name in (".hidden_test.png", "1_test.txt", "1_test.png.part", "1_temp.png", "1_test.PNG"):
            put(tmp_path, name)
        assert (await camera.frame()).name == "1_test.PNG"
        await nothing(camera)
    assert counted(connector) == {"frames_given": 1}


async def test_a_picture_names_its_template_and_a_template_is_no_picture(tmp_path: Path) -> None:
    rule = {"ending": "_test", "becomes": "_temp"}
    async with folder(tmp_path, take="each", template=rule, context={"product": "A12"}).camera() as camera:
        put(tmp_path, "0001_temp.png")
        put(tmp_path, "0001_test.png")
        frame = await camera.frame()
        assert (frame.name, dict(frame.context)) == ("0001_test.png", {"product": "A12", "template": "0001_temp.png"})
        await nothing(camera)


async def test_a_folder_that_is_not_there_or_goes_is_unavailable(tmp_path: Path) -> None:
    connector = folder(tmp_path)
    async with connector.camera() as camera:
        (tmp_path / "in").rmdir()
        with pytest.raises(Unavailable, match="in: cannot be looked at: No such file or directory"):
            await camera.frame()
    with pytest.raises(Unavailable):
        async with connector.camera():
            pass


async def test_nothing_is_kept_of_what_has_left_the_folder(tmp_path: Path) -> None:
    connector = folder(tmp_path, settle_ms=0)
    async with connector.camera() as camera:
        for number in range(20):
            path = put(tmp_path, f"{number}.png")
            await camera.frame()
            path.unlink()
        await nothing(camera)
        assert (connector._known.done, connector._known.since) == ({}, {})


async def test_survey_counts_the_pictures_or_says_why_not(tmp_path: Path) -> None:
    connector = folder(tmp_path)
    put(tmp_path, "1.png")
    (found,) = (await connector.survey()).findings
    assert (found.granted, found.fine) == ("1 there that fit", True)
    (tmp_path / "in" / "1.png").unlink()
    (tmp_path / "in").rmdir()
    (found,) = (await connector.survey()).findings
    assert (found.granted, found.fine) == ("cannot be looked at: No such file or directory", False)
