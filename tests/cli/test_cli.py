"""The command line, against the running service."""

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

import keyscope
from docs.generate.files import ROOT
from keyscope.cli.session import Session
from tests.cli.conftest import Run, environment, run_against
from tests.support.nats import Nats, free_port
from tests.support.service import Service


async def test_the_story_is_as_told(run: Run, ks: keyscope.Keyscope) -> None:
    ran = await run("demo")
    assert ran.code == 0, ran.errors
    assert ran.output.rstrip().endswith("All as told.")
    assert "link.created" in ran.output
    assert "link.dismissed" in ran.output
    assert await ks.query.graph(entity="api_key", fields=["id"]) == {"data": []}
    assert await ks.query.graph(entity="sales_channel", fields=["id"]) == {"data": []}


async def test_links_and_the_graph(run: Run, ks: keyscope.Keyscope) -> None:
    channel = await ks.sales_channels.create({"name": "Web shop"})
    key = await ks.api_keys.create({"title": "Storefront", "type": "publishable"})
    (link,) = (await run("link", "create", key["id"], channel["id"], "--json")).json
    assert link["sales_channel_id"] == channel["id"]

    query = json.dumps({"entity": "api_key", "fields": ["title", "sales_channels.name"]})
    row = {"id": key["id"], "title": "Storefront", "sales_channels": [{"id": channel["id"], "name": "Web shop"}]}
    assert (await run("graph", query, "--json")).json == {"data": [row]}
    header, line = (await run("graph", query)).output.splitlines()
    assert set(header.split()) == {"title", "id", "sales_channels"}
    assert {"Storefront", key["id"], channel["id"]} <= set(line.split())

    assert link["id"] in (await run("link", "dismiss", key["id"], channel["id"])).output
    assert (await run("link", "dismiss", key["id"], channel["id"])).output == "nothing\n"


async def test_what_a_token_stands_for(run: Run, ks: keyscope.Keyscope) -> None:
    channel = await ks.sales_channels.create({"name": "Web shop"})
    key = await ks.api_keys.create({"title": "Storefront", "type": "publishable"})
    await ks.link.create({"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}})
    assert (await run("scope", key["token"], "--json")).json["sales_channel_ids"] == [channel["id"]]
    assert {"Storefront", key["id"], channel["id"]} <= {*(await run("scope", key["token"])).output.split()}
    ran = await run("scope", "pk_nobody")
    assert (ran.code, ran.output, len(ran.errors.splitlines())) == (1, "", 1)


async def test_keys(run: Run) -> None:
    key = (await run("key", "create", "Storefront", "--json")).json
    assert (key["title"], key["type"], key["created_by"]) == ("Storefront", "publishable", "clerk")
    assert (await run("key", "update", key["id"], "Shop", "--json")).json["title"] == "Shop"
    later = (await run("key", "revoke", key["id"], "--in", "3600", "--json")).json
    assert later["revoked_at"] > key["created_at"]
    assert (await run("key", "revoke", key["id"], "--json")).json["revoked_by"] == "clerk"
    assert (await run("key", "delete", key["id"])).output == f"deleted {key['id']}\n"
    assert (await run("key", "list", "--json")).json == []
    assert key["id"] in (await run("key", "restore", key["id"])).output
    assert [row["id"] for row in (await run("key", "list", "--search", "shop", "--json")).json] == [key["id"]]
    assert (await run("key", "list", "--type", "secret", "--json")).json == []


async def test_channels(run: Run) -> None:
    channel = (await run("channel", "create", "Web shop", "--description", "first", "--json")).json
    assert (channel["name"], channel["description"]) == ("Web shop", "first")
    changed = (await run("channel", "update", channel["id"], "--name", "New", "--disabled", "--json")).json
    assert (changed["name"], changed["is_disabled"]) == ("New", True)
    await run("channel", "delete", channel["id"])
    assert (await run("channel", "list", "--json")).json == []
    assert channel["id"] in (await run("channel", "list", "--with-deleted")).output
    assert channel["id"] in (await run("channel", "restore", channel["id"])).output
    await run("channel", "delete", "--permanently", channel["id"])
    assert (await run("channel", "list", "--with-deleted")).output == "nothing\n"


async def test_a_secret_key_is_shown_once(run: Run) -> None:
    created = await run("key", "create", "Server", "--type", "secret")
    assert "sk_" in created.output
    token = next(word for word in created.output.split() if word.startswith("sk_") and "*" not in word)
    assert token not in (await run("key", "list")).output


async def test_a_query_from_a_file_and_from_the_standard_input(run: Run, tmp_path: Path) -> None:
    query = '{"entity": "api_key", "fields": ["id"], "pagination": {"skip": 0}}'
    (tmp_path / "query.json").write_text(query)
    assert (await run("graph", f"@{tmp_path}/query.json", "--json")).json["data"] == []
    ran = await run("graph", "-", stdin=query)
    assert ran.output.splitlines()[0] == "nothing"
    assert "count 0" in ran.output


async def test_events_so_far_and_as_they_come(run: Run, service: Service, ks: keyscope.Keyscope) -> None:
    await run("channel", "create", "Web shop")
    lines = [json.loads(line) for line in (await run("events", "--json")).output.splitlines()]
    assert [(line["type"], line["actor"]) for line in lines] == [("keyscope.sales_channel.created", "clerk")]
    assert (await run("events", "--since", "1")).output == ""
    assert "Web shop" in (await run("events", "--since", "2000-01-01")).output
    assert (await run("events", "--key", "apk_other")).output == ""

    following = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keyscope",
        "events",
        "--follow",
        env=environment(service.settings.nats_servers[0]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Who runs the tests in the background of a shell has interrupts ignored, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert following.stdout is not None
    reading = asyncio.create_task(following.stdout.readline())
    while not reading.done():  # it says nothing when it begins to listen
        await ks.sales_channels.create({"name": "Later"})
        await asyncio.wait([reading], timeout=0.2)
    assert b"Later" in reading.result()
    following.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(following.wait(), 30) == 130
    assert following.stderr is not None
    assert b"Traceback" not in await following.stderr.read()


async def test_status(run: Run, service: Service, ks: keyscope.Keyscope) -> None:
    ran = await run("status")
    assert ran.code == 0, ran.output
    assert [line.split()[:2] for line in ran.output.splitlines()] == [
        ["part", "state"],
        ["nats", "ok"],
        ["commands", "ok"],
        ["events", "ok"],
        ["query", "ok"],
    ]
    assert re.search(r"nats-server \d+\.\d+\.\d+$", ran.output.splitlines()[1].rstrip())
    assert {check["state"] for check in (await run("status", "--json")).json} == {"ok"}
    assert ks.position == 0  # asking for the status changes nothing
    await service.stop()
    ran = await run("--timeout", "0.3", "status")
    assert ran.code == 3
    assert "nobody serves" in ran.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["link", "create", "apk_nope", "sc_nope"], 1, "nope"),
        (["key", "update", "apk_nope", "x"], 1, "apk_nope"),
        (["graph", "{"], 2, "the query is not JSON"),
        (["graph", "[]"], 2, "must be a JSON object"),
        (["graph", "@/nowhere/at/all"], 2, "cannot read /nowhere/at/all"),
        (["graph", '{"entity": "nope", "fields": ["id"]}'], 1, "nope"),
        (["events", "--since", "yesterday"], 2, "--since is beginning, now, a position or a time"),
        (["channel", "update", "sc_1"], 2, "nothing to change"),
        (["key", "create", "x", "--type", "golden"], 2, "golden"),
    ],
)
async def test_what_goes_wrong_is_told_in_a_sentence(run: Run, arguments: list[str], code: int, message: str) -> None:
    ran = await run(*arguments)
    assert (ran.code, ran.output) == (code, "")
    assert message in ran.errors
    assert "Traceback" not in ran.errors


