"""The commands that look after the data where it lies: verify. They need keyscope[server]."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keyscope.cli.server import DataDir, fail, needs_the_server

if TYPE_CHECKING:
    from services.runtime.settings import Settings

NatsUrl = Annotated[str | None, typer.Option(help="The NATS to use. [default: nats://127.0.0.1:4222]")]
DIFFERENT = 1


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(verify)


def verify(
    *,
    data_dir: DataDir = None,
    nats_url: NatsUrl = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for stream and read model to catch up.")] = 10.0,
) -> None:
    """Compare event store, stream and read model, event by event and row by row, while they work.

    Exits with 0 when they agree, with 1 when not; then the first difference is named. Other exit codes are those of
    `keyscope up`.
    """
    settings = _settings(data_dir, nats_url)
    from rich.console import Console
    from rich.progress import Progress

    from services.runtime.failures import Failure, explain
    from services.runtime.verify import verify as compare

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("comparing", total=None)
        try:
            verdict = asyncio.run(
                compare(
                    settings,
                    patience=wait,
                    progress=lambda done, total: bar.update(task, completed=done, total=total),
                )
            )
        except Exception as error:
            failure = explain(error, database=settings.event_store_url, remedy="put it back from a backup")
            if not isinstance(failure, Failure):
                raise
            fail(failure)
    for name, digest in verdict.digests.items():
        typer.echo(f"{name:<12} {digest}")
    if verdict.difference:
        typer.echo(f"keyscope: {verdict.difference}", err=True)
        raise typer.Exit(DIFFERENT)
    typer.echo(f"position {verdict.position}: event store, stream and read model agree")


def _settings(data_dir: Path | None, nats_url: str | None) -> "Settings":
    needs_the_server()
    from services.runtime import logs
    from services.runtime.failures import Failure
    from services.runtime.settings import load

    try:
        settings = load(nats_url=nats_url, data_dir=data_dir)
    except Failure as failure:
        fail(failure)
    logs.configure(settings.log_format, settings.log_level, process="cli")
    return settings
