"""Who waits for a position, and what is left of those who gave up."""

import asyncio

import pytest

from events.errors import Unavailable
from services.query import progress
from services.query.progress import Progress


async def test_those_who_gave_up_do_not_keep_others_from_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_WAITING", 10)
    reached = Progress(0, patience=0)
    for _ in range(30):
        with pytest.raises(Unavailable, match="has reached position 0, not 1000000 yet"):
            await reached.reach(1_000_000)
    reached.patience = 10.0
    waiting = asyncio.create_task(reached.reach(1))
    await asyncio.sleep(0)
    reached.advance(1)
    await waiting


async def test_no_more_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_WAITING", 2)
    reached = Progress(0)
    tasks = [asyncio.create_task(reached.reach(position)) for position in (5, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="Too many"):
        await reached.reach(4)
    reached.advance(5)
    await asyncio.gather(*tasks)
