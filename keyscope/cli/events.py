"""`keyscope events`: what happened, and what happens."""

import json
from datetime import datetime
from typing import Annotated

import typer

import keyscope
from keyscope.cli.session import session, stop
from keyscope.stream import Since

_WORDS: dict[str, Since] = {"beginning": "beginning", "now": "now"}


def events(
    context: typer.Context,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    since: Annotated[
        str | None,
        typer.Option(
            help="beginning, now, a position or a time: 2026-11-23T12:00. [default: now to follow, else beginning]",
            show_default=False,
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Link events of this key only.")] = None,
    channel: Annotated[str | None, typer.Option(help="Link events of this channel only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
) -> None:
    """Print the events so far, or follow those to come."""
    place = _place(since or ("now" if follow else "beginning"))

    async def work(ks: keyscope.Keyscope) -> None:
        if key is None and channel is None:
            subscription = ks.events.all(since=place, follow=follow)
        else:
            subscription = ks.events.links(api_key_id=key, sales_channel_id=channel, since=place, follow=follow)
        async with subscription as stream:
            async for event in stream:
                typer.echo(_json(event) if as_json else line(event))

    session(context).run(work)


def line(event: keyscope.Event) -> str:
    """An event in one line: when, position, name, what it is about."""
    about = (event.data.get(name) for name in ("publishable_key_id", "sales_channel_id"))
    ids = [id for id in about if id] or [event.data.get("id", "")]
    name = event.data.get("title") or event.data.get("name")
    by = f"  by {event.actor}" if event.actor else ""
    return f"{event.time}  {event.position:>7}  {event.name:<22}  {' '.join(ids)}{f'  {name}' if name else ''}{by}"


def _json(event: keyscope.Event) -> str:
    return json.dumps({"type": event.type, **event._asdict()}, ensure_ascii=False)


def _place(since: str) -> Since:
    if since in _WORDS:
        return _WORDS[since]
    if since.isdecimal():
        return int(since)
    try:
        return datetime.fromisoformat(since).astimezone()
    except ValueError:
        stop(f"--since is beginning, now, a position or a time such as 2026-11-23T12:00, not {since}", 2)
