"""Questions: `ks.query.graph` and `ks.query.scope`."""

from collections.abc import Mapping
from typing import Any, Unpack, cast

from keyscope.bus import to_json
from keyscope.connection import Connection
from keyscope.subjects import TRACEPARENT
from keyscope.tracing import current_traceparent
from keyscope.types import GraphAnswer, GraphOptions, GraphQuery, ReadModelStatus, Scope


class Query:
    """Asks the read model, from the position on that this client has seen (read your writes) unless told otherwise."""

    def __init__(self, connection: Connection, *, read_your_writes: bool) -> None:
        self._connection = connection
        self._bus = connection.bus
        self._graph = connection.subjects.query("graph")
        self._scope = connection.subjects.query("scope")
        self._status = connection.subjects.query("status")
        self._read_your_writes = read_your_writes

    async def graph(
        self,
        query: GraphQuery | Mapping[str, Any] | None = None,
        options: GraphOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        **members: Unpack[GraphQuery],
    ) -> GraphAnswer:
        """Medusa's `query.graph`: `{"data": […]}`, with `metadata` when the pagination has `skip`.

        Give the members as keywords, or Medusa's two arguments as they are. Raises InvalidData for what the schema does
        not have, NotFound where `throwIfKeyNotFound` or `throwIfRelationNotFound` asks for it.
        """
        body: dict[str, Any] = {**(query or {}), **(options or {}), **members}
        self._carry_position(body)
        return cast(
            "GraphAnswer",
            await self._bus.ask(self._graph, to_json(body), _headers(), what="the graph query", timeout=timeout),
        )

    async def scope(self, token: str, *, position: int | None = None, timeout: float | None = None) -> Scope:
        """The key and the channel ids of a publishable token. Raises NotAllowed for one that is not valid now."""
        body: dict[str, Any] = {"token": token, "position": position}
        self._carry_position(body)
        return cast(
            "Scope",
            await self._bus.ask(self._scope, to_json(body), _headers(), what="the scope query", timeout=timeout),
        )

    async def status(self, *, timeout: float | None = None) -> ReadModelStatus:
        """How far the read model that answers this is."""
        return cast("ReadModelStatus", await self._bus.ask(self._status, b"{}", what="the status", timeout=timeout))

    def _carry_position(self, body: dict[str, Any]) -> None:
        if body.get("position") is None:
            body["position"] = self._connection.position if self._read_your_writes else 0
        if body["position"] == 0:
            del body["position"]


def _headers() -> dict[str, str] | None:
    traceparent = current_traceparent()
    return {TRACEPARENT: traceparent} if traceparent else None
