"""`keyscope demo`: the story of a link, played against the running service and checked at every turn."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import typer

import keyscope
from keyscope.cli.events import line
from keyscope.cli.session import REFUSED, session, stop
from keyscope.events import Subscription
from keyscope.types import LinkDefinition

PATIENCE_SECONDS = 10.0


class Untrue(Exception):
    """Something was not as the story has it."""


@dataclass
class Story:
    """What the acts hand on to one another."""

    ks: keyscope.Keyscope
    say: Callable[[str], None]
    channel: Any = field(default=None)
    key: Any = field(default=None)
    events: Subscription = field(default=None)  # type: ignore[assignment]

    @property
    def link(self) -> LinkDefinition:
        """The pair that it is all about."""
        return {"api_key": {"api_key_id": self.key["id"]}, "sales_channel": {"sales_channel_id": self.channel["id"]}}


def demo(context: typer.Context) -> None:
    """Play the story of a link against the running service. Exits with 1 if anything is not as told.

    It leaves its key revoked and deleted, and its channel deleted.
    """

    async def work(ks: keyscope.Keyscope) -> None:
        story = Story(ks, typer.echo)
        try:
            for title, act in ACTS:
                typer.secho(f"\n{title}", bold=True)
                await asyncio.wait_for(act(story), PATIENCE_SECONDS)
        except Untrue as error:
            stop(f"that is not as it should be: {error}", REFUSED)
        except TimeoutError as error:
            if isinstance(error, keyscope.Timeout):
                raise
            stop(f"nothing happened for {PATIENCE_SECONDS:g} seconds", REFUSED)
        finally:
            if story.events is not None:
                await story.events.aclose()
        typer.secho("\nAll as told.", bold=True)

    session(context).run(work)


async def _create(story: Story) -> None:
    story.channel = await story.ks.sales_channels.create({"name": "Demo webshop"})
    story.key = await story.ks.api_keys.create({"title": "Demo storefront", "type": "publishable"})
    story.say(f"  channel {story.channel['id']}  {story.channel['name']}")
    story.say(f"  key     {story.key['id']}  {story.key['title']}, token {story.key['redacted']}")
    _check(story.key["token"].startswith("pk_"), "a publishable key's token begins with pk_")


async def _subscribe(story: Story) -> None:
    story.events = story.ks.events.links(api_key_id=story.key["id"], since="now")
    await story.events.__aenter__()
    story.say(f"  keyscope.evt.link.*.{story.key['id']}.*")


async def _link(story: Story) -> None:
    (row,) = await story.ks.link.create(story.link)
    story.say(f"  {row['id']}  {row['publishable_key_id']} sells through {row['sales_channel_id']}")
    event = await anext(story.events)
    story.say(f"  event: {line(event)}")
    _check((event.name, event.data["id"]) == ("link.created", row["id"]), "the subscriber gets link.created")


async def _ask(story: Story) -> None:
    await _ask_graph(story, "api_key", story.key["id"], "title", "sales_channels.name")
    await _ask_graph(story, "sales_channel", story.channel["id"], "name", "publishable_api_keys.title")
    scope = await story.ks.query.scope(story.key["token"])
    story.say(f"  token {story.key['redacted']} -> {scope['sales_channel_ids']}")
    _check(scope["sales_channel_ids"] == [story.channel["id"]], "the token stands for this channel")


async def _ask_graph(story: Story, entity: str, id: str, name: str, linked: str) -> None:
    answer = await story.ks.query.graph(entity=entity, fields=[name, linked], filters={"id": id})
    relation, _, field_name = linked.partition(".")
    names = [item[field_name] for row in answer["data"] for item in row[relation]]
    story.say(f"  {entity} {id}: {relation} {names}")
    other = story.channel["name"] if entity == "api_key" else story.key["title"]
    _check(names == [other], f"{entity} has one of {relation}, called {other}")


async def _fail(story: Story) -> None:
    second = await story.ks.sales_channels.create({"name": "Demo marketplace"})
    link: LinkDefinition = {**story.link, "sales_channel": {"sales_channel_id": second["id"]}}
    try:
        async with story.ks.workflow() as flow:
            # The first of these was there before, so it must stay.
            await flow.create_remote_link_step([story.link, link])
            story.say(f"  step: linked with {second['id']} too")
            raise RuntimeError("the payment provider said no")
    except RuntimeError as error:
        story.say(f"  then: {error}")
    for expected in ("link.created", "link.dismissed"):
        event = await anext(story.events)
        story.say(f"  event: {line(event)}")
        _check((event.name, event.data["sales_channel_id"]) == (expected, second["id"]), f"then comes {expected}")
    rows = await story.ks.link.list([story.link, link])
    _check([row["sales_channel_id"] for row in rows] == [story.channel["id"]], "only the first link is there")
    story.say(f"  linked with {story.channel['id']} as before, and with nothing else")
    await story.ks.sales_channels.delete(second["id"])


async def _dismiss(story: Story) -> None:
    await story.ks.link.dismiss(story.link)
    event = await anext(story.events)
    story.say(f"  event: {line(event)}")
    _check(event.name == "link.dismissed", "the subscriber gets link.dismissed")
    scope = await story.ks.query.scope(story.key["token"])
    story.say(f"  token {story.key['redacted']} -> {scope['sales_channel_ids']}")
    _check(scope["sales_channel_ids"] == [], "the token stands for no channel")


async def _tidy(story: Story) -> None:
    await story.ks.api_keys.revoke(story.key["id"], {"revoked_by": "demo"})
    await story.ks.api_keys.delete(story.key["id"])
    await story.ks.sales_channels.delete(story.channel["id"])
    answer = await story.ks.query.graph(entity="api_key", fields=["id"], filters={"id": story.key["id"]})
    _check(answer["data"] == [], "the key is gone")
    story.say("  key revoked and deleted, channel deleted")


ACTS = [
    ("A channel and a publishable key", _create),
    ("Somebody subscribes to the key's link events", _subscribe),
    ("The key is linked with the channel", _link),
    ("The graph answers both ways, and the token its channels", _ask),
    ("A workflow links, fails, and takes its link back", _fail),
    ("The link is dismissed", _dismiss),
    ("Nothing is left behind", _tidy),
]


def _check(true: bool, sentence: str) -> None:
    if not true:
        raise Untrue(sentence)
