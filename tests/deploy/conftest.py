"""nats-servers that run with the very files of deploy/nats."""

import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.runtime.broker import executable
from tests.support.nats import free_port, wait_until_listening

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass(frozen=True)
class Locked:
    """A nats-server with its doors locked, and the keys to them."""

    folder: Path
    kind: str
    url: str

    def file(self, role: str) -> Path:
        """What a role proves itself with."""
        return self.folder / f"{role}.{'creds' if self.kind == 'jwt' else 'nk'}"

    def options(self, role: str) -> dict[str, Any]:
        """nats-py's arguments for a client in this role."""
        proof = "user_credentials" if self.kind == "jwt" else "nkeys_seed"
        tls = ssl.create_default_context(cafile=self.folder / "ca.pem")
        return {proof: str(self.file(role)), "tls": tls, "inbox_prefix": f"_INBOX.{role}".encode()}

    def settings(self, role: str) -> dict[str, Any]:
        """A service's settings in this role."""
        proof = "nats_credentials" if self.kind == "jwt" else "nats_nkey"
        return {proof: self.file(role), "nats_tls_ca": self.folder / "ca.pem", "nats_inbox": f"_INBOX.{role}"}


def make_keys(folder: Path) -> dict[str, str]:
    """Copy the files of deploy/nats, make every key, and the server's certificate: the variables of nkeys.conf."""
    shutil.copytree(DEPLOY / "nats", folder, dirs_exist_ok=True)
    subprocess.run([sys.executable, folder / "keys.py", folder, "--jwt"], check=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    server = ca.issue_cert("127.0.0.1", "localhost")
    server.cert_chain_pems[0].write_to_path(folder / "server.pem")
    server.private_key_pem.write_to_path(folder / "server.key")
    return dict(line.split("=") for line in (folder / "keys.env").read_text().splitlines())


def start(folder: Path, config: str, variables: Mapping[str, str], *, port: int) -> "subprocess.Popen[bytes]":
    """Run a nats-server with a file of deploy/nats."""
    certificates = {"NATS_TLS_CERT": "server.pem", "NATS_TLS_KEY": "server.key", "NATS_TLS_CA": "ca.pem"}
    environment = {name: str(folder / file) for name, file in certificates.items()}
    with (folder / f"{port}.log").open("ab") as log:
        process = subprocess.Popen(
            [executable(), "-c", folder / config],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "NATS_LISTEN": f"127.0.0.1:{port}", **environment, **variables},
        )
    wait_until_listening(port, process, folder / f"{port}.log")
    return process


@pytest.fixture(scope="module", params=["nkeys", "jwt"])
def locked(request: pytest.FixtureRequest) -> Iterator[Locked]:
    """A server as server.conf or server-jwt.conf says."""
    with tempfile.TemporaryDirectory() as path:
        folder, port = Path(path), free_port()
        variables = {**make_keys(folder), "NATS_STORE_DIR": str(folder / "store")}
        config = "server-jwt.conf" if request.param == "jwt" else "server.conf"
        process = start(folder, config, variables, port=port)
        yield Locked(folder, request.param, f"tls://127.0.0.1:{port}")
        process.terminate()
        process.wait()
