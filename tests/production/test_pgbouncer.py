"""Services whose connections to PostgreSQL go through PgBouncer."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.runtime.failures import Exit
from services.runtime.verify import verify
from tests.support.nats import Nats
from tests.support.pgbouncer import BINARY, pgbouncer
from tests.support.postgres import Postgres
from tests.support.service import Service

pytestmark = pytest.mark.skipif(BINARY is None, reason="pgbouncer is not here")


async def test_session_mode(postgres: Postgres, make_nats: Callable[..., Nats], tmp_path: Path) -> None:
    with pgbouncer(tmp_path, postgres, "session") as url:
        service = Service(make_nats().url, tmp_path / "data", event_store=url)
        for number in range(2):  # the second time with sessions that others had
            await service.start()
            async with await service.connect() as ks:
                for name in ("a", "b"):
                    await ks.sales_channels.create({"id": f"sc_{number}{name}", "name": name})
                answer = await ks.query.graph(entity="sales_channel", fields=["id"])
                assert len(answer["data"]) == 2 * (number + 1)
            assert (await verify(service.settings, patience=15, progress=lambda done, total: None)).difference is None
            await service.stop()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_other_modes_are_refused(mode: str, postgres: Postgres, nats_server: Nats, tmp_path: Path) -> None:
    """Whatever would go wrong later: lost settings, a LISTEN that hears nothing, statements that are there already."""
    with pgbouncer(tmp_path, postgres, mode) as url:
        settings = {"NATS_URL": nats_server.url, "DATA_DIR": str(tmp_path / "data"), "EVENT_STORE": url}
        for service in ("commands", "relay"):
            ended = subprocess.run(
                [sys.executable, "-m", "keyscope", "run", service],
                env={**os.environ, **{f"KEYSCOPE_{name}": value for name, value in settings.items()}},
                capture_output=True, text=True, check=False, timeout=30,
            )  # fmt: skip
            assert ended.returncode == Exit.UNREACHABLE, ended.stderr
            assert "cannot be used: " in ended.stderr
            assert ("a pooler in session mode" if mode == "transaction" else "pooling mode") in ended.stderr
            assert "Traceback" not in ended.stderr
