"""The runner finds what is wrong: recorded outcomes that are spoilt must fail."""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.golden.runner.cases import OWN, Case
from tests.golden.runner.differences import RULES
from tests.golden.runner.judging import Verdict
from tests.golden.runner.stage import play_one
from tests.support.nats import Nats

DIFFERENCES = Path("docs/medusa-differences.md")


def recorded(area: str, name: str) -> dict[str, Any]:
    """One recorded case, to be spoilt."""
    cases = json.loads((OWN / f"{area}.json").read_text())["cases"]
    (found,) = [case for case in cases if case["name"] == name]
    return copy.deepcopy(found)


async def played(case: dict[str, Any], nats: Nats, folder: Path) -> Verdict:
    """Its verdict."""
    return await play_one(Case.read(case), nats, folder)


def _another_title(case: dict[str, Any]) -> None:
    case["outcome"]["result"]["data"][0]["title"] = "Another"


def _another_order(case: dict[str, Any]) -> None:
    case["outcome"]["result"]["data"].reverse()


def _a_row_less(case: dict[str, Any]) -> None:
    del case["outcome"]["result"]["data"][0]


def _a_row_more(case: dict[str, Any]) -> None:
    case["outcome"]["result"]["data"].append({"title": "More"})


def _no_event(case: dict[str, Any]) -> None:
    del case["outcome"]["events"]


def _two_events(case: dict[str, Any]) -> None:
    case["outcome"]["events"] *= 2


def _an_event_of_another(case: dict[str, Any]) -> None:
    case["outcome"]["events"][0]["data"]["id"] = "$sc1.id"


def _a_link_less(case: dict[str, Any]) -> None:
    del case["then"][0]["outcome"]["result"][0]


def _still_linked(case: dict[str, Any]) -> None:
    case["then"][0]["outcome"]["result"][0]["deleted_at"] = None


def _another_message(case: dict[str, Any]) -> None:
    case["outcome"]["error"]["message"] += "!"


def _another_type(case: dict[str, Any]) -> None:
    case["outcome"]["error"]["type"] = "conflict"


def _an_error(case: dict[str, Any]) -> None:
    case["outcome"] = {"error": {"type": "not_allowed", "message": "no"}}


@pytest.mark.parametrize(
    ("area", "name", "spoil"),
    [
        ("filters", "filters: array is IN", _another_title),
        ("filters", "filters: array is IN", _another_order),
        ("filters", "filters: array is IN", _a_row_less),
        ("filters", "filters: array is IN", _a_row_more),
        ("filters", "filters: array is IN", _an_error),
        ("link_create", "link_create: one pair", _no_event),
        ("link_create", "link_create: one pair", _two_events),
        ("link_create", "link_create: one pair", _an_event_of_another),
        ("link_create", "link_create: one pair", _a_link_less),
        ("link_create", "link_create: one pair", _an_error),
        ("api_key_module", "api_key.revoke: without revoked_by", _another_message),
        ("api_key_module", "api_key.revoke: without revoked_by", _another_type),
        ("entity", 'entity: "apiKey"', _another_message),
        ("compensation", "compensation: createRemoteLinkStep dismisses what it created", _still_linked),
        ("compensation", "compensation: createRemoteLinkStep dismisses what it created", _another_message),
    ],
)
async def test_a_spoilt_outcome_fails(
    area: str, name: str, spoil: Callable[[dict[str, Any]], None], nats_server: Nats, tmp_path: Path
) -> None:
    case = recorded(area, name)
    spoil(case)
    assert (await played(case, nats_server, tmp_path / "data")).failures


async def test_a_setup_that_fails_is_a_failure(nats_server: Nats, tmp_path: Path) -> None:
    case = recorded("filters", "filters: array is IN")
    case["setup"].append({"op": "sales_channel.delete", "data": ["sc_nope"]})
    assert (await played(case, nats_server, tmp_path / "data")).failures


async def test_an_operation_that_does_not_exist_is_a_failure(nats_server: Nats, tmp_path: Path) -> None:
    case = recorded("filters", "filters: array is IN")
    case["call"] = {"op": "query.nope"}
    assert (await played(case, nats_server, tmp_path / "data")).failures


def test_every_difference_stands_in_the_documentation() -> None:
    documented = {int(number) for number in re.findall(r"^### (\d+)\. ", DIFFERENCES.read_text(), re.MULTILINE)}
    assert {rule.number for rule in RULES} - {0} <= documented


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    """The runner as `make golden` calls it; the report is written where it runs: in the folder."""
    command = [sys.executable, "-m", "tests.golden.runner", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_a_folder_is_played_and_reported(tmp_path: Path) -> None:
    good, bad = recorded("entity", 'entity: "sales_channels"'), recorded("entity", 'entity: "sales_channels"')
    bad["name"], bad["outcome"] = "bad", {"result": {"data": []}}
    (tmp_path / "entity.json").write_text(json.dumps({"cases": [good, bad]}))
    over_http = recorded("http/http_auth", "auth: wrong bearer")
    (tmp_path / "http_auth.json").write_text(json.dumps({"cases": [over_http]}))
    done = run(tmp_path)
    assert done.returncode == 1
    assert "entity · bad" in done.stdout
    written = json.loads((tmp_path / "golden-report.json").read_text())
    assert {case["name"]: case["status"] for case in written["entity"]} == {good["name"]: "same", "bad": "failing"}
    assert [case["status"] for case in written["http_auth"]] == ["same"]


def test_a_folder_without_cases_is_told(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
