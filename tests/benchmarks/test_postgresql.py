"""The benchmark on PostgreSQL runs, replicas and all. Nothing here judges a time."""

from pathlib import Path

import pytest

from benchmarks import machine, postgresql


@pytest.mark.timeout(120)
def test_rows_of_two_replicas(tmp_path: Path) -> None:
    asked = [row for row in postgresql.ROWS if row.name in {"link_create_c64", "link_dismiss_c32"}]
    rows = list(postgresql.rows(tmp_path / "data", 2, asked, 0.1))
    assert [row["name"] for row in rows] == [row.name for row in asked]
    for row in rows:
        assert row["rate"] > 0
        assert row["errors"] == 0
        assert row["replicas"] == 2
        assert {"nats-server", "commands", "reads", "load", "postgresql"} <= row["cpu_us_per_call"].keys()
    facts = {"busy_elsewhere_cores": 0, "machine": machine.machine(tmp_path), "versions": {"PostgreSQL": "18"}}
    table = postgresql.markdown({"facts": facts, "rows": rows}).splitlines()[-3:]
    assert len({line.count("|") for line in table}) == 1
