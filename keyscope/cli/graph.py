"""`keyscope graph` and `keyscope scope`: questions to the read model."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import keyscope
from keyscope.cli.session import session, stop
from keyscope.cli.show import AsJson, print_json, show


def graph(
    context: typer.Context,
    query: Annotated[
        str,
        typer.Argument(help="Medusa's argument as JSON, @FILE, or - for the standard input.", metavar="QUERY"),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Ask the graph.

    For example: keyscope graph '{"entity": "api_key", "fields": ["title", "sales_channels.name"]}'
    """
    body = _parsed(_text(query))

    async def work(ks: keyscope.Keyscope) -> None:
        answer = await ks.query.graph(body)
        if as_json:
            print_json(answer)
            return
        show(answer["data"])
        if "metadata" in answer:
            typer.echo(", ".join(f"{name} {value}" for name, value in answer["metadata"].items()))

    session(context).run(work)


def scope(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="A publishable token, pk_…")],
    *,
    as_json: AsJson = False,
) -> None:
    """Tell what a token stands for: its key, and the ids of the channels that it sells through."""

    async def work(ks: keyscope.Keyscope) -> None:
        answer = await ks.query.scope(token)
        if as_json:
            print_json(answer)
            return
        key = answer["key"]
        show({"key": key["id"], "title": key["title"], "sales_channel_ids": " ".join(answer["sales_channel_ids"])})

    session(context).run(work)


def _text(query: str) -> str:
    if query == "-":
        return sys.stdin.read()
    if not query.startswith("@"):
        return query
    try:
        return Path(query[1:]).read_text()
    except (OSError, UnicodeDecodeError) as error:
        stop(f"cannot read {query[1:]}: {error}", 2)


def _parsed(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError as error:
        stop(f"the query is not JSON: {error}", 2)
    if not isinstance(body, dict):
        stop('the query must be a JSON object such as {"entity": "api_key", "fields": ["id"]}', 2)
    return body
