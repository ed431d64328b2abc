"""Ending tasks that use nats-py."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Result = TypeVar("Result")

AGAIN_SECONDS = 2.0


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel the tasks until they have ended. What they raise is nobody's any more.

    Once is not enough: Python 3.11's asyncio.wait_for, which nats-py uses, can swallow a cancellation.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
        for task in done:
            if not task.cancelled():
                task.exception()


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns or raises. Cancelled, it is so only when `work` has ended, whatever swallows that."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task,))
    finally:
        await end([task])
    return task.result()
