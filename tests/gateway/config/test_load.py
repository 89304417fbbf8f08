"""A sound plant file becomes a `Plant` with absolute paths; one with errors tells all of them."""

import time
from pathlib import Path

import pytest

from plantgate.config.judge import REPORTS_MOST
from plantgate.config.load import check, load
from plantgate.config.model import Plant
from plantgate.config.problems import PlantFileError, Severity
from plantgate.store.limits import WhenFull

SOUND = Path(__file__).parents[2] / "examples" / "sound"
SMALL = """\
plant: line3
connections:
  readings: { type: files, read: { path: in/readings.csv } }
  archive: { type: files, write: { folder: out } }
flows:
  copy: { from: readings, to: archive }
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "plant.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def warnings(file: Path) -> list[str]:
    plant, problems = check(file)
    assert plant is not None, problems
    assert all(problem.severity is Severity.WARNING for problem in problems)
    return [str(problem).partition("warning: ")[2] for problem in problems]


@pytest.mark.parametrize("file", sorted(SOUND.glob("*.yaml")), ids=lambda file: file.stem)
def test_sound_files_load_without_a_word(file: Path) -> None:
    plant, problems = check(file)
    assert problems == ()
    assert isinstance(plant, Plant)


def test_what_is_written_is_what_is_loaded() -> None:
    plant = load(SOUND / "everything.yaml")

    assert (plant.plant, plant.http.host, plant.http.port) == ("line3", "0.0.0.0", 9481)
    assert plant.graces == 23.5
    assert list(plant.connections) == ["press3", "broker", "archive"]
    assert plant.connections["press3"].type_name == "opcua"
    telemetry = plant.flows["telemetry"]
    assert (telemetry.sources, telemetry.destinations) == (("press3",), ("broker", "archive"))
    assert (telemetry.outbox.bytes_max, telemetry.outbox.when_full) == (512 * 2**20, WhenFull.DROP_OLDEST)
    assert plant.flows["cells"].sources == ("broker",)
    assert plant.outbox_folder("telemetry") == Path("/mnt/outboxes/telemetry")
    assert plant.outbox_folder("cells") == Path("/var/lib/plantgate/outboxes/cells")
    assert list(plant.uses("archive")) == ["telemetry", "cells"]
    assert list(plant.uses("press3")) == ["telemetry"]
    assert [plant.cell_of(name) for name in plant.connections] == ["machines", "offices", "offices"]
    assert plant.cells["machines"].memory_bytes_max == 512 * 2**20


def test_relative_paths_start_at_the_plant_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    written(tmp_path / "site", SMALL)
    monkeypatch.chdir(tmp_path)

    plant = load(Path("site/plant.yaml"))

    assert plant.file == tmp_path / "site/plant.yaml"
    assert plant.store.folder == tmp_path / "site/data"
    settings = plant.connections["readings"].settings.model_dump()
    assert settings["read"]["path"] == tmp_path / "site/in/readings.csv"


def test_ipv6_addresses_stand_in_brackets(tmp_path: Path) -> None:
    plant = load(written(tmp_path, SMALL + 'http: { listen: "[::1]:0" }\n'))
    assert (plant.http.host, plant.http.port) == ("::1", 0)


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere.yaml", "nowhere.yaml: cannot read the file: no such file or directory"), ("", "is a directory")],
)
def test_a_file_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlantFileError) as refused:
        load(tmp_path / name)
    assert said in str(refused.value)


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(PlantFileError, match="larger than 1 MiB; keep tags by the thousand in a CSV file"):
        load(written(tmp_path, SMALL + "# " + "x" * 2**20))


def test_a_connection_nobody_uses_is_a_warning(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL.replace("flows:", "  spare: { type: files, write: { folder: spare } }\nflows:"))
    assert warnings(file) == ["connections.spare: no flow uses this connection, and nothing is written to it"]


def test_a_secret_that_is_not_there_yet_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_PASSWORD", raising=False)
    secret = tmp_path / "there"
    secret.write_text("x")
    broker = "  archive: { type: mqtt, host: h, tls: {}, username: u, password: '${%s}' }"

    def said(reference: str) -> list[str]:
        lines = SMALL.replace("  archive: { type: files, write: { folder: out } }", broker % reference)
        return warnings(written(tmp_path, lines))

    assert said(f"file:{secret}") == []
    assert said("env:PATH") == []
    where = "connections.archive.password: "
    assert said("file:/nowhere/mqtt") == [f"{where}/nowhere/mqtt does not exist here"]
    assert said("env:NO_SUCH_PASSWORD") == [f"{where}the environment variable NO_SUCH_PASSWORD is not set here"]
    assert said("file:mqtt") == [f"{where}mqtt starts at the folder the gateway is started in; write the whole path"]


def test_ten_thousand_tags_load_within_two_seconds(tmp_path: Path) -> None:
    rows = "".join(f"line3/press3/tag{i:05},nsu=urn:press;s=Line3.Press3.Tag{i:05}\n" for i in range(10_000))
    (tmp_path / "tags.csv").write_text("tag,node\n" + rows)
    inline = "".join(
        f'      - {{ node: "nsu=urn:press;s=Press3.Tag{i:05}", tag: line3/press3/tag{i:05} }}\n' for i in range(10_000)
    )
    head = SMALL.replace(
        "{ type: files, read: { path: in/readings.csv } }", "\n    type: opcua\n    url: opc.tcp://p:1\n"
    )
    for tags in ("    tags_file: tags.csv\n", f"    tags:\n{inline}"):
        file = written(tmp_path, head.replace("url: opc.tcp://p:1\n", f"url: opc.tcp://p:1\n{tags}"))
        load(written(tmp_path, SMALL))
        file = written(tmp_path, head.replace("url: opc.tcp://p:1\n", f"url: opc.tcp://p:1\n{tags}"))
        began = time.process_time()
        plant = load(file)
        assert time.process_time() - began < 2
        assert len(plant.connections) == 2


def test_ten_thousand_errors_are_not_ten_thousand_lines(tmp_path: Path) -> None:
    tags = "".join(f"      - {{ node: i={i}, name: a{i} }}\n" for i in range(10_000))
    text = SMALL.replace("{ type: files, read: { path: in/readings.csv } }", f"\n    type: opcua\n    tags:\n{tags}")

    plant, problems = check(written(tmp_path, text))

    assert plant is None
    assert len(problems) == REPORTS_MOST + 1
    assert problems[-1].text == "and 19901 more errors like the ones above"
