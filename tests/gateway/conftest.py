"""A gateway for each test, and clients of it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.http import Gateway, bearer, client, gateway
from tests.support.service import Service


@pytest.fixture
async def running(service: Service) -> AsyncIterator[Gateway]:
    """A gateway on an empty store."""
    async with gateway(service) as started:
        yield started


@pytest.fixture
async def admin(running: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has signed in."""
    async with client(running, **bearer()) as http:
        yield http


@pytest.fixture
async def stranger(running: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has not."""
    async with client(running) as http:
        yield http
