"""Moving over from Medusa: a real PostgreSQL that holds Medusa's own schema, and what becomes of it."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import keyscope
from services.importing.importer import import_medusa
from services.importing.medusa import open_medusa
from services.store.application import Store, open_store
from tests.support.nats import Nats
from tests.support.postgres import Postgres
from tests.support.service import Service

SCHEMA = Path(__file__).with_name("medusa-2.21.2.sql").read_text()
SECRET = "sk_" + "5e" * 32
SALT = "ab" * 16

CHANNEL_COLUMNS = "id, name, description, is_disabled, metadata, created_at, updated_at, deleted_at"
CHANNELS = [
    ("sc_web", "Web", "the shop", False, '{"region": "eu"}', "2025-01-01T10:00:00.123456Z", "2025-01-02Z", None),
    ("sc_app", "App", None, True, None, "2025-01-01T11:00:00Z", "2025-01-01T11:00:00Z", None),
    ("sc_old", "Old", None, False, None, "2025-01-01T12:00:00Z", "2025-03-01Z", "2025-03-01Z"),
]
HASH = hashlib.scrypt(SECRET.encode(), salt=SALT.encode(), n=16384, r=8, p=1, dklen=64).hex()
KEY_COLUMNS = (
    "id, token, salt, redacted, title, type, created_by, created_at, revoked_by, revoked_at, updated_at, deleted_at"
)
SHOP = ("apk_1", "pk_1", "", "pk_1***k_1", "Shop", "publishable", "user_1", "2025-01-01Z")
GONE = ("apk_2", "pk_2", "", "pk_2***k_2", "Gone", "publishable", "user_1", "2025-01-01Z")
SERVER = ("apk_3", HASH, SALT, "sk_5e5***e5e", "Server", "secret", "user_1", "2025-01-01Z")
KEYS = [
    (*SHOP, None, None, "2025-01-05Z", None),
    (*GONE, "user_2", "2025-02-01Z", "2025-02-01Z", "2025-02-02Z"),
    (*SERVER, None, None, "2025-01-01Z", None),
]
LINK_COLUMNS = "publishable_key_id, sales_channel_id, id, created_at, updated_at, deleted_at"
LINKS = [
    ("apk_1", "sc_web", "pksc_1", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", None),
    ("apk_1", "sc_app", "pksc_2", "2025-01-01T13:00:00Z", "2025-01-20T00:00:00Z", "2025-01-20T00:00:00Z"),
    ("apk_1", "sc_old", "pksc_3", "2025-01-01T13:00:00Z", "2025-03-01T00:00:00.040Z", "2025-03-01T00:00:00.040Z"),
    ("apk_2", "sc_web", "pksc_4", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", None),
    ("apk_3", "sc_web", "pksc_5", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", None),
    ("apk_0", "sc_web", "pksc_6", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", None),
    ("apk_1", "sc_nope", "pksc_7", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", None),
    ("apk_9", "sc_web", "pksc_8", "2025-01-01T13:00:00Z", "2025-01-01T13:00:00Z", "2025-01-02T13:00:00Z"),
]


@pytest.fixture
def medusa(postgres: Postgres) -> Iterator[str]:
    """The URL of a database with a shop's keys, channels and links in it."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    url = postgres.url.removesuffix("/postgres") + "/shop"
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)
        insert(connection, "sales_channel", CHANNEL_COLUMNS, CHANNELS)
        insert(connection, "api_key", KEY_COLUMNS, KEYS)
        insert(connection, "publishable_api_key_sales_channel", LINK_COLUMNS, LINKS)
    yield url
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")


