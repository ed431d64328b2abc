"""Responses: JSON, errors as Medusa words and numbers them, and the page of its web framework for what is no route."""

import gzip
import hashlib
import html
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from keyscope import KeyscopeError

JSON = "application/json; charset=utf-8"
GZIP_FROM = 1024
GZIP_LEVEL = 5
UNKNOWN_ERROR = {"code": "unknown_error", "type": "unknown_error", "message": "An unknown error occurred."}

_CODES = {"duplicate_error": "invalid_request_error", "conflict": "invalid_state_error"}
_RETRY = {503: {"retry-after": "1"}}


def answer(request: Request, body: Any) -> Response:
    """A result. The answer to a GET has an ETag, and is 304 without a body when the client has it already."""
    text = to_json(body)
    if request.method != "GET":
        return _sent(request, text, {})
    tag = f'W/"{len(text):x}-{hashlib.blake2b(text, digest_size=15).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "accept-encoding"}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=headers)
    return _sent(request, text, headers)


def _sent(request: Request, text: bytes, headers: dict[str, str]) -> Response:
    if len(text) < GZIP_FROM or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(text, 200, headers, JSON)
    packed = gzip.compress(text, GZIP_LEVEL, mtime=0)
    return Response(packed, 200, {**headers, "content-encoding": "gzip", "vary": "accept-encoding"}, JSON)


def _has(if_none_match: str, tag: str) -> bool:
    weak = tag.removeprefix("W/")
    return any(it.strip().removeprefix("W/") in (weak, "*") for it in if_none_match.split(","))


def refusal(error: KeyscopeError) -> Response:
    """An error of ours. Only its type and message are told, as in Medusa."""
    code = {"code": _CODES[error.type]} if error.type in _CODES else {}
    return failure(error.code, {**code, "type": error.type, "message": error.message}, _RETRY.get(error.code))


def failure(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    """An error with its body."""
    return Response(to_json(body), status, headers, JSON)


def no_route(method: str, path: str) -> Response:
    """What express answers."""
    shown = html.escape(f"Cannot {method} {quote(path, safe='/:@!$&()*+,;=~-._[]')}").replace("&#x27;", "&#39;")
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n</head>\n'
        f"<body>\n<pre>{shown}</pre>\n</body>\n</html>\n"
    )
    headers = {"content-security-policy": "default-src 'none'", "x-content-type-options": "nosniff"}
    return Response(text, 404, headers, "text/html")
