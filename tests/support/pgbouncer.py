"""A real PgBouncer before a real PostgreSQL."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.nats import free_port
from tests.support.postgres import Postgres

BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def pgbouncer(folder: Path, postgres: Postgres, mode: str) -> Iterator[str]:
    """The URL of a store that nobody has used, behind a pooler in this mode."""
    assert BINARY is not None
    port = free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\npostgres = host=127.0.0.1 port={postgres.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\n"
    )
    config.chmod(0o644)
    # Like PostgreSQL it refuses to be root. It reads its file before it becomes somebody else.
    user = ("-u", "nobody") if os.geteuid() == 0 else ()
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([BINARY, *user, str(config)], stdout=log, stderr=log, cwd="/")
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        for _ in range(500):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (folder / "pgbouncer.log").read_text()
                time.sleep(0.02)
        yield f"{url}?{postgres.store().partition('?')[2]}"
    finally:
        process.kill()
        process.wait()
