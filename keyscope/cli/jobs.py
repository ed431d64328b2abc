"""`keyscope jobs`: what became of durable commands that could not be carried out."""

from typing import Annotated

import typer

import keyscope
from keyscope.cli.session import session
from keyscope.cli.show import AsJson, print_json, table

app = typer.Typer(no_args_is_help=True, help="Durable commands that were given up.")

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As `keyscope jobs list` shows it.", min=1)]


@app.command("list")
def list_jobs(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show all of them, the oldest first."""

    async def work(ks: keyscope.Keyscope) -> None:
        names = ("number", "command", "command_id", "attempts", "reason")
        rows = [{name: getattr(job, name) for name in names} async for job in ks.dead_jobs.list()]
        print_json(rows) if as_json else table(rows, list(names))

    session(context).run(work)


@app.command()
def show(context: typer.Context, number: Number) -> None:
    """Show one of them: its headers, and the command as it was sent."""

    async def work(ks: keyscope.Keyscope) -> None:
        job = await ks.dead_jobs.get(number)
        typer.echo(f"command: {job.command}")
        for name, value in job.headers.items():
            typer.echo(f"{name}: {value}")
        typer.echo(f"\n{job.body.decode(errors='backslashreplace')}")

    session(context).run(work)


@app.command()
def retry(context: typer.Context, number: Number) -> None:
    """Submit it again, under its old command id."""

    async def work(ks: keyscope.Keyscope) -> None:
        await ks.dead_jobs.retry(number)
        typer.echo(f"job {number} was submitted again")

    session(context).run(work)


@app.command()
def drop(context: typer.Context, number: Number) -> None:
    """Forget it."""

    async def work(ks: keyscope.Keyscope) -> None:
        await ks.dead_jobs.drop(number)
        typer.echo(f"job {number} was dropped")

    session(context).run(work)