def insert(connection: psycopg.Connection[Any], table: str, columns: str, rows: list[Any]) -> None:
    marks = ", ".join(["%s"] * len(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


def events(store: Store) -> list[tuple[int, str, bytes]]:
    return store.recorder.notifications(0, 10_000)


def test_ids_tokens_hashes_and_times_are_the_old_ones(medusa: str, store: Store) -> None:
    with open_medusa(medusa) as database:
        report = import_medusa(database, store)

    assert (report.channels, report.keys, report.links) == (3, 3, 4)
    web, old = store.load("sc_web"), store.load("sc_old")
    assert web is not None
    assert web.state() == {
        "id": "sc_web", "name": "Web", "description": "the shop", "is_disabled": False, "metadata": {"region": "eu"},
        "created_at": "2025-01-01T10:00:00.123Z", "updated_at": "2025-01-02T00:00:00.000Z", "deleted_at": None,
        "gone": False, "restored": False, "version": 2,
    }  # fmt: skip
    assert old is not None
    assert old.state()["deleted_at"] == "2025-03-01T00:00:00.000Z"
    shop, gone, server = (store.load(id) for id in ("apk_1", "apk_2", "apk_3"))
    assert shop is not None
    assert gone is not None
    assert server is not None
    assert shop.state()["token"] == "pk_1"
    assert shop.state()["created_by"] == "user_1"
    assert shop.state()["updated_at"] == "2025-01-05T00:00:00.000Z"
    assert (gone.state()["revoked_by"], gone.state()["revoked_at"]) == ("user_2", "2025-02-01T00:00:00.000Z")
    assert gone.state()["deleted_at"] == "2025-02-02T00:00:00.000Z"
    assert (server.state()["hash"], server.state()["salt"], server.state()["token"]) == (HASH, SALT, "")


def test_links_are_as_they_were_and_know_why_they_went(medusa: str, store: Store) -> None:
    with open_medusa(medusa) as database:
        import_medusa(database, store)

    shop, gone = store.load("apk_1"), store.load("apk_2")
    assert shop is not None
    assert gone is not None
    fates = {id: (link["id"], link["fate"]) for id, link in shop.state()["links"].items()}
    assert fates == {
        "sc_web": ("pksc_1", "live"),
        "sc_app": ("pksc_2", "dismissed"),
        "sc_old": ("pksc_3", "swept"),
    }
    left_behind = gone.state()["links"]["sc_web"]
    assert (left_behind["fate"], left_behind["deleted_at"]) == ("swept", "2025-02-02T00:00:00.000Z")


def test_what_is_left_out_is_told(medusa: str, store: Store) -> None:
    with open_medusa(medusa) as database:
        report = import_medusa(database, store)

    assert report.orphans.named == [
        "pksc_6 (apk_0 - sc_web)",
        "pksc_7 (apk_1 - sc_nope)",
        "pksc_8 (apk_9 - sc_web)",
    ]
    assert report.of_secret_keys.named == ["pksc_5 (apk_3 - sc_web)"]


def test_a_dry_run_tells_the_same_and_writes_nothing(medusa: str, store: Store) -> None:
    with open_medusa(medusa) as database:
        dry = import_medusa(database, None)
    assert events(store) == []
    with open_medusa(medusa) as database:
        assert import_medusa(database, store) == dry


def test_again_it_changes_nothing(medusa: str, store: Store) -> None:
    with open_medusa(medusa) as database:
        import_medusa(database, store)
    before = events(store)
    with open_medusa(medusa) as database:
        report = import_medusa(database, store)

    assert events(store) == before
    assert (report.channels, report.keys, report.events, report.there) == (0, 0, 0, 6)


def test_broken_off_it_goes_on_where_it_was(
    medusa: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("services.importing.importer.BATCH_EVENTS", 1)
    rows = 0

    def break_off(done: int) -> None:
        nonlocal rows
        rows += done
        if rows >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_medusa(medusa) as database:
        import_medusa(database, store, advance=break_off)
    assert store.load("sc_web") is not None
    assert store.load("apk_3") is None
    with open_medusa(medusa) as database:
        import_medusa(database, store)

    whole = open_store(f"sqlite:///{tmp_path / 'whole.db'}")
    with open_medusa(medusa) as database:
        import_medusa(database, whole)
    assert [text for _, _, text in events(store)] == [text for _, _, text in events(whole)]
    whole.close()


async def test_old_tokens_open_what_they_opened(medusa: str, nats_server: Nats, tmp_path: Path) -> None:
    service = Service(nats_server.url, tmp_path / "data")
    store = open_store(service.settings.event_store_url)
    with open_medusa(medusa) as database:
        await asyncio.to_thread(import_medusa, database, store)
    store.close()

    await service.start()
    async with await service.connect(actor="tester") as ks:
        key = await ks.api_keys.authenticate(SECRET)
        assert key
        assert key["id"] == "apk_3"
        assert await ks.api_keys.authenticate("sk_" + "5e" * 31 + "5f") is False
        assert await ks.api_keys.authenticate("sk_5e5" + "0" * 58 + "e5e") is False
        await _until_relayed(ks)
        scope = await ks.query.scope("pk_1")
        assert scope["sales_channel_ids"] == ["sc_web"]
        with pytest.raises(keyscope.NotAllowed):
            await ks.query.scope("pk_2")
        await ks.sales_channels.restore("sc_old")
        answer = await ks.query.graph(entity="api_key", fields=["sales_channels.id"], filters={"id": "apk_1"})
        assert [channel["id"] for channel in answer["data"][0]["sales_channels"]] == ["sc_old", "sc_web"]
    await service.stop()


async def _until_relayed(ks: keyscope.Keyscope) -> None:
    """The client has then seen the last position, and its queries wait for it."""
    async with asyncio.timeout(30), ks.events.all("api_key.created", since="beginning") as events:
        while (await anext(events)).data["id"] != "apk_3":
            pass


def keyscope_import(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keyscope", "import", "medusa", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(medusa: str, tmp_path: Path) -> None:
    dry = keyscope_import(medusa, "--dry-run", f"--data-dir={tmp_path}")
    assert dry.stdout.startswith("would import 3 channels, 3 keys and 4 links, as 19 events\n")
    assert not (tmp_path / "events.db").exists()

    done = keyscope_import(medusa, f"--data-dir={tmp_path}")
    assert done.stdout.startswith("imported 3 channels, 3 keys and 4 links")
    assert "3 links whose key or channel is not there were left out:\n  pksc_6 (apk_0 - sc_web)\n" in done.stdout
    assert "6 keys and channels are there already" in keyscope_import(medusa, f"--data-dir={tmp_path}").stdout


def test_what_is_no_medusa_is_told_in_a_sentence(postgres: Postgres, tmp_path: Path) -> None:
    wrong = keyscope_import(postgres.url, f"--data-dir={tmp_path}")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == 'keyscope: this is no Medusa database: relation "public.sales_channel" does not exist\n'

    unreachable = keyscope_import("postgresql://user:hunter2@127.0.0.1:1/shop", f"--data-dir={tmp_path}")
    assert unreachable.returncode == 1
    assert unreachable.stderr.startswith("keyscope: the database cannot be read: connection failed")
    assert "hunter2" not in unreachable.stderr