async def test_no_service_and_no_server() -> None:
    ran = await run_against(f"nats://127.0.0.1:{free_port()}", "key", "list")
    assert ran.code == 3
    assert ran.errors.startswith("keyscope: cannot connect to NATS at nats://127.0.0.1:")
    assert len(ran.errors.splitlines()) == 1


@pytest.mark.parametrize("url", ["nats://127.0.0.1:99999", "nats://", "foo://127.0.0.1:1", "nats://a:b:c"])
async def test_an_address_that_is_none(url: str) -> None:
    ran = await run_against("", "--server", url, "--timeout", "1", "key", "list")
    assert ran.code == 3
    assert ran.errors.startswith("keyscope: cannot connect to NATS at ")
    assert len(ran.errors.splitlines()) == 1


async def test_what_stands_before_the_command_is_the_servers_setting_too(tmp_path: Path) -> None:
    given = "--server", "nats://127.0.0.1:1", "--prefix", "shop", "--user", "clerk"
    lines = (await run_against("nats://127.0.0.1:2", *given, "config")).output.splitlines()
    assert {"KEYSCOPE_NATS_URL=nats://127.0.0.1:1", "KEYSCOPE_PREFIX=shop", "KEYSCOPE_NATS_USER=clerk"} <= {*lines}
    lines = (await run_against("nats://127.0.0.1:2", "config")).output.splitlines()
    assert {"KEYSCOPE_NATS_URL=nats://127.0.0.1:2", "KEYSCOPE_PREFIX=keyscope"} <= {*lines}


async def test_the_version() -> None:
    ran = await run_against("", "--version")
    assert (ran.code, ran.output) == (0, f"keyscope {version('keyscope')}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_an_output_that_cannot_be_written() -> None:
    command = [sys.executable, "-m", "keyscope", "config"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 74
    assert ran.stderr == "keyscope: the output cannot be written: No space left on device\n"


def test_an_interruption_while_the_screen_is_written(nats_server: Nats, caplog: pytest.LogCaptureFixture) -> None:
    async def work(ks: keyscope.Keyscope) -> None:
        await ks.nats.subscribe("anything")
        signal.raise_signal(signal.SIGINT)  # Ctrl-C in the middle of what does not wait

    session = Session([nats_server.url], prefix="keyscope", actor="clerk", login={}, timeout=5, settings={})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    try:
        with pytest.raises(typer.Exit) as ended:
            session.run(work)
    finally:
        signal.signal(signal.SIGINT, before)
    gc.collect()
    assert ended.value.exit_code == 130
    assert not caplog.records


@pytest.mark.parametrize("command", [["verify"], ["backup", "copy.db"], ["new-epoch"]])
def test_in_the_wrong_folder_nothing_is_made(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ran = asyncio.run(run_against(f"nats://127.0.0.1:{free_port()}", *command))
    assert (ran.code, ran.output) == (73, "")
    assert ran.errors.strip().startswith("keyscope: there is no event store data/events.db")
    assert not list(tmp_path.iterdir())


def test_help_is_light() -> None:
    """No library of the server is loaded for it, and rich only when there is a table."""
    code = (
        "import sys\nfrom keyscope.cli.app import app\n"
        "heavy = {'pydantic', 'faststream', 'eventsourcing', 'services', 'events', 'rich.table'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_completion() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "keyscope", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        check=False,
        # It looks for the shell that it runs under, which may be one that it knows no completion for.
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_KEYSCOPE_COMPLETE" in ran.stdout.upper()
