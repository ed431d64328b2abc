"""The vocabulary: every `op` of a step, and what it does with the client."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from keyscope import Keyscope, KeyscopeError
from tests.golden.runner.flows import run_steps, run_workflow

Operation = Callable[[Keyscope, Any, Any], Awaitable[Any]]


def member(data: Any, name: str) -> Any:
    """A member of what may be no object."""
    return data.get(name) if isinstance(data, dict) else None


def _target(data: Any) -> Any:
    return data["selector"] if isinstance(data, dict) and "selector" in data else member(data, "id")


def _module(name: str) -> dict[str, Operation]:
    """The service of a module: `api_keys` or `sales_channels` of the client."""

    def call(method: str) -> Operation:
        return lambda ks, data, _: getattr(getattr(ks, name), method)(data)

    def change(method: str) -> Operation:
        return lambda ks, data, _: getattr(getattr(ks, name), method)(_target(data), member(data, method))

    def read(method: str, by: str) -> Operation:
        async def ask(ks: Keyscope, data: Any, _: Any) -> Any:
            answer = await getattr(getattr(ks, name), method)(member(data, by), member(data, "config"))
            return list(answer) if isinstance(answer, tuple) else answer

        return ask

    return {
        "create": call("create"),
        "update": change("update"),
        "upsert": call("upsert"),
        "delete": call("delete"),
        "soft_delete": call("soft_delete"),
        "restore": call("restore"),
        "retrieve": read("retrieve", "id"),
        "list": read("list", "filters"),
        "list_and_count": read("list_and_count", "filters"),
        **({"revoke": change("revoke"), "authenticate": call("authenticate")} if name == "api_keys" else {}),
    }


def _all_rows(entity: str, *order: str) -> Operation:
    """Every row that there is, deleted ones too, as far as anybody can see it."""

    async def rows(ks: Keyscope, _: Any, __: Any) -> list[Any]:
        pagination = {"order": dict.fromkeys(order, "ASC")}
        answer = await ks.query.graph(entity=entity, fields=["*"], pagination=pagination, withDeleted=True)
        return answer["data"]

    return rows


async def _parallel(ks: Keyscope, data: Any, _: Any) -> dict[str, int]:
    step = data["step"]
    operation = OPERATIONS[step["op"]]
    calls = [operation(ks, step.get("data"), step.get("options")) for _ in range(data["times"])]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, KeyscopeError):
            raise outcome
    rejected = sum(isinstance(outcome, KeyscopeError) for outcome in outcomes)
    return {"fulfilled": len(outcomes) - rejected, "rejected": rejected}


async def _compare(_: Keyscope, data: Any, __: Any) -> list[str]:
    return [_sign(_instant(left), _instant(right)) for left, right in data]


def _sign(left: Any, right: Any) -> str:
    return "=" if left == right else "<" if left < right else ">"


def _instant(value: Any) -> Any:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value


async def _shape(_: Keyscope, data: Any, __: Any) -> Any:
    return _shape_of(data)


_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}


def _shape_of(value: Any) -> Any:
    match value:
        case dict():
            return {name: _shape_of(item) for name, item in value.items()}
        case list():
            return [_shape_of(item) for item in value]
    return _TYPES[type(value)]


async def _sleep(_: Keyscope, data: Any, __: Any) -> None:
    await asyncio.sleep(data / 1000)


async def _nothing(_: Keyscope, __: Any, ___: Any) -> None:
    """What the shop keeps elsewhere is nothing to Keyscope."""


OPERATIONS: dict[str, Operation] = {
    **{f"api_key.{verb}": operation for verb, operation in _module("api_keys").items()},
    **{f"sales_channel.{verb}": operation for verb, operation in _module("sales_channels").items()},
    "link.create": lambda ks, data, _: ks.link.create(data),
    "link.dismiss": lambda ks, data, _: ks.link.dismiss(data),
    "link.delete": lambda ks, data, _: ks.link.delete(data),
    "link.restore": lambda ks, data, _: ks.link.restore(data),
    "link.list": lambda ks, data, options: ks.link.list(data, options),
    "query.graph": lambda ks, data, options: ks.query.graph(data, options),
    "workflow.run": lambda ks, data, _: run_workflow(ks, data),
    "workflow.steps": lambda ks, data, _: run_steps(ks, data),
    "parallel": _parallel,
    "store.set_default_sales_channel": _nothing,
    "db.links": _all_rows("publishable_api_key_sales_channel", "publishable_key_id", "sales_channel_id"),
    "db.api_keys": _all_rows("api_key", "id"),
    "db.sales_channels": _all_rows("sales_channel", "id"),
    "compare": _compare,
    "shape": _shape,
    "sleep": _sleep,
}

READING = frozenset(
    {"query.graph", "link.list", "db.links", "db.api_keys", "db.sales_channels", "compare", "shape", "sleep"}
    | {f"{entity}.{verb}" for entity in ("api_key", "sales_channel") for verb in ("retrieve", "list", "list_and_count")}
    | {"api_key.authenticate"}
)
"""The operations that change nothing."""
