"""`keyscope up`, run as a user runs it."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import keyscope
from services.runtime.failures import Exit
from tests.support.up import Up, alive, wait_for

Start = Callable[..., Up]

NATS_SERVER, COMMANDS, READS = range(3)


async def link_something(url: str) -> str:
    """A key with one channel, created and read back: the channel's name. All services had to work for it."""
    async with await keyscope.connect(url) as ks:
        channel = await ks.sales_channels.create({"name": "Web"})
        key = await ks.api_keys.create({"title": "Shop", "type": "publishable", "created_by": "user_1"})
        await ks.link.create(
            {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}
        )
        answer = await ks.query.graph(entity="api_key", fields=["sales_channels.name"], filters={"id": key["id"]})
        name: str = answer["data"][0]["sales_channels"][0]["name"]
        return name


async def names_of_channels(url: str) -> list[str]:
    """What the read model has, once it has passed what this writes."""
    async with await keyscope.connect(url) as ks:
        await ks.api_keys.create({"title": "Last", "type": "publishable", "created_by": "user_1"})
        answer = await ks.query.graph(entity="sales_channel", fields=["name"])
        return [row["name"] for row in answer["data"]]


async def test_it_serves_and_says_what_listens_where(keyscope_up: Start, tmp_path: Path) -> None:
    up = keyscope_up().wait_ready()

    assert await link_something(up.url) == "Web"
    assert str(tmp_path / "up") in up.output
    assert len(up.output.splitlines()) < 20
    assert up.errors == ""
    assert len(up.family()) == 5
    assert (tmp_path / "up").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked_and_leaves_no_process(keyscope_up: Start, number: signal.Signals) -> None:
    up = keyscope_up().wait_ready()
    family = up.family()

    os.killpg(up.process.pid, number)  # as a terminal does on Ctrl-C

    assert up.wait() == Exit.DONE
    assert not any(map(alive, family))
    assert "Traceback" not in up.errors


def test_it_leaves_no_process_when_it_is_killed(keyscope_up: Start) -> None:
    up = keyscope_up().wait_ready()
    family = up.family()

    up.stop(signal.SIGKILL)

    wait_for(lambda: not any(map(alive, family)), seconds=5)


def test_it_leaves_no_process_when_it_is_killed_while_it_starts(keyscope_up: Start) -> None:
    up = keyscope_up()
    wait_for(lambda: len(up.family()) > 1)
    family = up.family()

    up.stop(signal.SIGKILL)

    wait_for(lambda: not any(map(alive, family)), seconds=5)


async def test_a_process_that_dies_is_started_again(keyscope_up: Start) -> None:
    up = keyscope_up().wait_ready()

    for which in (COMMANDS, READS, NATS_SERVER):
        before = up.children()
        os.kill(before[which], signal.SIGKILL)
        wait_for(lambda before=before: len(set(up.children()) - set(before)) == 1)  # type: ignore[misc]
        assert await link_something(up.url) == "Web"

    assert up.errors.count("process died, starting it again") == 3


async def test_what_was_acknowledged_is_there_after_a_restart_in_the_middle(keyscope_up: Start) -> None:
    first = keyscope_up().wait_ready()
    async with await keyscope.connect(first.url) as ks:
        names = [(await ks.sales_channels.create({"name": f"channel {n}"}))["name"] for n in range(20)]
    first.process.kill()
    first.wait()

    second = keyscope_up().wait_ready()
    async with await keyscope.connect(second.url) as ks:
        last = await ks.sales_channels.create({"name": "after"})
        answer = await ks.query.graph(entity="sales_channel", fields=["name"])

    assert sorted(row["name"] for row in answer["data"]) == sorted([*names, last["name"]])


def test_a_command_is_run_against_it_and_its_exit_code_is_passed_on(keyscope_up: Start) -> None:
    script = "import os; print('told', os.environ['KEYSCOPE_NATS_URL']); raise SystemExit(7)"

    up = keyscope_up("--", sys.executable, "-c", script)

    assert up.wait() == 7
    assert "told nats://127.0.0.1:" in up.output
    assert "Keyscope is ready" not in up.output


def test_the_log_is_json_when_asked_for(keyscope_up: Start) -> None:
    up = keyscope_up("--log-format=json", environment={"KEYSCOPE_LOG_LEVEL": "debug"}).wait_ready()
    up.stop()

    lines = [json.loads(line) for line in up.errors.splitlines()]

    assert {line["process"] for line in lines} == {"up", "commands", "reads", "http"}
    assert any(line["logger"] == "nats-server" and line["event"] == "Server is ready" for line in lines)


def refused(up: Up, exit: Exit) -> str:
    """The one sentence with which it refused to run."""
    assert up.wait() == exit, up.errors
    assert up.output == ""
    sentences = [line for line in up.errors.splitlines() if line.startswith("keyscope: ")]
    assert len(sentences) == 1, up.errors
    assert "Traceback" not in up.errors
    return sentences[0]


def test_a_port_that_is_taken(keyscope_up: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused(keyscope_up(f"--port={port}"), Exit.PORT_TAKEN)

    assert f"port {port} on 127.0.0.1 is taken by another program" in sentence


def test_a_data_folder_in_use(keyscope_up: Start, tmp_path: Path) -> None:
    first = keyscope_up().wait_ready()

    sentence = refused(keyscope_up(), Exit.IN_USE)

    assert (
        sentence
        == f"keyscope: the data folder {tmp_path / 'up'} is in use by another Keyscope (process {first.process.pid})"
    )


def test_a_data_folder_that_is_none(keyscope_up: Start, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert "there is a file in its place" in refused(keyscope_up(data_dir=file), Exit.NO_FILE)


@pytest.mark.parametrize(("name", "remedy"), [("events*.db", "put it back from a backup"), ("graph*.db", "delete it")])
def test_a_damaged_file(keyscope_up: Start, tmp_path: Path, name: str, remedy: str) -> None:
    keyscope_up().wait_ready().stop()
    (file,) = (tmp_path / "up").glob(name)
    for journal in (tmp_path / "up").glob(f"{name}-*"):
        journal.unlink()
    file.write_bytes(b"no database at all, " * 1000)

    sentence = refused(keyscope_up(), Exit.DAMAGED)

    assert str(file) in sentence
    assert remedy in sentence


def test_a_damaged_read_model_is_built_again_once_it_is_deleted(keyscope_up: Start, tmp_path: Path) -> None:
    up = keyscope_up().wait_ready()
    assert asyncio.run(link_something(up.url)) == "Web"
    up.stop()
    for file in (tmp_path / "up").glob("graph*"):
        file.unlink()

    up = keyscope_up().wait_ready()

    assert asyncio.run(names_of_channels(up.url)) == ["Web"]


def test_a_wiped_stream_is_filled_again(keyscope_up: Start, tmp_path: Path) -> None:
    up = keyscope_up().wait_ready()
    assert asyncio.run(link_something(up.url)) == "Web"
    up.stop()
    shutil.rmtree(tmp_path / "up" / "jetstream")

    up = keyscope_up().wait_ready()

    assert asyncio.run(link_something(up.url)) == "Web"
    assert asyncio.run(names_of_channels(up.url)) == ["Web", "Web"]


def test_a_wrong_setting(keyscope_up: Start) -> None:
    sentence = refused(keyscope_up(environment={"KEYSCOPE_NATS_HOST": "0.0.0.0"}), Exit.CONFIG)

    assert sentence.startswith("keyscope: KEYSCOPE_NATS_HOST: the embedded NATS has no locks on its doors")
