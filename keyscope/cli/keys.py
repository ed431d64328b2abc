"""`keyscope key …`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

import keyscope
from keyscope.cli.session import session
from keyscope.cli.show import AsJson, show

app = typer.Typer(help="API keys, publishable and secret.", no_args_is_help=True)

COLUMNS = ["id", "type", "title", "token", "redacted", "revoked_at", "created_at"]
Id = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, apk_…")]
Ids = Annotated[list[str], typer.Argument(metavar="KEY", help="The keys' ids, apk_…")]


Title = Annotated[str, typer.Argument(metavar="TITLE", help="What it is called.")]


class KeyType(StrEnum):
    """What a key is for."""

    PUBLISHABLE = "publishable"
    SECRET = "secret"  # noqa: S105


@app.command()
def create(
    context: typer.Context,
    title: Title,
    *,
    type: Annotated[KeyType, typer.Option(help="publishable for storefronts, secret for servers.")] = (
        KeyType.PUBLISHABLE
    ),
    as_json: AsJson = False,
) -> None:
    """Create a key. A secret key's token is shown this once."""

    async def work(ks: keyscope.Keyscope) -> None:
        key = await ks.api_keys.create({"title": title, "type": type.value, "created_by": session(context).actor})
        show(key, COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command("list")
def list_(
    context: typer.Context,
    *,
    type: Annotated[KeyType | None, typer.Option(help="Of this type only.")] = None,
    search: Annotated[str | None, typer.Option(help="Words in the title or the redacted token.")] = None,
    take: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    with_deleted: Annotated[bool, typer.Option(help="Soft-deleted ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List keys."""
    filters: dict[str, Any] = {"type": type.value} if type else {}
    if search:
        filters["q"] = search

    async def work(ks: keyscope.Keyscope) -> None:
        keys = await ks.api_keys.list(filters, {"take": take, "withDeleted": with_deleted})
        show(keys, [*COLUMNS, "deleted_at"] if with_deleted else COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command()
def update(context: typer.Context, key: Id, title: Title, *, as_json: AsJson = False) -> None:
    """Change a key's title."""

    async def work(ks: keyscope.Keyscope) -> None:
        show(await ks.api_keys.update(key, {"title": title}), COLUMNS, as_json=as_json)

    session(context).run(work)


@app.command()
def revoke(
    context: typer.Context,
    key: Id,
    *,
    after: Annotated[float, typer.Option("--in", min=0, help="In so many seconds; until then it works.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Revoke a key, now or later. This cannot be undone."""

    async def work(ks: keyscope.Keyscope) -> None:
        revocation = {"revoked_by": session(context).actor, "revoke_in": after}
        show(await ks.api_keys.revoke(key, revocation), COLUMNS, as_json=as_json)  # type: ignore[arg-type]

    session(context).run(work)


@app.command()
def delete(context: typer.Context, keys: Ids) -> None:
    """Delete revoked keys, and their links."""

    async def work(ks: keyscope.Keyscope) -> None:
        await ks.api_keys.delete(keys)
        typer.echo(f"deleted {', '.join(keys)}")

    session(context).run(work)


@app.command()
def restore(context: typer.Context, keys: Ids) -> None:
    """Bring deleted keys back, and the links that went with them."""

    async def work(ks: keyscope.Keyscope) -> None:
        await ks.api_keys.restore(keys)
        show(await ks.api_keys.list({"id": keys}), COLUMNS)

    session(context).run(work)
