"""Results on the screen: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """JSON, indented."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show(rows: Any, columns: Sequence[str] = (), *, as_json: bool = False) -> None:
    """A row, rows or nothing at all: as JSON, or as a table of `columns` (of all there are, when none are named)."""
    if as_json:
        print_json(rows)
        return
    listed = rows if isinstance(rows, list) else [rows] if rows is not None else []
    if not listed:
        typer.echo("nothing")
        return
    table(listed, columns or _all_columns(listed))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table, as wide as it needs to be when nobody reads it on a terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    drawn = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        drawn.add_row(*(_text(row.get(column, "")) for column in columns))
    if console.is_terminal:
        console.print(drawn)
    else:
        Console(width=100_000).print(drawn, soft_wrap=True)


def _all_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _text(value: Any) -> Any:
    from rich.text import Text

    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        return Text("\n".join(_line(item) for item in value))
    return Text(value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False))


def _line(item: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in item.values() if value is not None)
