"""Medusa's own client, @medusajs/js-sdk from npm, drives keys, channels and links against Keyscope unchanged."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

import keyscope
from tests.support.http import Gateway

HERE = Path(__file__).parent / "sdk"


@pytest.fixture(scope="session")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client installed."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("sdk")
    for file in HERE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True, timeout=100)
    return folder


@pytest.mark.timeout(240)
async def test_medusas_client_works_unchanged(sdk: Path, running: Gateway, ks: keyscope.Keyscope) -> None:
    secret = await ks.api_keys.create({"title": "client", "type": "secret", "created_by": "tester"})
    node = await asyncio.create_subprocess_exec(
        "node", "drive.mjs", running.url, secret["token"], cwd=sdk, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await node.communicate()
    assert node.returncode == 0, output.decode()
    assert output.decode() == "done\n"
