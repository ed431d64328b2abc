"""The command that moves an event store to PostgreSQL. It needs keyscope[server]."""

from typing import Annotated

import typer

from keyscope.cli.progress import progress
from keyscope.cli.server import fail, needs_the_server

TARGET = "Where it goes, postgresql://user@host/database; the password can be in PGPASSFILE or PGPASSWORD instead."


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(migrate_store)


def migrate_store(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The event store there is, sqlite:///path/to/events.db.")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help=TARGET)],
) -> None:
    """Copy an event store from SQLite to PostgreSQL, every event under the same position, and compare the two.

    Stop the services first. Broken off, it goes on where it was when it is started again; until it is through, the
    target holds no event store. Read models and the stream need nothing: they go on. Exit codes are those of
    `keyscope up`, and 65 when the target holds something else, which stays as it is.
    """
    needs_the_server()
    from services.runtime.failures import Failure
    from services.runtime.moving import move, shown

    try:
        with progress("opening") as told:
            digests = move(source, target, told)
    except Failure as failure:
        fail(failure)
    for name, digest in digests.items():
        typer.echo(f"{name:<14} {digest}")
    typer.echo(f"the event store is at {shown(target)} now: name it in KEYSCOPE_EVENT_STORE")
