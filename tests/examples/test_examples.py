"""The examples, as they stand, against the running service."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import keyscope
from tests.support.nats import free_port
from tests.support.service import Service

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def environment(service: Service) -> dict[str, str]:
    return {**os.environ, "KEYSCOPE_NATS_URL": service.settings.nats_servers[0], "PYTHONPATH": str(ROOT)}


@asynccontextmanager
async def running(folder: Path, service: Service, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment(service),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """What the process prints, until `text` is in it."""
    printed = ""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while text not in printed:
            line = await process.stdout.readline()
            assert line, f"it ended without {text!r}:\n{printed}"
            printed += line.decode()
    return printed


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js")
@pytest.mark.timeout(120)
async def test_node(service: Service, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    async with running(folder, service, "npm", "ci", "--no-audit", "--no-fund") as npm:
        output, _ = await npm.communicate()
        assert npm.returncode == 0, output.decode()
    async with running(folder, service, "node", "link.js") as node:
        output, _ = await node.communicate()
        assert node.returncode == 0, output.decode()
    linked, event, graph = output.decode().splitlines()
    (row,) = (await ks.query.graph(entity="publishable_api_key_sales_channel", fields=["*"]))["data"]
    assert linked == f"linked {row['id']}"
    assert event == f"event keyscope.link.created {row['publishable_key_id']} {row['sales_channel_id']}"
    (key,) = json.loads(graph.removeprefix("graph "))
    assert [channel["name"] for channel in key["sales_channels"]] == ["Web shop"]


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (EXAMPLES / "node" / "package-lock.json").read_text()


async def test_faststream(service: Service, ks: keyscope.Keyscope) -> None:
    channel = await ks.sales_channels.create({"name": "Web shop"})
    key = await ks.api_keys.create({"title": "Storefront", "type": "publishable"})
    link = {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}
    await ks.link.create(link)  # type: ignore[arg-type]
    faststream = (sys.executable, "-m", "faststream", "run", "subscriber:app")
    about = f"key {key['id']}, channel {channel['id']}"
    async with running(EXAMPLES / "faststream", service, *faststream) as subscriber:
        await read_until(subscriber, f"keyscope.link.created at 3: {about}")
        await ks.link.dismiss(link)  # type: ignore[arg-type]
        await read_until(subscriber, f"keyscope.link.dismissed at 4: {about}")
    await ks.link.create(link)  # type: ignore[arg-type]
    async with running(EXAMPLES / "faststream", service, *faststream) as subscriber:
        printed = await read_until(subscriber, f"keyscope.link.created at 5: {about}")
        assert "at 3" not in printed


async def test_storefront(service: Service, ks: keyscope.Keyscope) -> None:
    channel = await ks.sales_channels.create({"name": "Web shop"})
    key = await ks.api_keys.create({"title": "Storefront", "type": "publishable"})
    await ks.link.create({"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}})
    port = str(free_port())
    async with (
        running(EXAMPLES / "storefront", service, sys.executable, "-m", "uvicorn", "shop:app", "--port", port) as shop,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        await read_until(shop, "Uvicorn running")
        assert (await http.get("/store/products")).status_code == 400
        answer = await http.get("/store/products", headers={"x-publishable-api-key": key["token"]})
        assert answer.json() == {"products": [{"title": "Coffee", "sales_channel": "Web shop"}]}
