"""From a message to a checked command: everything that can be judged without the store."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from events.base import parse_json
from events.commands import COMMANDS, CommandSpec
from events.envelope import Context
from events.errors import InvalidData
from events.subjects import ACTOR, COMMAND_ID, TRACEPARENT
from services.commands.command import Command, Reply
from services.domain.ids import command_id

MAX_BODY = 4 * 1024 * 1024
"""Bytes in one command's body."""
BYTES_PER_EVENT = 100
"""About how much body one event takes: a command's weight is its size in these."""
MAX_PROBLEMS = 5

_NAMES = {"{": "an object", "[": "an array", '"': "a string"}
_HEADER = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}[!-~]{0,64}")


def read_command(
    name: str,
    body: bytes,
    headers: Mapping[str, str] | None,
    answer: Callable[[Reply], None],
    *,
    fallback_id: str | None = None,
) -> Command:
    """The command called `name` (`link.create`). Raises InvalidData, naming the field.

    `fallback_id` is the id of a job that came without one: it must be the same at each delivery.
    """
    spec = COMMANDS.get(name)
    if spec is None:
        raise InvalidData(f"there is no command {name[:100]!r}; there are: {', '.join(COMMANDS)}")
    headers = headers or {}
    given = _header(headers, COMMAND_ID) or fallback_id
    context = Context(
        command_id=given or command_id(),
        actor=_header(headers, ACTOR),
        traceparent=_traceparent(headers),
    )
    return Command(
        spec=spec,
        body=read_body(spec, body),
        context=context,
        repeatable=given is not None,
        answer=answer,
        weight=len(body) // BYTES_PER_EVENT + 1,
    )


def read_body(spec: CommandSpec, body: bytes) -> Any:
    """The body as its model. Raises InvalidData."""
    if len(body) > MAX_BODY:
        raise InvalidData(f"body: {len(body)} bytes are more than the {MAX_BODY} that a command may have")
    adapter = spec.bodies.get(body.lstrip()[:1].decode("ascii", "replace"))
    if adapter is None:
        _must_be_json(body)
        raise InvalidData(f"body: expected {' or '.join(_NAMES[first] for first in spec.bodies)}")
    if b"NaN" in body or b"Infinity" in body:  # pydantic would read them as numbers
        _must_be_json(body)
    return _validated(adapter, body)


def _validated(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [".".join(map(str, problem["loc"]))[:200] for problem in problems[:MAX_PROBLEMS]]
    texts = [
        f"{field or 'body'}: {problem['msg'].removeprefix('Value error, ')[:300]}"
        for field, problem in zip(fields, problems, strict=False)
    ]
    if len(problems) > MAX_PROBLEMS:
        texts.append(f"and {len(problems) - MAX_PROBLEMS} more")
    raise InvalidData("; ".join(texts), fields=[field for field in fields if field])


def _must_be_json(body: bytes) -> None:
    try:
        parse_json(body)
    except ValueError as error:
        raise InvalidData(f"body: not JSON: {str(error)[:200]}") from None


def is_printable(value: str) -> bool:
    """Whether a header may read so."""
    return _HEADER.fullmatch(value) is not None


def _header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if not value:
        return None
    if not is_printable(value):
        raise InvalidData(f"header {name}: expected 1 to 255 printable characters", fields=[name])
    return value


def _traceparent(headers: Mapping[str, str]) -> str | None:
    """A malformed traceparent is passed over, as https://www.w3.org/TR/trace-context/ asks."""
    value = headers.get(TRACEPARENT, "")
    return value if _TRACEPARENT.fullmatch(value) else None
