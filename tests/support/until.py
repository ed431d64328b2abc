"""Waiting for what comes by itself."""

import asyncio
from collections.abc import Callable


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Return as soon as it is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.001)
