"""The storefront's memory: right soon after every change, silent when it cannot know, bounded, fast."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

import keyscope
from keyscope.types import ApiKey, LinkDefinition, SalesChannel
from services.bus.wire import flush
from tests.support.nats import Nats
from tests.support.service import Service
from tests.support.until import until


def pair(key: ApiKey, channel: SalesChannel) -> LinkDefinition:
    return {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}


@pytest.fixture
async def key(ks: keyscope.Keyscope) -> ApiKey:
    return await ks.api_keys.create({"title": "Web", "type": "publishable"})


@pytest.fixture
async def channels(ks: keyscope.Keyscope, key: ApiKey) -> list[SalesChannel]:
    channels = await ks.sales_channels.create([{"name": "A"}, {"name": "B"}])
    await ks.link.create(pair(key, channels[0]))
    return channels


@pytest.fixture
async def scope(service: Service, channels: list[SalesChannel]) -> AsyncIterator[keyscope.Storefront]:
    """In another client than the one that writes, as in life."""
    async with await service.connect() as shop:
        yield await shop.storefront()


def ids(scope: keyscope.Storefront, key: ApiKey) -> list[str] | None:
    context = scope.resolve(key["token"])
    return None if context is None else list(context.sales_channel_ids)


async def test_a_token_is_loaded_then_resolved(
    scope: keyscope.Storefront, key: ApiKey, channels: list[SalesChannel]
) -> None:
    assert scope.resolve(key["token"]) is None
    context = await scope.load(key["token"])
    assert context.as_dict() == {"key": key["token"], "sales_channel_ids": [channels[0]["id"]]}
    assert scope.resolve(key["token"]) == context


async def test_every_change_arrives(
    ks: keyscope.Keyscope, scope: keyscope.Storefront, key: ApiKey, channels: list[SalesChannel]
) -> None:
    a, b = (channel["id"] for channel in channels)
    await scope.load(key["token"])
    await ks.link.create(pair(key, channels[1]))
    await until(lambda: ids(scope, key) == [a, b])
    await ks.link.dismiss(pair(key, channels[0]))
    await until(lambda: ids(scope, key) == [b])
    await ks.sales_channels.soft_delete(b)
    await until(lambda: ids(scope, key) == [])
    await ks.sales_channels.restore([b])
    await until(lambda: ids(scope, key) == [b])
    await ks.api_keys.soft_delete(key["id"])
    await until(lambda: ids(scope, key) is None)
    with pytest.raises(keyscope.KeyscopeError):
        await scope.load(key["token"])
    await ks.api_keys.restore(key["id"])
    await until_loads(scope, key, [b])
    await ks.api_keys.revoke(key["id"], {"revoked_by": "boss"})
    await until(lambda: ids(scope, key) is None)


async def until_loads(scope: keyscope.Storefront, key: ApiKey, expected: list[str]) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if list((await scope.load(key["token"])).sales_channel_ids) == expected:
                    return
            except keyscope.NotAllowed:
                pass
            await asyncio.sleep(0.005)


async def test_a_future_revocation_comes_by_the_clock(
    ks: keyscope.Keyscope, scope: keyscope.Storefront, key: ApiKey
) -> None:
    await scope.load(key["token"])
    await ks.api_keys.revoke(key["id"], {"revoked_by": "boss", "revoke_in": 2})
    await asyncio.sleep(0.3)
    assert ids(scope, key) is not None
    await until(lambda: ids(scope, key) is None)
    with pytest.raises(keyscope.KeyscopeError):
        await scope.load(key["token"])


async def test_a_revocation_ahead_is_loaded_with_the_key(
    ks: keyscope.Keyscope, scope: keyscope.Storefront, key: ApiKey
) -> None:
    await ks.api_keys.revoke(key["id"], {"revoked_by": "boss", "revoke_in": 1})
    await until_loads(scope, key, [*(await scope.load(key["token"])).sales_channel_ids])
    await until(lambda: ids(scope, key) is None)


async def test_what_is_not_valid_is_refused_and_not_remembered(
    ks: keyscope.Keyscope, scope: keyscope.Storefront
) -> None:
    secret = await ks.api_keys.create({"title": "S", "type": "secret"})
    for token in ("pk_nope", "", secret["token"]):
        with pytest.raises(keyscope.KeyscopeError):
            await scope.load(token)
        assert scope.resolve(token) is None
    assert len(scope) == 0
    assert not scope._loading


async def test_many_who_want_one_token_ask_once(
    scope: keyscope.Storefront, key: ApiKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    query = scope._query.scope

    async def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await query(*arguments, **options)

    monkeypatch.setattr(scope._query, "scope", counting)
    contexts = await asyncio.gather(*(scope.load(key["token"]) for _ in range(50)))
    assert asked == 1
    assert len(set(contexts)) == 1


async def test_memory_is_bounded_and_keeps_what_is_used(
    ks: keyscope.Keyscope, service: Service, key: ApiKey, channels: list[SalesChannel]
) -> None:
    others = await ks.api_keys.create([{"title": str(n), "type": "publishable"} for n in range(30)])
    async with await service.connect() as shop, await shop.storefront(max_entries=10) as scope:
        shop.connection.saw(ks.position)
        await scope.load(key["token"])
        for other in others:
            await scope.load(other["token"])
            assert scope.resolve(key["token"]) is not None
        assert len(scope) == 10
        assert len(scope._tokens) == 10
        # An event about a key that was let go must not disturb.
        await ks.link.create([pair(other, channels[0]) for other in others])
        await until(lambda: ids(scope, others[-1]) == [channels[0]["id"]])


@pytest.mark.parametrize("options", [{"max_entries": 0}, {"stale_after": 0.1}])
async def test_senseless_bounds_are_refused(ks: keyscope.Keyscope, options: dict[str, Any]) -> None:
    with pytest.raises(keyscope.InvalidData, match="or more"):
        await ks.storefront(**options)


async def test_when_the_feed_is_cut_it_stops_answering_in_time_and_is_right_afterwards(
    ks: keyscope.Keyscope, service: Service, key: ApiKey, channels: list[SalesChannel], nats_server: Nats
) -> None:
    async with await service.connect() as shop, await shop.storefront(stale_after=0.5) as scope:
        await scope.load(key["token"])
        # Idle, it stays fresh by heartbeats alone.
        for _ in range(15):
            await asyncio.sleep(0.1)
            assert ids(scope, key) == [channels[0]["id"]]
        nats_server.stop()
        await until(lambda: ids(scope, key) is None)
        assert not scope.fresh
        nats_server.start()
        await until(lambda: ids(scope, key) is not None)
        await ks.link.dismiss(pair(key, channels[0]), timeout=20)
        await until(lambda: ids(scope, key) == [])


async def test_a_closed_storefront_answers_nothing(scope: keyscope.Storefront, key: ApiKey) -> None:
    await scope.load(key["token"])
    await scope.close()
    assert scope.resolve(key["token"]) is None


async def test_it_follows_every_change(
    ks: keyscope.Keyscope, scope: keyscope.Storefront, key: ApiKey, channels: list[SalesChannel]
) -> None:
    await scope.load(key["token"])
    for turn in range(100):
        change = ks.link.create if turn % 2 == 0 else ks.link.dismiss
        await change(pair(key, channels[1]))
        await until(lambda expected=2 - turn % 2: len(ids(scope, key) or ()) == expected)  # type: ignore[misc]


# An answer that is on its way while an event comes: with services of the test's own, since it is a matter of moments.


class Slow:
    """A read model whose answers can be held back, and a stream of events to fill."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.js = connection.jetstream()
        self.asked: asyncio.Queue[tuple[dict[str, Any], Msg]] = asyncio.Queue()

    async def open(self) -> None:
        await self.js.add_stream(StreamConfig(name="KEYSCOPE_EVENTS", subjects=["keyscope.evt.>"]))
        await self.connection.subscribe("keyscope.query.scope", cb=self._ask)
        await flush(self.connection)

    async def _ask(self, message: Msg) -> None:
        self.asked.put_nowait((json.loads(message.data), message))

    async def answer(self, *channels: str) -> dict[str, Any]:
        body, message = await self.asked.get()
        scope = {"key": {"id": "k", "revoked_at": None}, "sales_channel_ids": channels}
        await message.respond(json.dumps(scope).encode())
        return body

    async def event(self, position: int, name: str, subject: str, **data: str) -> None:
        envelope = {"id": f"e{position}", "type": f"keyscope.{name}", "time": "2026-11-23T12:00:00.000Z"}
        envelope |= {"commandid": "c", "position": position, "data": data}  # type: ignore[dict-item]
        await self.js.publish(f"keyscope.evt.{name}.{subject}", json.dumps(envelope).encode())

    async def link(self, position: int, verb: str, channel: str) -> None:
        data = {"id": f"l{position}", "publishable_key_id": "k", "sales_channel_id": channel}
        await self.event(position, f"link.{verb}", f"k.{channel}", **data)


