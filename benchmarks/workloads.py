"""What is asked, over and over: the requests of each row, and what a right answer to one looks like.

The queries are the ones that Medusa was measured with.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from benchmarks.data import LINKS_A_KEY, Loaded, channel_id, key_id, write_pair
from benchmarks.wire import Request


@dataclass(frozen=True, slots=True)
class Workload:
    """`requests(loaded, first)` never ends; a writing one begins with the `first`-th of the links to write."""

    requests: Callable[[Loaded, int], Iterator[Request]]
    check: Callable[[Any], bool]
    """Whether the `data` of a reply (of scope: the reply) is what was asked for."""
    items: int = 1


def _query(endpoint: str, body: dict[str, Any]) -> Request:
    return f"keyscope.query.{endpoint}".encode(), b"", json.dumps(body).encode()


def _shuffled(requests: list[Request]) -> Iterator[Request]:
    random.Random(1).shuffle(requests)
    return cycle(requests)


def by_id(loaded: Loaded, _: int) -> Iterator[Request]:
    fields = ["id", "title", "sales_channels.*"]
    return _shuffled(
        [
            _query("graph", {"entity": "api_key", "fields": fields, "filters": {"id": key_id(i)}})
            for i in loaded.dataset.sample()
        ]
    )


def by_token(loaded: Loaded, _: int) -> Iterator[Request]:
    """The query of Medusa's middleware for every store request."""
    fields = ["id", "token", "revoked_at", "sales_channels_link.sales_channel_id"]
    return _shuffled(
        [
            _query("graph", {"entity": "api_key", "fields": fields, "filters": {"token": token, "type": "publishable"}})
            for token in loaded.tokens.values()
        ]
    )


def scope(loaded: Loaded, _: int) -> Iterator[Request]:
    return _shuffled([_query("scope", {"token": token}) for token in loaded.tokens.values()])


def listing(take: int) -> Callable[[Loaded, int], Iterator[Request]]:
    body = {
        "entity": "api_key",
        "fields": ["id", "title", "sales_channels.*"],
        "pagination": {"take": take, "skip": 0},
    }
    return lambda _, __: cycle([_query("graph", body)])


def reverse(_: Loaded, __: int) -> Iterator[Request]:
    fields = ["id", "name", "publishable_api_keys.*"]
    return cycle([_query("graph", {"entity": "sales_channel", "fields": fields, "filters": {"id": channel_id(0)}})])


def filter_linked(loaded: Loaded, _: int) -> Iterator[Request]:
    return _shuffled(
        [
            _query(
                "graph",
                {
                    "entity": "api_key",
                    "fields": ["id", "title"],
                    "filters": {"sales_channels": {"name": f"Channel {i}"}},
                    "pagination": {"take": 20, "skip": 0},
                },
            )
            for i in range(loaded.dataset.channels)
        ]
    )


_PAIR = b'{"api_key":{"api_key_id":"%b"},"sales_channel":{"sales_channel_id":"%b"}}'


def link_command(
    verb: str, per_call: int = 1, *, sampled: float | None = None
) -> Callable[[Loaded, int], Iterator[Request]]:
    """Commands that each name `per_call` pairs not named before, with an id of their own as every real client's.

    `sampled`: each with a traceparent of its own too, of which that share is sampled.
    """
    subject = f"keyscope.cmd.link.{verb}".encode()
    every = round(1 / sampled) if sampled else 0

    def requests(loaded: Loaded, first: int) -> Iterator[Request]:
        keys = loaded.dataset.keys
        n = first
        while True:
            pairs = [_PAIR % tuple(map(str.encode, write_pair(n + i, keys))) for i in range(per_call)]
            header = b"Nats-Msg-Id: bench-%b-%d\r\n" % (verb.encode(), n)
            if sampled is not None:
                header += b"traceparent: 00-%032x-%016x-%02d\r\n" % (n + 1, n + 1, bool(every) and n % every == 0)
            yield subject, header, pairs[0] if per_call == 1 else b"[" + b",".join(pairs) + b"]"
            n += per_call

    return requests


def _is_key_with_channels(data: Any) -> bool:
    return len(data) == 1 and len(data[0]["sales_channels"]) >= LINKS_A_KEY


WORKLOADS: dict[str, Workload] = {
    "by_id": Workload(by_id, _is_key_with_channels),
    "by_token": Workload(by_token, lambda data: len(data[0]["sales_channels_link"]) >= LINKS_A_KEY),
    "scope": Workload(scope, lambda data: len(data["sales_channel_ids"]) >= LINKS_A_KEY),
    "list_20": Workload(listing(20), lambda data: len(data) == 20 and len(data[19]["sales_channels"]) >= LINKS_A_KEY),
    "list_1000": Workload(listing(1_000), lambda data: len(data) == 1_000),
    "reverse": Workload(reverse, lambda data: len(data[0]["publishable_api_keys"]) >= 1_000),
    "filter_linked": Workload(filter_linked, lambda data: len(data) == 20),
    "create": Workload(link_command("create"), lambda data: len(data) == 1 and data[0]["deleted_at"] is None),
    **{
        f"create_{name}": Workload(link_command("create", sampled=share), lambda data: len(data) == 1)
        for name, share in {"unsampled": 0, "sampled_1": 0.01, "sampled_100": 1}.items()
    },
    "create_100": Workload(link_command("create", 100), lambda data: len(data) == 100, items=100),
    "dismiss": Workload(link_command("dismiss"), lambda data: len(data) == 1 and data[0]["deleted_at"] is not None),
}
