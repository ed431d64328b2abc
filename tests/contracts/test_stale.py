"""What is generated is committed as it would be generated now."""

from pathlib import Path

import pytest

from docs.generate.files import REGIONS, ROOT, SCHEMAS, files, pages

FILES = dict(files())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_up_to_date(path: Path) -> None:
    assert path.exists(), "missing: run make docs"
    assert path.read_text() == FILES[path], "stale: run make docs"


def test_no_schema_of_the_past() -> None:
    assert set(SCHEMAS.rglob("*.json")) <= set(FILES), "run make docs"


def test_every_region_is_shown_somewhere() -> None:
    text = "".join(page.read_text() for page in pages())
    assert [name for name in REGIONS if f"<!-- generated: {name} -->" not in text] == []
