"""Settings: from the environment, shown without secrets, and refused in one sentence."""

from pathlib import Path

import pytest

from services.runtime.failures import Exit, Failure
from services.runtime.settings import load


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_need_nothing() -> None:
    settings = load()

    assert settings.embedded
    assert settings.nats_servers == ["nats://127.0.0.1:4222"]
    assert settings.event_store_url == "sqlite:///data/events.db"
    assert settings.read_model_path == Path("data/graph.db")


def test_the_environment_sets_and_an_argument_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", "nats://a:1, nats://b:2")
    monkeypatch.setenv("KEYSCOPE_DATA_DIR", "/srv/keyscope")
    monkeypatch.setenv("KEYSCOPE_LOG_FORMAT", "json")

    settings = load(data_dir=Path("/srv/other"), log_format=None)

    assert not settings.embedded
    assert settings.nats_servers == ["nats://a:1", "nats://b:2"]
    assert settings.event_store_url == "sqlite:////srv/other/events.db"
    assert settings.log_format == "json"


def test_a_file_in_the_working_folder_sets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEYSCOPE_PREFIX=shop.keyscope\nSOMETHING_ELSE=1\n")

    assert load().prefix == "shop.keyscope"


def test_what_is_printed_can_be_read_back_but_for_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", "nats://user:hidden@a:1,nats://hidden@b:2,nats://c:3")
    monkeypatch.setenv("KEYSCOPE_NATS_PASSWORD", "hidden")
    monkeypatch.setenv("KEYSCOPE_NATS_TOKEN", "hidden")
    monkeypatch.setenv("KEYSCOPE_NATS_PORT", "4333")

    text = "\n".join(load().lines())

    assert "hidden" not in text
    assert "KEYSCOPE_NATS_URL=nats://***@a:1,nats://***@b:2,nats://c:3" in text
    for name in ("NATS_URL", "NATS_PASSWORD", "NATS_TOKEN", "NATS_PORT"):
        monkeypatch.delenv(f"KEYSCOPE_{name}")
    (tmp_path / ".env").write_text(text)
    assert load().nats_port == 4333


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("NATS_PORT", "http", "KEYSCOPE_NATS_PORT: Input should be a valid integer"),
        ("NATS_PORT", "70000", "KEYSCOPE_NATS_PORT: Input should be less than or equal to 65535"),
        ("NATS_HOST", "0.0.0.0", "KEYSCOPE_NATS_HOST: the embedded NATS has no locks on its doors"),
        ("NATS_HOST", "example.org", "KEYSCOPE_NATS_HOST: "),
        ("EVENT_STORE", "mysql://x", "KEYSCOPE_EVENT_STORE: an event store is named as sqlite:///PATH"),
        ("PREFIX", "a b", "KEYSCOPE_PREFIX: String should match pattern"),
        ("REPLICAS", "2", "KEYSCOPE_REPLICAS: Input should be 1, 3 or 5"),
        ("LOG_LEVEL", "loud", "KEYSCOPE_LOG_LEVEL: Input should be"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"KEYSCOPE_{name}", value)

    with pytest.raises(Failure) as failure:
        load()

    assert str(failure.value).startswith(sentence)
    assert failure.value.exit is Exit.CONFIG
