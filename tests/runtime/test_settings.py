"""Settings: from the environment, shown without secrets, and refused in one sentence."""

from pathlib import Path

import pytest

from services.runtime.credentials import options
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
    monkeypatch.setenv("KEYSCOPE_NATS_CREDENTIALS", "service.creds")
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


@pytest.mark.parametrize(
    "proof", ["NATS_USER", "NATS_TOKEN", "NATS_CREDENTIALS", "NATS_NKEY", "NATS_TLS_CERT", "INSECURE"]
)
def test_a_nats_elsewhere_needs_credentials_or_a_word_that_it_does_not(
    monkeypatch: pytest.MonkeyPatch, proof: str
) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", "nats://127.0.0.1:4222,nats://nats.example.org:4222")
    with pytest.raises(Failure, match=r"KEYSCOPE_NATS_URL: nats://nats.example.org:4222 is not on this machine"):
        load()
    monkeypatch.setenv(f"KEYSCOPE_{proof}", "1")
    assert load().nats_servers[1] == "nats://nats.example.org:4222"


@pytest.mark.parametrize(
    "url",
    ["nats://10.0.0.1", "nats://0.0.0.0:4222", "nats://[::]:4222", "nats://[2001:db8::1]:4222", "nats://localhost.net",
     "nats-1:4222", "nats://@far:4222", "nats://:pw@far:4222", "tls://far", "nats://127.1:4222"],
)  # fmt: skip
def test_what_is_not_surely_this_machine_is_elsewhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", url)
    with pytest.raises(Failure, match="is not on this machine"):
        load()


@pytest.mark.parametrize(
    "url", ["nats://localhost:4222", "tls://127.0.0.2:4222", "nats://[::1]:4222", "127.0.0.1", "nats://me:pw@far:4222"]
)
def test_a_nats_on_this_machine_or_with_credentials_in_its_url_needs_no_more(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", url)
    assert load().nats_url == url


def test_secrets_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    (tmp_path / "store").write_text("postgresql://keyscope:hidden@db/keyscope\n")
    monkeypatch.setenv("KEYSCOPE_NATS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("KEYSCOPE_EVENT_STORE_FILE", str(tmp_path / "store"))
    settings = load()
    assert settings.nats_password is not None
    assert settings.nats_password.get_secret_value() == "hidden"
    assert settings.event_store == "postgresql://keyscope:hidden@db/keyscope"
    assert "hidden" not in "\n".join(settings.lines())
    assert "hidden" not in repr(settings.nats_password)
    monkeypatch.setenv("KEYSCOPE_NATS_PASSWORD_FILE", str(tmp_path / "nothing"))
    with pytest.raises(Failure, match="nothing cannot be read"):
        load()


@pytest.mark.parametrize("name", ["nats_credentials", "nats_nkey", "nats_tls_ca", "nats_tls_cert"])
def test_a_file_that_proves_nothing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match=r"nowhere\.pem cannot be read") as failure:
        options(load(**{name: tmp_path / "nowhere.pem"}))
    assert failure.value.exit is Exit.CONFIG


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(Failure, match=r"ca\.pem: "):
        options(load(nats_tls_ca=tmp_path / "ca.pem"))
