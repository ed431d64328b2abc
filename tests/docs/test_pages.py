"""Every snippet of the documentation does what the page says."""

from pathlib import Path

import pytest

from docs.generate.files import ROOT, pages
from tests.docs.running import Page
from tests.docs.snippets import NO_SERVICE, snippets
from tests.support.nats import Nats
from tests.support.service import Service

pytestmark = pytest.mark.timeout(180)

SNIPPETS = {page: found for page in pages() if (found := snippets(page, ROOT))}
SERVED = {page: NO_SERVICE not in page.read_text() for page in SNIPPETS}


@pytest.mark.parametrize("page", SNIPPETS, ids=lambda page: str(page.relative_to(ROOT)))
async def test_snippets(page: Path, nats_server: Nats, tmp_path: Path) -> None:
    service = Service(nats_server.url, tmp_path / "data")
    if SERVED[page]:
        await service.start()
    folder = tmp_path / "page"
    folder.mkdir()
    try:
        async with Page(nats_server.url, folder) as running:
            for snippet in SNIPPETS[page]:
                try:
                    await running.run(snippet)
                except Exception as error:
                    error.add_note(f"at {snippet.place}:\n{snippet.text}")
                    raise
    finally:
        await service.stop()
