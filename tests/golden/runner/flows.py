"""Medusa's workflows and steps by their names there, as the client's functions."""

import re
from typing import Any

from keyscope import Keyscope, Workflow, workflows

TAKES_ONE = frozenset(
    {
        "createRemoteLinkStep",
        "dismissRemoteLinkStep",
        "removeRemoteLinkStep",
        "updateRemoteLinksStep",
        "deleteApiKeysStep",
        "deleteSalesChannelsStep",
    }
)
"""Steps whose input is one value; the others' is an object of named ones."""


class Boom(Exception):
    """What the last step of a workflow that shall fail raises."""


async def run_workflow(ks: Keyscope, data: Any) -> Any:
    """`data.workflow` with `data.input`."""
    return await getattr(workflows, _snake(data["workflow"]))(ks, **_named(data["input"]))


async def run_steps(ks: Keyscope, data: Any) -> list[Any]:
    """The steps one after the other, and a failure at the end unless `data.fail` is false."""
    async with ks.workflow() as flow:
        results = [await _step(flow, step["step"], step["input"]) for step in data["steps"]]
        if data.get("fail", True):
            raise Boom("boom")
    return results


async def _step(flow: Workflow, name: str, input: Any) -> Any:
    step = getattr(flow, _snake(name))
    return await (step(input) if name in TAKES_ONE else step(**_named(input)))


def _named(input: Any) -> dict[str, Any]:
    return {_snake(name): value for name, value in input.items()}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]", lambda letter: "_" + letter[0].lower(), name)
