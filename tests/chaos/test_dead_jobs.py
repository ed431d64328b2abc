"""Jobs that cannot succeed end where somebody finds them, with the reason."""

import asyncio
import contextlib
import json
import subprocess
import sys

import pytest

import keyscope
from keyscope.dead import DeadJob
from services.commands import jobs
from services.commands.handlers import HANDLERS
from tests.support.nats import Nats
from tests.support.service import Service


async def dead(ks: keyscope.Keyscope, count: int = 1) -> list[DeadJob]:
    """The dead jobs, as soon as there are so many."""
    async with asyncio.timeout(30):
        while len(found := [job async for job in ks.dead_jobs.list()]) != count:
            await asyncio.sleep(0.05)
    return found


async def test_no_valid_command(ks: keyscope.Keyscope) -> None:
    job = await ks.jobs.submit("link.create", {"rubbish": 1}, command_id="wrong")
    with pytest.raises(keyscope.InvalidData):
        await job.outcome(10)
    [found] = await dead(ks)
    assert (found.command, found.command_id, found.attempts) == ("link.create", "wrong", 1)
    assert found.reason.startswith("invalid_data: ")
    assert found.body == b'{"rubbish":1}'
    await ks.dead_jobs.drop(found.number)
    assert await dead(ks, 0) == []
    with pytest.raises(keyscope.NotFound, match="there is no dead job 1"):
        await ks.dead_jobs.get(found.number)


async def test_a_failure_that_does_not_end(ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(jobs, "MOST_DELIVERIES", 3)
    monkeypatch.setattr(jobs, "TRY_AGAIN_SECONDS", 0.05)
    with monkeypatch.context() as broken:
        broken.setitem(HANDLERS, "link.create", fails)
        job = await ks.jobs.submit("link.create", [], command_id="bad luck")
        with pytest.raises(keyscope.UnexpectedState):
            await job.outcome(10)
    [found] = await dead(ks)
    assert (found.attempts, found.reason) == (3, "unexpected_state: the command failed; nothing was stored")

    with pytest.raises(keyscope.Conflict, match="less than two minutes ago"):
        await ks.dead_jobs.retry(found.number)
    await ks.nats.jetstream().delete_stream("KEYSCOPE_JOBS")  # with what it remembers of ids
    async with asyncio.timeout(30):
        while await dead(ks, len([job async for job in ks.dead_jobs.list()])):
            try:
                await ks.dead_jobs.retry(found.number)
            except Exception:  # noqa: BLE001 - the stream is not back yet
                await asyncio.sleep(0.1)
    reply = await ks.command("link.create", [], command_id="bad luck")
    assert reply["data"] == []


async def test_a_job_under_which_the_service_dies(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never answered, so the server delivers it again; that it was delivered too often is all there is to see."""
    monkeypatch.setattr(jobs, "MOST_DELIVERIES", 0)
    job = await ks.jobs.submit("sales_channel.create", {"name": "x"})
    with pytest.raises(keyscope.UnexpectedState, match="the service ended, or fell silent"):
        await job.outcome(10)
    assert [found.attempts for found in await dead(ks)] == [1]


async def test_headers_beyond_ascii(nats_server: Nats, ks: keyscope.Keyscope) -> None:
    """The id and the actor are shown as they are, and stay so when it is tried again."""
    async with await keyscope.connect(nats_server.url, actor="Käthe") as kaethe:
        job = await kaethe.jobs.submit("link.create", {"rubbish": 1}, command_id="für Käthe, 100%")
        with pytest.raises(keyscope.InvalidData):
            await job.outcome(10)
    [found] = await dead(ks)
    assert (found.command_id, found.headers["Keyscope-Actor"]) == ("für Käthe, 100%", "Käthe")
    command = [sys.executable, "-m", "keyscope", f"--server={nats_server.url}", "jobs", "list", "--json"]
    listed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert json.loads(listed.stdout)[0]["command_id"] == "für Käthe, 100%"
    await ks.nats.jetstream().delete_stream("KEYSCOPE_JOBS")  # with what it remembers of ids
    async with asyncio.timeout(30):
        while (await dead(ks))[0].number == found.number:
            with contextlib.suppress(keyscope.KeyscopeError):  # the stream is not back yet
                await ks.dead_jobs.retry(found.number)
            await asyncio.sleep(0.1)
    assert (await dead(ks))[0].headers["Keyscope-Actor"] == "Käthe"


@pytest.mark.parametrize("header", [b"a(b): 1", b"a,b: 1", b": 1", b"\xff: 1", b"a: \xff", b"no colon", b"a b: 1"])
async def test_a_dead_job_with_a_header_that_nobody_could_write(
    header: bytes, nats_server: Nats, ks: keyscope.Keyscope
) -> None:
    """It is buried without that header, instead of being delivered again for ever."""
    headers, body = b"NATS/1.0\r\nNats-Msg-Id: odd\r\n" + header + b"\r\n\r\n", b"{bad"
    reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    writer.write(b'CONNECT {"headers":true,"verbose":false}\r\n')
    writer.write(b"HPUB keyscope.job.link.create %d %d\r\n" % (len(headers), len(headers) + len(body)))
    writer.write(headers + body + b"\r\nPING\r\n")
    await reader.readuntil(b"PONG")
    assert [found.command_id for found in await dead(ks)] == ["odd"]
    writer.close()
    await writer.wait_closed()


async def test_the_command_line(nats_server: Nats, ks: keyscope.Keyscope) -> None:
    job = await ks.jobs.submit("link.create", {"rubbish": 1}, command_id="wrong")
    with pytest.raises(keyscope.InvalidData):
        await job.outcome(10)
    await dead(ks)

    async def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "keyscope", f"--server={nats_server.url}", "jobs", *arguments]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    listed, shown = await run("list"), await run("show", "1")
    assert "wrong" in listed
    assert "link.create" in listed
    assert '{"rubbish":1}' in shown
    assert "job 1 was dropped" in await run("drop", "1")
    assert "there is no dead job 1" in await run("show", "1")
