"""Commands: `link.create` and the others, each with its id, over request and reply."""

from typing import Any, Unpack, cast

from keyscope.bus import to_json
from keyscope.connection import Connection
from keyscope.ids import Ids
from keyscope.subjects import ACTOR, COMMAND_ID, TRACEPARENT
from keyscope.tracing import current_traceparent
from keyscope.types import CallOptions, CommandReply


class Commands:
    """Sends commands, each with an id of its own."""

    def __init__(self, connection: Connection, *, actor: str | None) -> None:
        self._connection = connection
        self._actor = actor
        self._ids = Ids()

    async def send(self, name: str, body: Any, **options: Unpack[CallOptions]) -> CommandReply:
        """Carry out `name` (`link.create`); when this returns, it is on disk."""
        headers = self.headers(options)
        reply = await self._connection.bus.ask(
            self._connection.subjects.command(name),
            to_json(body),
            headers,
            what=name,
            timeout=options.get("timeout"),
            command_id=headers[COMMAND_ID],
        )
        self._connection.saw(reply.get("position", 0))
        return cast("CommandReply", reply)

    async def data(self, name: str, body: Any, options: CallOptions) -> Any:
        """What `send` answers, without position and changes."""
        return (await self.send(name, body, **options))["data"]

    def headers(self, options: CallOptions) -> dict[str, str]:
        """The headers of a command: its id (a new one, if none is given), who sends it, its trace."""
        headers = {COMMAND_ID: options.get("command_id") or self._ids.next()}
        if actor := options.get("actor", self._actor):
            headers[ACTOR] = actor
        if traceparent := options.get("traceparent") or current_traceparent():
            headers[TRACEPARENT] = traceparent
        return headers

    def new_id(self) -> str:
        """A new command id."""
        return self._ids.next()
