"""The demo, as a newcomer runs it; and that its own counting would notice if something were wrong."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from deploy.demo.acts import Trouble, acts, pace
from deploy.demo.counting import Count
from deploy.demo.machine import BAD_SENSOR_FAILURE, UNCERTAIN_SENSOR_NOT_ACCURATE, Machine

ROOT = Path(__file__).parents[2]
SECOND = 10**9
NOON = 1_795_694_400 * SECOND


def _demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deploy.demo.demo", "--port", "0", "--no-browser", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.integration
def test_the_demo_cuts_broker_and_plc_and_ends_with_nothing_missing() -> None:
    process = _demo("--seconds", "45")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "The broker is off" in output
    assert "The cable to PLC and meter is pulled" in output
    found = re.search(
        r"balance: made ([\d,]+) = arrived ([\d,]+) \+ in gap records ([\d,]+) \+ not arrived 0\n", output
    )
    assert found is not None, output
    made, arrived, named = (int(number.replace(",", "")) for number in found.groups())
    assert made == arrived + named
    assert made > 3000
    assert re.search(r"altered 0, twice \d+, out of order 0, never made 0", output)
    assert "the gateway's own difference: 0" in output


@pytest.mark.integration
def test_ctrl_c_ends_the_demo_and_its_children_within_five_seconds() -> None:
    process = _demo()
    try:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                url = found[0]
            if "All is connected" in line:
                break
        page = urlopen(url, timeout=5).read().decode()
        assert 'src="view.js"' in page
        with urlopen(f"{url}live", timeout=5) as live:
            assert live.readline() == b"event: status\n"
            assert json.loads(live.readline().removeprefix(b"data: "))["plant"] == "line3"
        with urlopen(f"{url}story", timeout=5) as story:
            assert story.readline() == b"event: story\n"
        children = _children(process.pid)
        assert len(children) == 2
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert time.monotonic() - began < 5
        assert process.returncode == 0
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# ---- the page ----


def test_the_page_loads_nothing_from_elsewhere_and_never_makes_markup_of_what_it_is_told() -> None:
    view = ROOT / "gateway" / "plantgate" / "api" / "view"
    page, style, script = ((view / name).read_text() for name in ("index.html", "view.css", "view.js"))
    for text in (page, style, script):
        assert "http://" not in text
        assert "https://" not in text
        assert "//cdn" not in text
    for trap in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert trap not in script
    assert "style=" not in page  # the gateway's Content-Security-Policy lets none through
    assert "onclick" not in page


def test_the_script_uses_only_what_the_page_has() -> None:
    view = ROOT / "gateway" / "plantgate" / "api" / "view"
    there = set(re.findall(r'id="([a-z-]+)"', (view / "index.html").read_text()))
    used = set(re.findall(r'by\("([a-z-]+)"\)', (view / "view.js").read_text()))
    assert used
    assert used <= there


# ---- what the count would notice ----


def _message(position: int, *samples: tuple[str, int, object, int], origin: str = "box") -> bytes:
    listed = [
        {"tag": tag, "value": value, "quality": "", "code": code, "time": f"2026-11-26T12:00:{second:02d}.000000000Z"}
        for tag, second, value, code in samples
    ]
    return json.dumps({"origin": origin, "position": position, "samples": listed}).encode()


def _counted() -> Count:
    count = Count()
    count.made([("a", NOON + second * SECOND, float(second), 0) for second in range(3)])
    return count


def test_every_value_that_arrives_as_it_was_made_is_fine() -> None:
    count = _counted()
    count.message("t", _message(0, ("a", 0, 0.0, 0), ("a", 1, 1.0, 0)))
    count.message("t", _message(2, ("a", 2, 2.0, 0)))
    balance = count.balance()
    assert balance.fine
    assert (balance.made, balance.arrived, balance.on_the_way) == (3, 3, 0)


def test_a_value_that_arrives_before_the_machine_has_told_of_it_is_fine() -> None:
    count = Count()
    count.message("t", _message(0, ("a", 0, 0.0, 0)))
    assert count.balance().unknown == 1
    count.made([("a", NOON, 0.0, 0)])
    assert count.balance().fine


def test_a_missing_value_is_noticed_and_named() -> None:
    count = _counted()
    count.message("t", _message(0, ("a", 0, 0.0, 0), ("a", 2, 2.0, 0)))
    assert not count.balance().fine
    assert count.balance().on_the_way == 1
    assert count.missing(5) == ["a at 12:00:01.000"]


def test_a_missing_value_in_a_gap_record_is_told_apart() -> None:
    count = _counted()
    count.message("t", _message(0, ("a", 0, 0.0, 0)))
    gap = {"tags": ["a"], "since": "2026-11-26T12:00:00Z", "until": "2026-11-26T12:00:02Z", "cause": "x", "lost": 1}
    count.message("g", json.dumps({"origin": "box", "position": 1, "gaps": [gap]}).encode())
    count.message("t", _message(1, ("a", 2, 2.0, 0)))
    balance = count.balance()
    assert (balance.arrived, balance.named, balance.on_the_way) == (2, 1, 0)
    assert balance.fine


@pytest.mark.parametrize("sample", [("a", 1, 1.5, 0), ("a", 1, 1.0, 0x40000000), ("a", 1, 1, 0), ("a", 1, None, 0)])
def test_an_altered_value_type_or_quality_is_noticed(sample: tuple[str, int, object, int]) -> None:
    count = _counted()
    count.message("t", _message(0, ("a", 0, 0.0, 0), sample, ("a", 2, 2.0, 0)))
    assert count.balance().altered == 1
    assert not count.balance().fine


def test_a_repeat_is_counted_by_whether_it_has_its_old_number() -> None:
    count = _counted()
    whole = _message(0, ("a", 0, 0.0, 0), ("a", 1, 1.0, 0), ("a", 2, 2.0, 0))
    count.message("t", whole)
    count.message("t", whole)
    assert count.balance().fine
    assert count.balance().repeats == 3
    count.message("t", _message(3, ("a", 2, 2.0, 0)))
    assert count.balance().again == 1
    assert count.balance().repeats == 3


def test_an_older_value_after_a_newer_one_is_noticed() -> None:
    count = _counted()
    count.message("t", _message(0, ("a", 1, 1.0, 0), ("a", 0, 0.0, 0), ("a", 2, 2.0, 0)))
    assert count.balance().out_of_order == 1
    assert not count.balance().fine


def test_the_machine_has_two_dozen_tags_some_fast_some_doubtful() -> None:
    machine = Machine()
    first = machine.start()
    made = [reading for _ in range(1200) for reading in machine.tick()]
    assert len(first) == 25
    assert {tag for tag, _, _ in made} == set(first)
    statuses = {status for _, _, status in made}
    assert statuses == {0, UNCERTAIN_SENSOR_NOT_ACCURATE, BAD_SENSOR_FAILURE}
    assert sum(tag == "filler/fill_level" for tag, _, _ in made) > 1100


def test_the_machine_tells_only_changes() -> None:
    machine = Machine()
    last: dict[str, tuple[object, int]] = {tag: (reading, 0) for tag, reading in machine.start().items()}
    for _ in range(600):
        for tag, reading, status in machine.tick():
            assert last[tag] != (reading, status)
            last[tag] = (reading, status)


def test_a_short_demo_still_has_time_to_cut_broker_and_plc() -> None:
    for seconds in (40.0, 60.0, 90.0, 600.0):
        calm, trouble = pace(seconds)
        spent, seen = 0.0, set()
        for act in acts(calm, trouble):
            spent += act.calm_seconds + act.lasts_seconds
            if spent + 10 > seconds:
                break
            seen.add(act.trouble)
        assert {Trouble.BROKER, Trouble.CABLE} <= seen


def test_a_pulled_cable_breaks_connections_and_a_plugged_one_carries_them() -> None:
    from deploy.demo.cable import Cable

    async def session() -> list[object]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        far = await asyncio.start_server(echo, "127.0.0.1", 0)
        cable = Cable(far.sockets[0].getsockname()[1])
        await cable.plug()
        seen: list[object] = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
            writer.write(b"hello\n")
            seen.append(await reader.readline())
            await cable.pull()
            try:
                seen.append(await reader.read())
            except ConnectionError:
                seen.append(b"")
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", cable.port)
            await cable.plug()
        await cable.pull()
        far.close()
        return seen

    assert asyncio.run(session()) == [b"hello\n", b"", b"hello\n", b""]
