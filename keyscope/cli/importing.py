"""`keyscope import …`: moving over from elsewhere. It needs keyscope[server], and writes the event store itself."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from keyscope.cli.progress import progress
from keyscope.cli.server import DataDir, fail, needs_the_server, settings_of

if TYPE_CHECKING:
    from services.importing.importer import Report, Rows
    from services.runtime.settings import Settings
    from services.store.application import Store

app = typer.Typer(help="Move over from elsewhere.", no_args_is_help=True)

SHOWN = 20
REFUSED = 1


DATABASE = (
    "Medusa's database, postgresql://USER@HOST/DATABASE; the password can be in PGPASSFILE or PGPASSWORD instead."
)


@app.callback()
def main() -> None:
    """Move over from elsewhere."""


@app.command()
def medusa(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help=DATABASE)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read everything, write nothing.")] = False,
    schema: Annotated[str, typer.Option(help="The schema of Medusa's tables.")] = "public",
    data_dir: DataDir = None,
) -> None:
    """Import keys, channels and links from Medusa, deleted ones too, with their ids, tokens, hashes and times.

    Medusa may go on running, and so may Keyscope. What Keyscope has already stays as it is, so the import can be broken
    off and repeated. Secret keys work as before. Exit codes: 0 done, 1 refused, 73 and 78 as for `keyscope up`.
    """
    needs_the_server()
    from services.importing.importer import CannotImport, import_medusa
    from services.importing.medusa import NotMedusa, open_medusa
    from services.runtime.failures import Failure

    try:
        with ExitStack() as stack:
            database = stack.enter_context(open_medusa(url, schema))
            total, done = sum(database.counts()), 0
            store = None if dry_run else _store(stack, settings_of(context, data_dir=data_dir))
            told = stack.enter_context(progress("importing"))

            def advance(rows: int) -> None:
                nonlocal done
                done += rows
                told("importing", done, total)

            report = import_medusa(database, store, advance=advance)
    except (NotMedusa, CannotImport) as error:
        typer.echo(f"keyscope: {error}", err=True)
        raise typer.Exit(REFUSED) from None
    except Failure as failure:
        fail(failure)
    typer.echo("\n".join(_lines(report, dry_run=dry_run)))


def _store(stack: ExitStack, settings: "Settings") -> "Store":
    from services.runtime.failures import explain
    from services.store.application import open_store

    url = settings.event_store_url
    try:
        store = open_store(url)
    except Exception as error:
        failure = explain(error, database=url.removeprefix("sqlite:///"), remedy="put it back from a backup")
        if failure is None:
            raise
        raise failure from error
    stack.callback(store.close)
    return store


def _lines(report: "Report", *, dry_run: bool) -> list[str]:
    done = "would import" if dry_run else "imported"
    lines = [
        f"{done} {report.channels} channels, {report.keys} keys and {report.links} links, as {report.events} events",
    ]
    if report.there:
        lines.append(f"{report.there} keys and channels are there already, and stay as they are")
    lines += _left_out(report.orphans, "links whose key or channel is not there were left out")
    lines += _left_out(report.of_secret_keys, "links of secret keys were left out")
    return lines


def _left_out(rows: "Rows", why: str) -> list[str]:
    if not rows.count:
        return []
    named = [f"  {name}" for name in rows.named[:SHOWN]]
    more = [f"  and {rows.count - SHOWN} more"] if rows.count > SHOWN else []
    return [f"{rows.count} {why}:", *named, *more]
