"""From one plant to the next: which flows start, end, restart, and which are left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from plantgate.config.load import load
from plantgate.config.model import Plant
from plantgate.config.plan import Difference, changes, compare, document

PLANT = """\
plant: line3
connections:
  press3:
    type: opcua
    url: opc.tcp://10.0.0.5:4840
    tags_file: tags.csv
  readings: { type: files, read: { path: readings.csv } }
  broker: { type: mqtt, host: h, username: u, password: "${env:PATH}" }
  archive: { type: files, write: { folder: out } }
flows:
  telemetry: { from: press3, to: [broker, archive] }
  copy: { from: readings, to: archive }
"""
Load = Callable[..., Plant]


@pytest.fixture
def plant(tmp_path: Path) -> Load:
    """Loads the plant above with parts of its text replaced, and a tag list."""

    def loaded(*replaced: tuple[str, str], rows: str = "a,i=1\n") -> Plant:
        text = PLANT
        for before, after in replaced:
            assert before in text
            text = text.replace(before, after)
        (tmp_path / "tags.csv").write_text(f"tag,node\n{rows}")
        (tmp_path / "plant.yaml").write_text(text)
        return load(tmp_path / "plant.yaml")

    return loaded


def test_at_first_everything_is_new(plant: Load) -> None:
    found = changes(None, plant())
    assert (found.added, found.removed, found.changed, found.unchanged) == (("telemetry", "copy"), (), (), ())
    assert found.settings == ()
    assert found


def test_the_same_file_changes_nothing(plant: Load) -> None:
    found = changes(plant(), plant(("plant: line3", "# a comment\nplant:   line3")))
    assert not found
    assert found.unchanged == ("telemetry", "copy")
    assert found.differences == ()


def test_a_changed_connection_restarts_the_flows_that_name_it_and_no_other(plant: Load) -> None:
    found = changes(plant(), plant(("host: h", "host: i")))
    assert (found.changed, found.unchanged) == (("telemetry",), ("copy",))
    assert found.restart == {"telemetry": "connection broker has changed"}
    assert found.differences == (Difference(("connections", "broker", "host"), "h", "i"),)


def test_a_default_written_out_is_no_change(plant: Load) -> None:
    assert not changes(plant(), plant(("host: h", "host: h, version: '5'")))


def test_a_changed_tag_list_restarts_its_flows(plant: Load) -> None:
    found = changes(plant(), plant(rows="a,i=1\nb,i=2\n"))
    assert found.changed == ("telemetry",)
    assert "press3" in found.restart["telemetry"]


def test_flows_come_and_go(plant: Load) -> None:
    found = changes(plant(), plant(("  copy:", "  archiving:")))
    assert (found.added, found.removed, found.unchanged) == (("archiving",), ("copy",), ("telemetry",))


def test_a_changed_flow_says_what_of_it_has_changed(plant: Load) -> None:
    found = changes(plant(), plant(("to: archive }", "to: archive, outbox: { bytes_max: 1GiB } }")))
    assert found.restart == {"copy": "its own settings have changed: outbox"}


def test_the_other_sections_wait_for_a_new_start(plant: Load) -> None:
    found = changes(plant(), plant(("plant: line3", "plant: line3\nlog: { level: debug }\nstore: { folder: other }")))
    assert found.settings == ("store", "log")
    assert found.unchanged == ("telemetry", "copy")


def test_a_plant_as_a_document_compares_like_the_plant_and_holds_no_secret(plant: Load) -> None:
    before, after = plant(), plant(("host: h", "host: i"))
    assert compare(document(before), document(after)) == changes(before, after)
    assert document(before)["connections"]["broker"]["password"] == "${env:PATH}"


def test_a_connection_that_moves_into_or_out_of_a_cell_restarts_its_flows(plant: Load) -> None:
    celled = plant(("flows:", "cells: { hall: { connections: press3 } }\nflows:"))
    into, out = changes(plant(), celled), changes(celled, plant())
    assert into.restart == {"telemetry": "connection press3 moves into cell hall"}
    assert out.restart == {"telemetry": "connection press3 moves out of its cell"}
    assert into.cells == out.cells == ("hall",)
    assert into.unchanged == out.unchanged == ("copy",)
    assert into.settings == ()


def test_other_limits_of_a_cell_restart_nothing(plant: Load) -> None:
    def with_cell(limits: str) -> Plant:
        return plant(("flows:", f"cells: {{ hall: {{ connections: press3{limits} }} }}\nflows:"))

    found = changes(with_cell(""), with_cell(", stall_seconds: 5"))
    assert found
    assert found.unchanged == ("telemetry", "copy")
    assert found.cells == ("hall",)
    assert found.settings == ()
