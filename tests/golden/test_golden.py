"""Every recorded case is the same here, or different on purpose."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden.runner.cases import OWN, Case, read_folder
from tests.golden.runner.stage import play_one
from tests.support.nats import Nats


@pytest.fixture(scope="session")
def golden_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """A nats-server whose streams every case makes and deletes."""
    server = Nats(tmp_path_factory.mktemp("golden") / "nats")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("case", read_folder(OWN), ids=lambda case: f"{case.area}: {case.name}")
async def test_case(case: Case, golden_nats: Nats, tmp_path: Path) -> None:
    verdict = await play_one(case, golden_nats, tmp_path)
    assert not verdict.failures
