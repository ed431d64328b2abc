"""A task that loses a cancellation is cancelled again."""

import asyncio

import pytest

from services.bus import tasks
from services.bus.tasks import end


async def test_a_cancellation_that_is_swallowed_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.05)
    swallowed = 0

    async def swallows_two() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 2:
                    raise

    async def fails() -> None:
        raise ValueError("not looked at by anybody")

    begun = [asyncio.create_task(swallows_two()), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(begun)
    assert swallowed == 3
    await end([])