@pytest.fixture
async def slow(nats_server: Nats) -> AsyncIterator[Slow]:
    connection = await nats.connect(nats_server.url)
    slow = Slow(connection)
    await slow.open()
    yield slow
    await connection.close()


@pytest.fixture
async def front(nats_server: Nats, slow: Slow) -> AsyncIterator[keyscope.Storefront]:
    await slow.link(5, "created", "a")
    async with keyscope.connect(nats_server.url) as client:
        yield await client.storefront()


async def test_an_answer_older_than_an_event_is_asked_for_again(front: keyscope.Storefront, slow: Slow) -> None:
    loading = asyncio.create_task(front.load("pk"))
    await until(lambda: not slow.asked.empty())
    await slow.link(6, "dismissed", "a")
    await until(lambda: front._feed.position == 6)
    assert (await slow.answer("a"))["position"] == 5
    assert (await slow.answer())["position"] == 6
    assert (await loading).sales_channel_ids == ()
    assert front.resolve("pk") == ("pk", ())


async def test_an_event_about_others_does_not_make_it_ask_again(front: keyscope.Storefront, slow: Slow) -> None:
    loading = asyncio.create_task(front.load("pk"))
    await until(lambda: not slow.asked.empty())
    await slow.event(6, "api_key.deleted", "other", id="other")
    await until(lambda: front._feed.position == 6)
    await slow.answer("a")
    assert (await loading).sales_channel_ids == ("a",)
    assert slow.asked.empty()
    assert not front._touched


async def test_a_channel_deleted_on_the_way_is_noticed(front: keyscope.Storefront, slow: Slow) -> None:
    loading = asyncio.create_task(front.load("pk"))
    await until(lambda: not slow.asked.empty())
    await slow.event(6, "sales_channel.deleted", "a", id="a")
    await until(lambda: front._feed.position == 6)
    await slow.answer("a")
    await slow.answer()
    assert (await loading).sales_channel_ids == ()


async def test_a_key_that_changes_all_the_time_is_answered_and_not_remembered(
    front: keyscope.Storefront, slow: Slow
) -> None:
    loading = asyncio.create_task(front.load("pk"))
    for position in range(6, 11):
        await until(lambda: not slow.asked.empty())
        await slow.link(position, "created" if position % 2 else "dismissed", "a")
        await until(lambda position=position: front._feed.position == position)  # type: ignore[misc]
        await slow.answer("a")
    assert (await loading).sales_channel_ids == ("a",)
    assert front.resolve("pk") is None
    assert len(front) == 0
