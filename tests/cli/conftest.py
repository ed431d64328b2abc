"""Runs `keyscope` as a user does: a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.service import Service


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


Run = Callable[..., Awaitable[Ran]]


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYSCOPE_")}
    return kept | {"KEYSCOPE_NATS_URL": url, "KEYSCOPE_ACTOR": "clerk", "COLUMNS": "80"}


async def run_against(url: str, *arguments: str, stdin: str = "") -> Ran:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "keyscope",
        *arguments,
        env=environment(url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin.encode())
    return Ran(process.returncode or 0, output.decode(), errors.decode())


@pytest.fixture
def run(service: Service) -> Run:
    """`await run("key", "list")` against the running service."""

    async def run(*arguments: str, stdin: str = "") -> Ran:
        return await run_against(service.settings.nats_servers[0], *arguments, stdin=stdin)

    return run
