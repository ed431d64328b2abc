"""A task that loses a cancellation is cancelled again."""

import asyncio
import contextlib

import pytest

from services.bus import tasks
from services.bus.tasks import end, to_the_end


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
    async with asyncio.timeout(30):
        await end(begun)
    assert swallowed == 3
    await end([])


async def test_whoever_waits_for_one_that_swallows_its_cancellation_is_cancelled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.05)
    begun = asyncio.Event()

    async def swallows_one() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    waiting = asyncio.create_task(to_the_end(swallows_one()))
    await begun.wait()
    waiting.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_what_work_returns_and_raises_is_handed_on() -> None:
    async def divide(by: int) -> float:
        return 1 / by

    assert await to_the_end(divide(2)) == 0.5
    with pytest.raises(ZeroDivisionError):
        await to_the_end(divide(0))
