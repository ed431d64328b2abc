"""The configuration in deploy/nginx, on a real nginx: storefront requests pass only with a publishable key.

CI installs Debian's nginx-light; elsewhere the test runs when nginx is there.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import keyscope
from keyscope.asgi import INVALID, MISSING
from tests.support.http import Gateway, settled
from tests.support.nats import free_port

CONFIGURATION = Path("deploy/nginx/keyscope.conf")

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="there is no nginx")


async def shop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the channels that it was told."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    headers = [line.partition(": ") for line in lines[1:]]
    body = ";".join(value for name, _, value in headers if name.lower() == "x-sales-channel-ids").encode()
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()


def configuration(gateway_url: str, shop_port: int, port: int, folder: Path) -> Path:
    """The file, with the addresses of this test, and nothing outside of its folder."""
    text = CONFIGURATION.read_text().replace("127.0.0.1:9000", gateway_url.removeprefix("http://"))
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{shop_port}").replace("listen 8080", f"listen 127.0.0.1:{port}")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in names)
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}}}\n"
    )
    return file


@asynccontextmanager
async def nginx(running: Gateway, folder: Path) -> AsyncIterator[str]:
    """An nginx with that configuration, in front of a shop: its URL."""
    server = await asyncio.start_server(shop, "127.0.0.1", 0)
    port, shop_port = free_port(), server.sockets[0].getsockname()[1]
    file = configuration(running.url, shop_port, port, folder)
    process = await asyncio.create_subprocess_exec("nginx", "-c", file, "-e", folder / "error.log")
    try:
        await _listens(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()
        server.close()


async def _listens(port: int, process: asyncio.subprocess.Process) -> None:
    for _ in range(500):
        assert process.returncode is None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return
    raise TimeoutError("nginx does not listen")


async def test_nginx_asks_keyscope(running: Gateway, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    channels = [(await ks.sales_channels.create({"name": name}))["id"] for name in ("A", "B")]
    await ks.link.create(
        [{"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": id}} for id in channels]
    )
    await settled(ks)
    async with nginx(running, tmp_path) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        passed = await http.get("/products", headers={"x-publishable-api-key": key["token"]})
        assert (passed.status_code, passed.text) == (200, ",".join(channels))

        forged = {"x-publishable-api-key": key["token"], "x-sales-channel-ids": "sc_mine"}
        posted = await http.post("/carts", headers=forged, json={"email": "a@example.com"})
        assert (posted.status_code, posted.text) == (200, ",".join(channels))

        missing = await http.post("/carts", json={})
        assert (missing.status_code, missing.json()) == (400, {"type": "not_allowed", "message": MISSING})

        wrong = await http.get("/products", headers={"x-publishable-api-key": "pk_nope"})
        assert (wrong.status_code, wrong.json()) == (400, {"type": "not_allowed", "message": INVALID})

        await ks.api_keys.revoke(key["id"], {"revoked_by": "user_1"})
        async with asyncio.timeout(30):
            while (await http.get("/products", headers={"x-publishable-api-key": key["token"]})).status_code != 400:
                await asyncio.sleep(0.01)
