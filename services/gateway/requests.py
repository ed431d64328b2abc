"""What of a request a route works with."""

from typing import TypeVar

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import Request

from keyscope import InvalidData, KeyscopeError
from services.gateway import querystring
from services.gateway.validation import check

MAX_BODY = 1_000_000
"""Bytes. Ten thousand channels to link take 300,000."""

Model = TypeVar("Model", bound=BaseModel)


class TooLarge(KeyscopeError):
    """The body is larger than MAX_BODY."""

    type = "unknown_error"
    code = 413


def query(request: Request, model: type[Model]) -> Model:
    """The parameters. Raises InvalidData."""
    return check(model, querystring.parse(request.scope["query_string"].decode("latin-1")))


async def body(request: Request, model: type[Model]) -> Model:
    """The body; none is an empty object. Raises InvalidData, TooLarge."""
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > MAX_BODY:
            raise TooLarge("request entity too large")
    try:
        given = from_json(bytes(text), allow_inf_nan=False) if text.strip() else {}
    except ValueError as error:
        raise InvalidData(f"The body is not JSON: {error}") from None
    return check(model, given)


def actor(request: Request) -> str:
    """Who has signed in."""
    return str(request.scope["keyscope.actor"])
