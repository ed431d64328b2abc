"""Steps that are undone, in reverse order, when a later one fails: `async with ks.workflow() as flow:`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from keyscope import undo
from keyscope.commands import Commands
from keyscope.errors import KeyscopeError, NotFound, Timeout, Unavailable
from keyscope.links import Links, definition, pair
from keyscope.query import Query
from keyscope.types import (
    ApiKey,
    ApiKeyUpdate,
    CommandReply,
    GraphAnswer,
    LinkDefinition,
    LinkEnds,
    NewApiKey,
    NewSalesChannel,
    Revocation,
    SalesChannel,
    SalesChannelUpdate,
)

logger = logging.getLogger("keyscope")

Undo = Callable[[CommandReply, undo.Send], Awaitable[None]]


class Workflow:
    """Steps named as Medusa's, which answer what Medusa's answer.

        async with ks.workflow() as flow:
            keys = await flow.create_api_keys_step(api_keys=[{"title": "Web", "type": "publishable"}])
            await flow.create_remote_link_step([…])
            await something_that_may_fail()

    When the block fails, what its steps changed, and only that, is put back: a link that was there before stays, one
    that was dismissed comes back with its id, titles, names and metadata are as they were. A revocation cannot be
    undone. All steps are undone even if the undoing of one fails; then an ExceptionGroup holds the block's error and
    those.

    The ids of all commands derive from `id`. With an id of your own, a workflow whose process died can be run again:
    the steps that were done answer what they answered. One that failed and was undone needs a new id to be tried anew.
    An update is put back to what was there when its step was run last: in a second run, to what the first one made.
    """

    def __init__(self, commands: Commands, query: Query, links: Links, id: str) -> None:
        self.id = id
        self._commands = commands
        self._query = query
        self._links = links
        self._steps = 0
        self._stack = AsyncExitStack()
        self._failures: list[Exception] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._stack.pop_all()
            return
        await _to_the_end(self._stack.aclose())
        if not self._failures:
            return
        if isinstance(error, Exception):
            raise ExceptionGroup(f"workflow {self.id} failed, and could not all be undone", [error, *self._failures])
        for failure in self._failures:
            error.add_note(f"keyscope: workflow {self.id} could not all be undone: {failure}")

    async def create_remote_link_step(self, links: list[LinkDefinition]) -> list[LinkDefinition]:
        """Link. Undone by dismissing the links that were not there before."""
        if links:
            await self._do("link.create", links, undo.created_links)
        return links

    async def dismiss_remote_link_step(self, links: LinkDefinition | list[LinkDefinition]) -> list[LinkDefinition]:
        """Take links away. Undone by bringing back those that were there, with their ids."""
        entries = links if isinstance(links, list) else [links]
        if entries:
            await self._do("link.dismiss", entries, undo.dismissed_links)
        return entries

    async def remove_remote_link_step(self, ends: LinkEnds | list[LinkEnds]) -> dict[str, dict[str, list[str]]] | None:
        """Take away all links of keys or of channels. Answers the ids, grouped. Undone as a dismissal is."""
        grouped = _grouped(ends if isinstance(ends, list) else [ends])
        if not grouped:
            return None
        await self._do("link.delete", grouped, undo.deleted_links)
        return grouped

    async def update_remote_links_step(self, links: list[LinkDefinition]) -> list[LinkDefinition]:
        """Make sure that links are there. Raises NotFound when one is not."""
        if links:
            there = await self._links.list(links)
            if {pair(definition(row)) for row in there} < {pair(link) for link in links}:
                raise NotFound("Could not find all existing links from data")
            await self._do("link.create", links, undo.created_links)
        return links

    async def link_sales_channels_to_api_key_step(
        self, *, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Link a key with some channels and no longer with others, in one transaction."""
        if add or remove:
            body = {"create": [_link(id, channel) for channel in add], "dismiss": [_link(id, it) for it in remove]}
            await self._do("link.batch", body, undo.link_batch)

    async def create_api_keys_step(self, *, api_keys: list[NewApiKey]) -> list[ApiKey]:
        """Create keys. Undone by soft-deleting them: only a revoked key can be deleted for good."""
        return (await self._do("api_key.create", api_keys, undo.created_keys))["data"]  # type: ignore[no-any-return]

    async def update_api_keys_step(self, *, selector: Mapping[str, Any], update: ApiKeyUpdate) -> list[ApiKey]:
        """Change the titles of the keys that match."""
        before = await self._rows("api_key", selector, ["id", "title"])
        body = {"id": list(before), "update": update}
        return (await self._do("api_key.update", body, undo.updated_keys(before)))["data"]  # type: ignore[no-any-return]

    async def revoke_api_keys_step(self, *, selector: Mapping[str, Any], revoke: Revocation) -> list[ApiKey]:
        """Revoke the keys that match. This is not undone: what a revoked key let out is out."""
        body = {"selector": selector, "revoke": revoke}
        return (await self._do("api_key.revoke", body, None))["data"]  # type: ignore[no-any-return]

    async def delete_api_keys_step(self, ids: list[str]) -> None:
        """Delete revoked keys, and their links. Undone by restoring them."""
        await self._do("api_key.delete", ids, undo.deleted("api_key", ids))

    async def create_sales_channels_step(self, *, data: list[NewSalesChannel]) -> list[SalesChannel]:
        """Create channels. Undone by deleting them."""
        return (await self._do("sales_channel.create", data, undo.created_channels))["data"]  # type: ignore[no-any-return]

    async def update_sales_channels_step(
        self, *, selector: Mapping[str, Any], update: SalesChannelUpdate
    ) -> SalesChannel | None:
        """Change the channels that match. Answers the first of them, as Medusa's does; None when none matches."""
        before = await self._rows("sales_channel", selector, ["id", "name", "description", "is_disabled", "metadata"])
        if not before:
            return None
        body = {"id": list(before), "update": update}
        data = (await self._do("sales_channel.update", body, undo.updated_channels(before, set(update))))["data"]
        return data[0]  # type: ignore[no-any-return]

    async def delete_sales_channels_step(self, ids: list[str]) -> None:
        """Soft-delete channels, and their links. Undone by restoring them."""
        await self._do("sales_channel.soft_delete", ids, undo.deleted("sales_channel", ids))

    async def use_query_graph_step(self, *, options: Mapping[str, Any] | None = None, **query: Any) -> GraphAnswer:
        """Ask the graph. With the option `isList` false, `data` is the first row, or None."""
        settings = dict(options or {})
        is_list = settings.pop("isList", True)
        answer: Any = await self._query.graph(query, settings)
        if not is_list:
            answer["data"] = answer["data"][0] if answer["data"] else None
        return answer  # type: ignore[no-any-return]

    async def _rows(self, entity: str, selector: Mapping[str, Any], fields: list[str]) -> dict[str, dict[str, Any]]:
        """What matches, by id, so that exactly this is changed and can be put back."""
        answer = await self._query.graph(entity=entity, fields=fields, filters=dict(selector))
        return {row["id"]: row for row in answer["data"]}

    async def _do(self, name: str, body: Any, undo: Undo | None) -> CommandReply:
        self._steps += 1
        command_id = f"{self.id}:{self._steps}"

        async def send() -> CommandReply:
            return await self._commands.send(name, body, command_id=command_id)

        try:
            reply = await send()
        except (Timeout, asyncio.CancelledError):
            # It may have been carried out: sent again it tells, and then there is something to undo.
            self._when_it_fails(undo, send, command_id)
            raise
        self._when_it_fails(undo, _known(reply), command_id)
        return reply

    def _when_it_fails(
        self, undo: Undo | None, outcome: Callable[[], Awaitable[CommandReply]], command_id: str
    ) -> None:
        if undo is not None:
            self._stack.push_async_callback(self._compensate, undo, outcome, command_id)

    async def _compensate(self, undo: Undo, outcome: Callable[[], Awaitable[CommandReply]], command_id: str) -> None:
        sent = 0

        async def send(name: str, body: Any) -> None:
            nonlocal sent
            sent += 1
            await self._commands.send(name, body, command_id=f"{command_id}:undo:{sent}")

        try:
            await undo(await _done(outcome), send)
        except _Refused:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the other steps must be undone, and it is raised later
            logger.warning("workflow %s: step %s could not be undone: %s", self.id, command_id, error)
            self._failures.append(error)


class _Refused(Exception):
    """The step was never carried out, so there is nothing to undo."""


async def _done(outcome: Callable[[], Awaitable[CommandReply]]) -> CommandReply:
    try:
        return await outcome()
    except (Timeout, Unavailable):
        raise
    except KeyscopeError as error:
        raise _Refused from error


def _known(reply: CommandReply) -> Callable[[], Awaitable[CommandReply]]:
    async def answer() -> CommandReply:
        return reply

    return answer


async def _to_the_end(work: Awaitable[None]) -> None:
    """Wait for `work`, which goes on when the waiting task is cancelled; that is passed on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def _link(key: str, channel: str) -> LinkDefinition:
    return {"api_key": {"publishable_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


def _grouped(entries: list[LinkEnds]) -> dict[str, dict[str, list[str]]]:
    """All ids of the entries, by entity and name, in one."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        for entity, names in entry.items():
            for name, ids in (names if isinstance(names, Mapping) else {}).items():
                grouped.setdefault(entity, {}).setdefault(name, []).extend(ids if isinstance(ids, list) else [ids])
    return grouped
