"""`keyscope channel …`."""

from typing import Annotated

import typer

import keyscope
from keyscope.cli.session import session, stop
from keyscope.cli.show import AsJson, show
from keyscope.types import SalesChannelUpdate

app = typer.Typer(help="Sales channels.", no_args_is_help=True)

COLUMNS = ["id", "name", "description", "is_disabled", "metadata", "created_at"]
Id = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's id, sc_…")]
Ids = Annotated[list[str], typer.Argument(metavar="CHANNEL", help="The channels' ids, sc_…")]
Description = Annotated[str | None, typer.Option(help="What it is.")]
Disabled = Annotated[bool | None, typer.Option("--disabled/--enabled", help="Whether it is switched off.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    *,
    description: Description = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Switched off at first.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a channel."""

    async def work(ks: keyscope.Keyscope) -> None:
        channel = await ks.sales_channels.create({"name": name, "description": description, "is_disabled": disabled})
        show(channel, COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command("list")
def list_(
    context: typer.Context,
    *,
    search: Annotated[str | None, typer.Option(help="Words in the name or the description.")] = None,
    take: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    with_deleted: Annotated[bool, typer.Option(help="Soft-deleted ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List channels."""

    async def work(ks: keyscope.Keyscope) -> None:
        channels = await ks.sales_channels.list(
            {"q": search} if search else {}, {"take": take, "withDeleted": with_deleted}
        )
        show(channels, [*COLUMNS, "deleted_at"] if with_deleted else COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command()
def update(
    context: typer.Context,
    channel: Id,
    *,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    description: Description = None,
    disabled: Disabled = None,
    as_json: AsJson = False,
) -> None:
    """Change a channel."""
    change: SalesChannelUpdate = {}
    if name is not None:
        change["name"] = name
    if description is not None:
        change["description"] = description
    if disabled is not None:
        change["is_disabled"] = disabled
    if not change:
        stop("nothing to change: give --name, --description, --disabled or --enabled", 2)

    async def work(ks: keyscope.Keyscope) -> None:
        show(await ks.sales_channels.update(channel, change), COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command()
def delete(
    context: typer.Context,
    channels: Ids,
    *,
    permanently: Annotated[bool, typer.Option(help="Not even `--with-deleted` shows it then.")] = False,
) -> None:
    """Delete channels, and their links."""

    async def work(ks: keyscope.Keyscope) -> None:
        if permanently:
            await ks.sales_channels.delete(channels)
        else:
            await ks.sales_channels.soft_delete(channels)
        typer.echo(f"deleted {', '.join(channels)}")

    session(context).run(work)


@app.command()
def restore(context: typer.Context, channels: Ids) -> None:
    """Bring deleted channels back, and the links that went with them."""

    async def work(ks: keyscope.Keyscope) -> None:
        await ks.sales_channels.restore(channels)
        show(await ks.sales_channels.list({"id": channels}), COLUMNS)

    session(context).run(work)
