"""No secret is shown: not in a log, however much is logged, not in a message, not to who lists the processes."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

import keyscope
from keyscope.servers import without_password
from services.importing.medusa import NotMedusa, open_medusa
from services.runtime.failures import Failure
from services.runtime.moving import move
from services.runtime.settings import load
from services.store.application import open_store
from services.store.postgres_connections import Place
from tests.production.replica import Replica
from tests.support.nats import Nats, free_port
from tests.support.up import Up, wait_for

SECRET = "hush-hush"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hush-hush@h/db",
        "postgresql://u:x/hush-hush@h/db",
        "postgresql://u:x#hush-hush@h/db",
        "postgresql://u:x?hush-hush@h/db",
        "postgresql://u:x,hush-hush@h/db",
        "postgresql://u:x@hush-hush@h/db",
        "nats://c:3,nats://u:hush-hush@a:1,nats://hush-hush@b:2",
        "u:hush-hush@a:4222",
        "nats://c:3,u:hush-hush@a:4222",
    ],
)
def test_a_password_is_masked_whatever_is_in_it(url: str) -> None:
    shown = without_password(url)
    assert SECRET not in shown
    assert "***@" in shown


def test_what_has_no_password_is_shown_as_it_is() -> None:
    for text in ("nats://a:1,nats://b:2", "sqlite:////srv/a@b/events.db", "postgresql://h/db?schema=shop", "/keyscope"):
        assert without_password(text) == text


def url_of_a_store(folder: Path) -> str:
    url = f"sqlite:///{folder / 'events.db'}"
    open_store(url).close()
    return url


WRONG = ["100%hush-hush", "hush-hush x", "x@hush-hush", "x/hush-hush", "x?hush-hush", "hush-hush]", "[hush-hush"]


@pytest.mark.parametrize("password", WRONG)
def test_a_url_that_libpq_would_quote_is_refused_without_quoting_it(
    password: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"postgresql://u:{password}@127.0.0.1:1/db"
    with pytest.raises(ValueError, match="percent-encoded") as error:
        Place.of(url)
    assert SECRET not in str(error.value)
    with pytest.raises(NotMedusa, match="percent-encoded") as refused, open_medusa(url):
        pass
    assert SECRET not in str(refused.value)
    with pytest.raises(Failure, match="percent-encoded") as failure:
        move(url_of_a_store(tmp_path), url, lambda *_: None)
    assert SECRET not in str(failure.value)
    monkeypatch.setenv("KEYSCOPE_EVENT_STORE", url)
    with pytest.raises(Failure, match=r"KEYSCOPE_EVENT_STORE: .*percent-encoded") as failure:
        load()
    assert SECRET not in str(failure.value)


@pytest.mark.parametrize("url", ["nats://u:x/hush-hush@a:1", "nats://u:x#hush-hush@a:1", "nats://u:[hush-hush@a:1"])
def test_a_nats_url_that_is_none_is_refused_without_quoting_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSCOPE_NATS_URL", url)
    with pytest.raises(Failure, match="KEYSCOPE_NATS_URL: ") as failure:
        load()
    assert SECRET not in str(failure.value)


async def test_the_client_does_not_say_where_it_could_not_connect_with_the_password() -> None:
    port = free_port()
    with pytest.raises(keyscope.Unavailable, match=rf"127\.0\.0\.1:{port}") as error:
        await keyscope.connect(f"nats://me:{SECRET}@127.0.0.1:{port}", timeout=2)
    assert SECRET not in str(error.value)


def test_nor_does_the_command_line() -> None:
    environment = {**os.environ, "KEYSCOPE_NATS_URL": f"nats://me:{SECRET}@127.0.0.1:{free_port()}"}
    for command in (["status"], ["key", "list"], ["config"]):
        done = subprocess.run(
            [sys.executable, "-m", "keyscope", *command],
            env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert SECRET not in done.stdout + done.stderr, command


LOCKED = f'\nauthorization {{ users: [{{user: "me", password: "{SECRET}"}}] }}\n'
CASES: dict[str, dict[str, str]] = {
    "in the URL": {"NATS_URL": f"nats://me:{SECRET}@127.0.0.1:{{port}}"},
    "a setting": {"NATS_URL": "nats://127.0.0.1:{port}", "NATS_USER": "me", "NATS_PASSWORD": SECRET},
    "a wrong one": {"NATS_URL": "nats://127.0.0.1:{port}", "NATS_USER": "you", "NATS_PASSWORD": SECRET},
    "a wrong token": {"NATS_URL": "nats://127.0.0.1:{port}", "NATS_TOKEN": SECRET},
    "a wrong URL": {"NATS_URL": f"nats://you:{SECRET}@127.0.0.1:{{port}}"},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("format", ["json", "console"])
def test_a_service_tells_no_secret(case: str, format: str, tmp_path: Path) -> None:
    """With a broker that takes or refuses its password, and goes away; with a database that cannot be reached."""
    broker = Nats(tmp_path / "nats", LOCKED)
    broker.start()
    port = free_port()
    settings = {name: value.format(port=broker.port) for name, value in CASES[case].items()}
    settings |= {
        "EVENT_STORE": f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/shop",
        "HTTP_JWT_SECRET": SECRET * 4,
        "HTTP_JWT_JWKS_URL": f"http://me:{SECRET}@127.0.0.1:{free_port()}/keys",
        "HTTP_PORT": "0", "DRAIN_SECONDS": "1", "METRICS_PORT": str(port), "LOG_LEVEL": "debug", "LOG_FORMAT": format,
    }  # fmt: skip
    replica = Replica("commands query gateway", tmp_path / "replica", settings).start()
    try:
        if "wrong" in case:
            assert replica.process.wait(30) == 69
        else:
            wait_for(lambda: "the event store cannot be reached" in replica.log)
            seen = page(port, "/readyz") + page(port, "/metrics")
            assert "starting" in seen
            assert SECRET not in seen
            http = re.search(r"serves HTTP.*?(http://[\d.:]+)", replica.log)
            if http:
                page(
                    int(http[1].rpartition(":")[2]),
                    "/admin/api-keys",
                    "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.eA",
                )
            broker.kill()
            wait_for(lambda: "disconnected" in replica.log)
            assert SECRET not in Path(f"/proc/{replica.process.pid}/cmdline").read_text()
            replica.stop()
    finally:
        replica.kill()
        broker.stop()
    assert SECRET not in replica.log
    assert "Traceback" not in replica.log, replica.log


def page(port: int, path: str, authorization: str = "") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


def test_up_shows_no_secret_to_who_lists_the_processes(tmp_path: Path, keyscope_up: Callable[..., Up]) -> None:
    broker = Nats(tmp_path / "nats", LOCKED)
    broker.start()
    try:
        environment = {
            "KEYSCOPE_NATS_URL": f"nats://me:{SECRET}@127.0.0.1:{broker.port}",
            "KEYSCOPE_HTTP_JWT_SECRET": SECRET * 4,
            "KEYSCOPE_LOG_LEVEL": "debug",
        }
        up = keyscope_up(environment=environment).wait_ready()
        family = up.family()
        assert len(family) == 4
        assert SECRET not in json.dumps(list(family.values()))
        assert up.stop() == 0
        assert SECRET not in up.output + up.errors
    finally:
        broker.stop()
