"""The alert rules, by Prometheus' own promtool: that it takes them, and when each of them is raised."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import DEPLOY

RULES = DEPLOY / "prometheus" / "alerts.yml"

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not here")


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


RAISED: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "KeyscopeDown": (
        {'up{job="keyscope",instance="a"}': "1x4 0x20"},
        {"job": "keyscope", "instance": "a"},
        "a does not answer",
    ),
    "KeyscopeEventStoreRefuses": (
        {'keyscope_commands_total{outcome="unavailable",command="link.create"}': "0x4 0+1x20"},
        {},
        "Commands are answered `unavailable`",
    ),
    "KeyscopeCommandsFail": (
        {'keyscope_commands_total{outcome="unexpected_state",command="link.create"}': "0x20 1x20"},  # once
        {"command": "link.create"},
        "link.create fails for a reason of Keyscope's own; the log has it",
    ),
    "KeyscopeQueueGrows": (
        {'keyscope_commands_waiting{instance="a"}': "0x4 1500x20"},
        {"instance": "a"},
        "1500 commands wait at a; beyond 2048 they are refused",
    ),
    "KeyscopeSlowCommits": (
        {
            'keyscope_batch_seconds_bucket{le="0.25"}': "0x24",
            'keyscope_batch_seconds_bucket{le="0.5"}': "0x4 0+10x20",
            'keyscope_batch_seconds_bucket{le="+Inf"}': "0x4 0+10x20",
        },
        {},
        "Batches take 497.5ms to be on disk",
    ),
    "KeyscopeReplicasCollide": (
        {"keyscope_batches_redone_total": "0+5x40", "keyscope_batch_seconds_count": "0+10x40"},
        {},
        "Replicas often change the same keys; one more of them would not help",
    ),
    "KeyscopeNoRelay": (
        {"keyscope_store_position": "5000x24"},
        {},
        "No relay publishes: read models and subscribers get no more events",
    ),
    "KeyscopeStreamBehind": (
        {
            'keyscope_relay_lag_events{instance="a"}': "0x4 5000x20",
            'keyscope_relay_lag_events{instance="b"}': "6000x24",
        },
        {},
        "The stream lacks 5000 events of the store, so read models and subscribers do too",
    ),
    "KeyscopeReadModelBehind": (
        {'keyscope_projection_lag_events{instance="q"}': "0x4 2000x20"},
        {"instance": "q"},
        "The read model of q lacks 2000 events",
    ),
    "KeyscopeReadModelStands": (
        {'keyscope_relay_position{instance="r"}': "0+500x24", 'keyscope_projection_position{instance="q"}': "0x24"},
        {"instance": "q"},
        "The read model of q does not follow the stream",
    ),
    "KeyscopeReadModelDiffers": (
        {'keyscope_self_check_differences{instance="q"}': "0x4 1x20"},
        {"instance": "q"},
        "The read model of q is not as its events say",
    ),
    "KeyscopeSelfCheckFails": (
        {'keyscope_self_checks_total{instance="q",result="failed"}': "0x4 0+12x20"},
        {"instance": "q", "result": "failed"},
        "The read model of q cannot be compared with its events",
    ),
    "KeyscopeSlowQueries": (
        {
            'keyscope_query_seconds_bucket{shape="scope",le="0.5"}': "0x24",
            'keyscope_query_seconds_bucket{shape="scope",le="1"}': "0x4 0+10x20",
            'keyscope_query_seconds_bucket{shape="scope",le="+Inf"}': "0x4 0+10x20",
        },
        {"shape": "scope"},
        "Queries of the shape scope take 995ms",
    ),
}
"""Alert: series, a sample a minute, that raise it and no other; its labels, and what it says."""

HEALTHY = {
    'up{job="keyscope",instance="a"}': "1x40",
    'keyscope_commands_total{outcome="done",command="link.create"}': "0+600x40",
    'keyscope_commands_total{outcome="not_found",command="link.create"}': "0+60x40",
    "keyscope_commands_waiting": "30x40",
    'keyscope_batch_seconds_bucket{le="0.01"}': "0+60x40",
    'keyscope_batch_seconds_bucket{le="+Inf"}': "0+60x40",
    "keyscope_batch_seconds_count": "0+60x40",
    "keyscope_batches_redone_total": "0+1x40",
    "keyscope_store_position": "0+600x40",
    'keyscope_relay_lag_events{instance="a"}': "20x40",
    'keyscope_relay_lag_events{instance="stands by"}': "5000x40",
    'keyscope_relay_position{instance="a"}': "0+600x40",
    'keyscope_projection_lag_events{instance="q"}': "20x40",
    'keyscope_projection_position{instance="q"}': "0+600x40",
    'keyscope_self_check_differences{instance="q"}': "0x40",
    'keyscope_self_checks_total{instance="q",result="equal"}': "0+12x40",
    'keyscope_self_checks_total{instance="q",result="failed"}': "0x10 1x30",
    'keyscope_query_seconds_bucket{shape="scope",le="0.01"}': "0+600x40",
    'keyscope_query_seconds_bucket{shape="scope",le="+Inf"}': "0+600x40",
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_every_rule_has_a_case() -> None:
    assert {rule["alert"] for rule in rules()} == set(RAISED)


def test_a_healthy_service_raises_none(tmp_path: Path) -> None:
    assert_raised(tmp_path, HEALTHY)


@pytest.mark.parametrize("name", RAISED)
def test_what_goes_wrong_raises_its_alert_and_no_other(tmp_path: Path, name: str) -> None:
    series, labels, says = RAISED[name]
    [rule] = [rule for rule in rules() if rule["alert"] == name]
    alert = {"exp_labels": labels | rule["labels"], "exp_annotations": rule["annotations"] | {"summary": says}}
    assert_raised(tmp_path, series, **{name: alert})


def assert_raised(folder: Path, series: dict[str, str], **alerts: Any) -> None:
    given = [{"series": name, "values": values} for name, values in series.items()]
    wanted = [
        {"alertname": name, "eval_time": "22m", "exp_alerts": [alerts[name]] if name in alerts else []}
        for name in RAISED
    ]
    case = {"interval": "1m", "input_series": given, "alert_rule_test": wanted}
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", file)
