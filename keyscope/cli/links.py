"""`keyscope link …`."""

from typing import Annotated

import typer

import keyscope
from keyscope.cli.session import session
from keyscope.cli.show import AsJson, show
from keyscope.types import LinkDefinition

app = typer.Typer(help="Link keys with sales channels.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, apk_…")]
Channels = Annotated[list[str], typer.Argument(metavar="CHANNEL", help="The channels' ids, sc_…")]
COLUMNS = ["id", "publishable_key_id", "sales_channel_id", "created_at", "deleted_at"]


@app.command()
def create(context: typer.Context, key: Key, channels: Channels, *, as_json: AsJson = False) -> None:
    """Link a key with channels, all of them or none."""

    async def work(ks: keyscope.Keyscope) -> None:
        show(await ks.link.create(_pairs(key, channels)), COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command()
def dismiss(context: typer.Context, key: Key, channels: Channels, *, as_json: AsJson = False) -> None:
    """Take links of a key away, all of them or none."""

    async def work(ks: keyscope.Keyscope) -> None:
        show(await ks.link.dismiss(_pairs(key, channels)), COLUMNS, as_json=as_json)

    session(context).run(work)


def _pairs(key: str, channels: list[str]) -> list[LinkDefinition]:
    return [{"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}} for channel in channels]
