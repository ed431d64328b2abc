"""The OpenAPI document: true of what is served. (That it is the committed one, tests/contracts/test_stale.py says.)"""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import keyscope
from keyscope.asgi import HEADER
from tests.support.http import Gateway, token

EXAMPLES = 25
SECONDS = 90
LEFT_OUT = (
    "unsupported_method",  # any other method is 404, as in Medusa
    "positive_data_acceptance",  # what a filter or a date may be, the schema cannot say
    "negative_data_rejection",  # nor that `limit=12px` is 12
)
"""Checks that the document cannot pass."""


async def test_every_route_is_documented(stranger: httpx.AsyncClient) -> None:
    document = (await stranger.get("/openapi.json")).json()
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert documented == {
        ("GET", "/admin/api-keys"),
        ("POST", "/admin/api-keys"),
        ("GET", "/admin/api-keys/{id}"),
        ("POST", "/admin/api-keys/{id}"),
        ("DELETE", "/admin/api-keys/{id}"),
        ("POST", "/admin/api-keys/{id}/revoke"),
        ("POST", "/admin/api-keys/{id}/sales-channels"),
        ("GET", "/admin/sales-channels"),
        ("POST", "/admin/sales-channels"),
        ("GET", "/admin/sales-channels/{id}"),
        ("POST", "/admin/sales-channels/{id}"),
        ("DELETE", "/admin/sales-channels/{id}"),
        ("GET", "/events"),
        ("GET", "/store/scope"),
        ("GET", "/store/authorize"),
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["security"]


@pytest.mark.timeout(180)
async def test_schemathesis_finds_no_lie(running: Gateway, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{running.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {token(exp=2**31)}", "--header", f"{HEADER}: {key['token']}"),
        *("--exclude-path", "/events", "--exclude-checks", ",".join(LEFT_OUT)),
        *("--phases", "examples,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"),
        *("--request-timeout", "10", "--generation-database", "none"),
    ]
    run = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    async with asyncio.timeout(SECONDS):
        output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()
    assert " passed" in output.decode()
