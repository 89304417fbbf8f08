"""The settings tables in the documentation are those of the settings models, and commands in it exist."""

from pathlib import Path

import pytest

from plantgate.config.model import PlantSettings
from plantgate.docs import BEGIN, END, pages, refresh, tables
from plantgate.registry import registry

ROOT = Path(__file__).parents[1]


def test_every_settings_table_is_up_to_date() -> None:
    stale = refresh(pages(registry(), ROOT), write=False)
    assert stale == [], "run `plantgate docs`"


@pytest.mark.parametrize("page", [page for page, _ in pages(registry(), ROOT)], ids=lambda page: page.parent.name)
def test_every_page_has_room_for_its_table(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count(BEGIN) == 1
    assert text.count(END) == 1


def test_a_stale_table_is_found_and_renewed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    wanted = [(page, tables(PlantSettings))]

    assert refresh(wanted, write=False) == [page]
    assert "old" in page.read_text()
    assert refresh(wanted, write=True) == [page]
    assert refresh(wanted, write=False) == []
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| Setting ")
    assert text.endswith(f"{END}\nafter\n")


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("nothing here\n")
    assert refresh([(page, tables(PlantSettings))], write=True) == []
    assert page.read_text() == "nothing here\n"


def test_tables_say_type_default_and_meaning_and_go_into_sections() -> None:
    text = tables(PlantSettings)
    assert "| `plant` | text | **required** | Name of the plant or line" in text
    assert "### `flows.<name>.outbox`" in text
    assert "| `bytes_max` | size | `2GiB` |" in text
    assert "| `when_full` | `block`, `drop_oldest`, `keep_latest` | `block` |" in text
    assert "| `from` | text or list of texts | **required** |" in text
