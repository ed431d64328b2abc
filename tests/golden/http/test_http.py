"""Every recorded case of the HTTP routes is the same here, or different on purpose."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden.http.differences import RULES
from tests.golden.http.playing import play_one, read
from tests.golden.runner.cases import Case, Look
from tests.support.nats import Nats

CASES = read(Path(__file__).parent)


@pytest.fixture(scope="session")
def http_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """A nats-server whose streams every case makes and deletes."""
    server = Nats(tmp_path_factory.mktemp("golden-http") / "nats")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.area}: {case.name}")
async def test_case(case: Case, http_nats: Nats, tmp_path: Path) -> None:
    assert not (await play_one(case, http_nats, tmp_path)).failures


def _another_status(outcome: dict[str, object]) -> None:
    outcome["status"] = 201


def _another_body(outcome: dict[str, object]) -> None:
    outcome["body"] = {}


def _another_event(outcome: dict[str, object]) -> None:
    outcome["events"] = [{"name": "api_key.api-key.deleted", "data": {"id": "apk_nope"}}]


@pytest.mark.parametrize("spoil", [_another_status, _another_body, _another_event])
async def test_a_spoilt_outcome_fails(
    spoil: Callable[[dict[str, object]], None], nats_server: Nats, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.name == "http api-keys create: publishable")
    outcome = copy.deepcopy(case.call.outcome)
    spoil(outcome)
    spoilt = Case(case.name, case.area, case.setup, Look(case.call.step, outcome), case.then)
    assert (await play_one(spoilt, nats_server, tmp_path)).failures


def test_every_difference_stands_in_the_documentation() -> None:
    text = Path("docs/medusa-differences.md").read_text()
    assert all(f"\n### {number}. " in text for number in RULES)
