"""A storefront in FastAPI: every request names its publishable key, and sees the key's sales channels.

    pip install keyscope fastapi uvicorn
    uvicorn shop:app
    curl -H "x-publishable-api-key: pk_…" http://127.0.0.1:8000/store/products

The middleware answers from memory, which the stream of events keeps right; only a key that is seen for the first time
is asked for.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request

import keyscope
from keyscope.asgi import PublishableKeyMiddleware

PRODUCTS = [
    {"title": "Coffee", "sales_channel": "Web shop"},
    {"title": "Tea", "sales_channel": "Marketplace"},
]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connected while the application runs."""
    servers = os.environ.get("KEYSCOPE_NATS_URL", "nats://127.0.0.1:4222")
    async with await keyscope.connect(servers) as ks, await ks.storefront() as storefront:
        app.state.keyscope = ks
        app.state.storefront = storefront
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(PublishableKeyMiddleware, storefront=lambda: app.state.storefront, prefix="/store")


@app.get("/store/products")
async def products(request: Request) -> dict[str, Any]:
    """What is sold through the channels of the request's key."""
    context = request.state.publishable_key_context
    channels = await app.state.keyscope.sales_channels.list({"id": context["sales_channel_ids"]}, {"select": ["name"]})
    names = {channel["name"] for channel in channels}
    return {"products": [product for product in PRODUCTS if product["sales_channel"] in names]}
