"""Where /healthz, /readyz and /metrics are served, and what they say of the disk."""

import urllib.request
from pathlib import Path

import pytest

from services.runtime import health
from services.runtime.failures import Exit, Failure
from services.runtime.health import Health, served
from services.runtime.settings import Settings
from tests.support.nats import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::"])
def test_on_any_address(host: str) -> None:
    port = free_port()
    settings = Settings(metrics_host=host, metrics_port=port)
    with served(Health(settings), settings):
        at = "[::1]" if ":" in host else "127.0.0.1"
        with urllib.request.urlopen(f"http://{at}:{port}/healthz", timeout=5) as answer:
            assert answer.read() == b"ok\n"


def test_an_address_that_is_not_ours_is_a_wrong_setting() -> None:
    settings = Settings(metrics_host="192.0.2.1", metrics_port=free_port())
    wrong = pytest.raises(Failure, match=r"KEYSCOPE_METRICS_HOST: cannot listen on 192\.0\.2\.1")
    with wrong as failure, served(Health(settings), settings):
        pass
    assert failure.value.exit is Exit.CONFIG


def test_a_port_that_is_taken() -> None:
    settings = Settings(metrics_port=free_port())
    taken = pytest.raises(Failure, match="KEYSCOPE_METRICS_PORT")
    with served(Health(settings), settings), taken as failure, served(Health(settings), settings):
        pass
    assert failure.value.exit is Exit.PORT_TAKEN


def test_every_disk_that_is_written_to_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("data", "store", "model")]
    for folder in folders:
        folder.mkdir()
    settings = Settings(
        data_dir=folders[0], event_store=f"sqlite:///{folders[1] / 'events.db'}", read_model=folders[2] / "graph.db"
    )
    monkeypatch.setattr(health, "LEAST_FREE", 0)
    monkeypatch.setattr(health, "CHECKS", {})
    asked = Health(settings)
    asked.serving = True
    assert asked.ready() == []
    monkeypatch.setattr(health, "LEAST_FREE", 2**62)
    said = asked.ready()
    assert len(said) == 3
    for folder, line in zip(sorted(folders), sorted(said, key=lambda line: line.rpartition(" ")[2]), strict=True):
        assert line.startswith("disk: ")
        assert line.endswith(f" MB are free at {folder}")
    monkeypatch.setattr(health, "LEAST_FREE", 0)
    assert asked.ready() == []
