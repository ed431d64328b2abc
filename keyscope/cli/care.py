"""The commands that look after the data where it lies: verify, rebuild, backup, restore, new-epoch."""

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from keyscope.cli.progress import Told, progress
from keyscope.cli.server import DataDir, NatsUrl, fail, needs_the_server, settings_of
from keyscope.cli.show import AsJson, print_json

if TYPE_CHECKING:
    from services.runtime.settings import Settings

DIFFERENT = 1
Result = TypeVar("Result")


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (verify, rebuild, backup, restore, new_epoch):
        app.command()(command)


def verify(
    context: typer.Context,
    *,
    data_dir: DataDir = None,
    nats_url: NatsUrl = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for stream and read model to catch up.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Compare event store, stream and read model, event by event and row by row, while they work.

    Exits with 0 when they agree, with 1 when not; then the first difference is named. Other exit codes, those of
    `keyscope up`, say that they could not be compared.
    """
    settings = _settings(context, data_dir=data_dir, nats_url=nats_url)
    from keyscope.servers import without_password
    from services.runtime.failures import explain
    from services.runtime.verify import verify as compare

    try:
        with progress("comparing") as told:
            verdict = asyncio.run(
                compare(settings, patience=wait, progress=lambda done, total: told("comparing", done, total))
            )
    except Exception as error:
        database = without_password(settings.event_store_url)
        failure = explain(error, database=database, remedy="put it back from a backup")
        if failure is None:
            raise
        fail(failure)
    if as_json:
        print_json(dataclasses.asdict(verdict))
    else:
        for name, digest in verdict.digests.items():
            typer.echo(f"{name:<12} {digest}")
        agree = "do not agree" if verdict.difference else "agree"
        typer.echo(f"position {verdict.position}: event store, stream and read model {agree}")
    if verdict.difference:
        typer.echo(f"keyscope: {verdict.difference}", err=True)
        raise typer.Exit(DIFFERENT)


def rebuild(
    context: typer.Context,
    *,
    data_dir: DataDir = None,
    nats_url: NatsUrl = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the query service to go over.")] = 60.0,
) -> None:
    """Build the read model anew from the events, beside the present one, while queries are answered.

    It is verified by digest, row by row, and takes the place of the present one only then. With the program of a newer
    release, while the older one still runs, it builds the read model that the newer one will need.

    Exits with 0 when it is in use (or will be at the next start, if no query service runs), with 1 when it is not: the
    first difference is named, or that the service has not gone over in time. Other exit codes are those of
    `keyscope up`.
    """
    settings = _settings(context, data_dir=data_dir, nats_url=nats_url)
    from services.runtime.failures import explain
    from services.runtime.rebuild import rebuild as build

    try:
        with progress("building") as told:
            rebuilt = asyncio.run(build(settings, patience=wait, progress=told))
    except Exception as error:
        failure = explain(error, database=settings.read_model_path, remedy="delete it, it is built again")
        if failure is None:
            raise
        fail(failure)
    if rebuilt.difference:
        typer.echo(f"keyscope: not used: {rebuilt.difference}", err=True)
        raise typer.Exit(DIFFERENT)
    typer.echo(f"{rebuilt.path}: built from the events up to position {rebuilt.position}, and verified")
    if not rebuilt.in_use:
        typer.echo(f"keyscope: the query service has not gone over to it in {wait:g} s: restart it", err=True)
        raise typer.Exit(DIFFERENT)


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; it must not be there yet.", dir_okay=False)],
    *,
    data_dir: DataDir = None,
) -> None:
    """Copy the event store while it works: everything else can be made from it.

    The copy is a file of SQLite's, whether the event store is one too or is in PostgreSQL, and shows the store as it is
    at one instant. Killed, it leaves no copy; start it again. Exit codes are those of `keyscope up`.
    """
    from services.runtime import backup as copying

    position = _do(lambda settings, told: copying.backup(settings, file, told), context, data_dir)
    typer.echo(f"{file}: the event store at position {position}")


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `keyscope backup` has made.", dir_okay=False)],
    *,
    data_dir: DataDir = None,
) -> None:
    """Make a copy the event store of a machine that has none. It begins a new epoch.

    The event store is where KEYSCOPE_EVENT_STORE says, in SQLite or PostgreSQL, wherever the copy was made. Killed, it
    leaves no event store; start it again. Exit codes are those of `keyscope up`.

    A new epoch: events that were published after the copy was made are gone, so the relay makes the stream anew, and
    read models build themselves anew. Subscribers have seen events that are no more: let them begin again.
    """
    from services.runtime import backup as copying

    position, epoch = _do(lambda settings, told: copying.restore(settings, file, told), context, data_dir)
    typer.echo(f"the event store is at position {position}, in epoch {epoch.id}; now start the service")


def new_epoch(context: typer.Context, *, data_dir: DataDir = None) -> None:
    """Have stream and read models made anew from the event store as it is: the way out after an older copy of it.

    Stop the service before, start it afterwards.
    """
    from services.runtime import backup as copying

    epoch = _do(lambda settings, _: copying.new_epoch(settings), context, data_dir)
    typer.echo(f"epoch {epoch.id} begins; now start the service")


def _do(work: "Callable[[Settings, Told], Result]", context: typer.Context, data_dir: Path | None) -> "Result":
    settings = _settings(context, data_dir=data_dir)
    from services.runtime.failures import Failure

    try:
        with progress("opening") as told:
            return work(settings, told)
    except Failure as failure:
        fail(failure)


def _settings(context: typer.Context, **given: Any) -> "Settings":
    needs_the_server()
    from services.runtime import logs
    from services.runtime.failures import Failure

    try:
        settings = settings_of(context, **given)
    except Failure as failure:
        fail(failure)
    logs.configure(settings.log_format, settings.log_level, process="cli", hidden=settings.hidden())
    return settings
