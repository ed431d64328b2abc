"""`keyscope verify` finds every kind of difference, names it, and is not misled by services that work meanwhile."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import apsw
import nats
import pytest
from nats.js import JetStreamContext

import keyscope
from projections.database import remove, versioned
from services.runtime import streamed
from services.runtime import verify as verifying
from services.runtime.verify import Verdict, verify
from tests.support.nats import Nats
from tests.support.service import Service

STREAM = "KEYSCOPE_EVENTS"
EVENTS = 11
Message = tuple[str, bytes]
"""Subject and text."""


@pytest.fixture
async def service(nats_server: Nats, tmp_path: Path, store_url: str) -> AsyncIterator[Service]:
    """All services, over each kind of event store in turn."""
    running = Service(nats_server.url, tmp_path / "data", event_store=store_url)
    await running.start()
    yield running
    await running.stop()


async def judged(service: Service, patience: float = 5, told: list[tuple[int, int]] | None = None) -> Verdict:
    seen = [] if told is None else told
    return await verify(service.settings, patience=patience, progress=lambda done, total: seen.append((done, total)))


def pair(key: Any, channel: Any) -> Any:
    return {"api_key": {"api_key_id": key["id"]}, "sales_channel": {"sales_channel_id": channel["id"]}}


async def fill(ks: keyscope.Keyscope) -> None:
    key = await ks.api_keys.create({"title": "Web", "type": "publishable"})
    await ks.api_keys.create({"title": "Server", "type": "secret"})
    channels = await ks.sales_channels.create([{"name": name, "metadata": {"n": [None]}} for name in "abc"])
    await ks.link.create([pair(key, channel) for channel in channels])
    await ks.link.dismiss(pair(key, channels[0]))
    await ks.sales_channels.delete([channels[1]["id"]])
    js = ks.nats.jetstream()
    while (await js.stream_info(STREAM)).state.messages < EVENTS:  # the channel's link follows by itself
        await asyncio.sleep(0.01)


NAMES = {
    "DELETE FROM link WHERE deleted_at IS NULL": r"link apk_\w+ sc_\w+: the event store has a row, the read model",
    "DELETE FROM api_key WHERE type = 'secret'": r"api_key apk_\w+: the event store has a row, the read model",
    "INSERT INTO link VALUES ('a', 'b', 'c', '', '', NULL)": (
        r"link a b: the event store has no such row, the read model has a row"
    ),
    "INSERT INTO sales_channel (id, name, is_disabled, created_at, updated_at) VALUES ('zz', '', 0, '', '')": (
        r"sales_channel zz: the event store has no such row, the read model has a row"
    ),
    "UPDATE sales_channel SET name = 'x' WHERE name = 'c'": r"has name 'c', the read model has name 'x'",
    "UPDATE sales_channel SET metadata = NULL WHERE name = 'c'": r"the read model has metadata None",
    "UPDATE api_key SET hidden = 1 WHERE type = 'secret'": r"has hidden 0, the read model has hidden 1",
    "UPDATE link SET deleted_at = NULL": r"the read model has deleted_at None",
}


async def test_rows_of_the_read_model(service: Service, ks: keyscope.Keyscope, tmp_path: Path) -> None:
    """Missing, too many, or wrong: the statement, and what is said of it."""
    await fill(ks)
    verdict = await judged(service)
    assert verdict.difference is None
    await service.stop()
    model = versioned(service.settings.read_model_path)
    connection = apsw.Connection(str(model))
    connection.execute("VACUUM INTO ?", (str(tmp_path / "good.db"),))
    connection.close()

    def put_back() -> None:
        remove(model)
        shutil.copy(tmp_path / "good.db", model)

    for statement, said in NAMES.items():
        connection = apsw.Connection(str(model))
        connection.execute(statement)
        connection.close()
        spoilt = await judged(service)
        assert spoilt.difference is not None, statement
        assert re.search(said, spoilt.difference), (statement, spoilt.difference)
        assert spoilt.digests["event store"] == spoilt.digests["stream"] == verdict.digests["event store"]
        assert spoilt.digests["read model"] != spoilt.digests["event store"]
        put_back()
    assert (await judged(service)).difference is None


def with_position(message: Message, position: int, previous: int) -> Message:
    subject, text = message
    head = text[: text.rindex(b',"previous":')]
    return subject, head + b',"previous":%d,"position":%d}' % (previous, position)


SPOILT: dict[str, tuple[Callable[[list[Message]], list[Message]], str]] = {
    "the first is missing": (lambda m: m[1:], "position 1: the event store has apk_"),
    "one is missing": (
        lambda m: m[:4] + m[5:],
        r"position 5: the event store has sc_\w+:1, the stream has position 6",
    ),
    "one came twice": (lambda m: [*m[:4], m[3], *m[4:]], r"position 5: .*, the stream has position 4"),
    "the last came twice": (lambda m: [*m, m[-1]], r"the event store ends at position 11, .* at position 11"),
    "one more": (
        lambda m: [*m, with_position(m[-1], 12, 11)],
        r"the event store ends at position 11, the stream has apk_\w+:6 at position 12",
    ),
    "two in each other's place": (
        lambda m: [*m[:2], m[3], m[2], *m[4:]],
        "position 3: .* the stream has position 4",
    ),
    "other data": (
        lambda m: [*m[:2], (m[2][0], m[2][1].replace(b'"name":"a"', b'"name":"x"')), *m[3:]],
        r"position 3: event sc_\w+:1 has other data in the stream than in the event store",
    ),
    "another actor": (
        lambda m: [(m[0][0], m[0][1].replace(b'"tester"', b'"nobody"')), *m[1:]],
        r"position 1: event apk_\w+:1 has other (actor|data)",
    ),
    "another predecessor": (
        lambda m: [*m[:5], with_position(m[5], 6, 4), *m[6:]],
        "position 6: .* has other previous in the stream",
    ),
    "another event": (
        lambda m: [*m[:2], with_position(m[3], 3, 2), *m[3:]],
        r"position 3: the event store has sc_\w+:1, the stream has sc_\w+:1",
    ),
    "no event": (
        lambda m: [*m[:5], (m[5][0], b"rubbish"), *m[6:]],
        "position 6: .* something that is no event",
    ),
}


async def test_events_of_the_stream(service: Service, ks: keyscope.Keyscope) -> None:
    """Missing, too many, or changed."""
    await fill(ks)
    assert (await judged(service)).difference is None
    await service.stop()
    js = ks.nats.jetstream()
    good = await _messages(js)
    assert len(good) == EVENTS
    for name, (spoil, said) in SPOILT.items():
        await _fill_stream(js, spoil(good))
        verdict = await judged(service)
        assert verdict.difference is not None, name
        assert re.search(said, verdict.difference), (name, verdict.difference)
        assert verdict.digests == {}
    await _fill_stream(js, good[:-1])
    verdict = await judged(service, patience=0.1)
    assert verdict.difference == (
        "the read model is at position 11, the stream at 10, the event store at 11, after 0.1 s of waiting"
    )
    await js.purge_stream(STREAM)
    verdict = await judged(service, patience=0.1)
    assert verdict.difference is not None
    assert "the stream at 0, the event store at 11" in verdict.difference
    await _fill_stream(js, good)
    assert (await judged(service)).difference is None


async def _messages(js: JetStreamContext) -> list[Message]:
    state = (await js.stream_info(STREAM)).state
    found = [await js.get_msg(STREAM, number) for number in range(state.first_seq, state.last_seq + 1)]
    return [(message.subject or "", message.data or b"") for message in found]


async def _fill_stream(js: JetStreamContext, messages: list[Message]) -> None:
    await js.purge_stream(STREAM)
    for subject, text in messages:
        await js.publish(subject, text)


async def test_a_read_model_that_is_ahead_of_the_store(service: Service, ks: keyscope.Keyscope) -> None:
    """As after another event store was put in its place."""
    await fill(ks)
    assert (await judged(service)).difference is None
    await service.stop()
    connection = apsw.Connection(str(versioned(service.settings.read_model_path)))
    connection.execute("UPDATE tracking SET position = 13")
    connection.close()
    difference = (await judged(service)).difference
    assert difference is not None
    assert difference.endswith("the event store at 11: the read model was built from another event store")


async def test_while_everything_changes(
    service: Service, ks: keyscope.Keyscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile is no difference, and what is compared is shown as it goes on."""
    for module in (verifying, streamed):
        monkeypatch.setattr(module, "BATCH", 7)
    await fill(ks)
    done = False

    async def changing(number: int) -> None:
        key = await ks.api_keys.create({"title": f"K{number}", "type": "publishable"})
        channel = await ks.sales_channels.create({"name": f"C{number}"})
        while not done:
            await ks.link.create(pair(key, channel))
            await ks.link.dismiss(pair(key, channel))
            await ks.sales_channels.update(channel["id"], {"name": f"{number} again"})

    changes = [asyncio.create_task(changing(number)) for number in range(4)]
    positions = []
    for _ in range(8):
        told: list[tuple[int, int]] = []
        verdict = await judged(service, told=told)
        assert verdict.difference is None
        assert len(set(verdict.digests.values())) == 1
        assert told == sorted(told)
        assert told[-1] == (verdict.position, verdict.position)
        positions.append(verdict.position)
    done = True
    await asyncio.gather(*changes)
    assert positions == sorted(positions)
    assert positions[-1] > positions[0]


async def test_it_leaves_nothing_behind(service: Service, ks: keyscope.Keyscope) -> None:
    await fill(ks)
    await judged(service)
    client = await nats.connect(service.settings.nats_servers[0])
    there = await client.jetstream().consumers_info(STREAM)
    await client.close()
    assert len([each for each in there if not each.config.description]) == 0
