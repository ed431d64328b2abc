"""The reference of the package `keyscope`, from its source: signatures and docstrings."""

import ast
import inspect
import re
from textwrap import dedent
from typing import Any

import keyscope
from keyscope import asgi
from keyscope.api_keys import ApiKeys
from keyscope.events import Events
from keyscope.jobs import Job, Jobs
from keyscope.links import Links
from keyscope.query import Query
from keyscope.sales_channels import SalesChannels

PARTS: dict[str, Any] = {
    "keyscope.connect": keyscope.connect,
    "ks": keyscope.Keyscope,
    "ks.link": Links,
    "ks.api_keys": ApiKeys,
    "ks.sales_channels": SalesChannels,
    "ks.query": Query,
    "ks.events": Events,
    "Event": keyscope.Event,
    "ks.jobs": Jobs,
    "Job": Job,
    "ks.workflow()": keyscope.Workflow,
    "ks.storefront()": keyscope.Storefront,
    "PublishableKeyContext": keyscope.PublishableKeyContext,
    "keyscope.asgi.PublishableKeyMiddleware": asgi.PublishableKeyMiddleware,
    "keyscope.asgi.dependency": asgi.dependency,
    "keyscope.asgi.error_handler": asgi.error_handler,
}
"""What the page describes, by how a program calls it."""


def python_package() -> str:
    """Each part, with its public methods."""
    return "\n".join(_part(title, part) for title, part in PARTS.items())


def _part(title: str, part: Any) -> str:
    head = f"## `{title}`\n"
    if inspect.isfunction(part):
        return f"{head}\n{_called(part)}\n\n{_prose(part)}\n"
    methods = (f"### `{method.__name__}`\n\n{_called(method)}\n\n{_prose(method)}\n" for method in _methods(part))
    return "\n".join([f"{head}\n{_prose(part)}\n", *methods])


def _methods(part: type) -> list[Any]:
    """The public methods, as they stand in the source; those of Python's own types are not ours to describe."""
    found = (getattr(part, name) for name in dir(part) if not name.startswith("_"))
    ours = (method for method in found if inspect.isfunction(method) and method.__module__.startswith("keyscope."))
    return sorted(ours, key=lambda method: (method.__module__, method.__code__.co_firstlineno))


def _called(function: Any) -> str:
    """The signature as the source has it, without self: what `inspect` makes of it differs between Pythons."""
    definition = ast.parse(dedent(inspect.getsource(function))).body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.args.args = [argument for argument in definition.args.args if argument.arg != "self"]
    waits = "await " if isinstance(definition, ast.AsyncFunctionDef) else ""
    returns = ast.unparse(definition.returns) if definition.returns else "None"
    return f"```text\n{waits}{definition.name}({ast.unparse(definition.args)}) -> {returns}\n```"


def _prose(thing: Any) -> str:
    """A docstring, its indented examples as code."""
    text = inspect.getdoc(thing) or ""
    return re.sub(r"(?m)((?:^    .*\n?)+)", lambda code: f"```text\n{dedent(code[1]).rstrip()}\n```\n", text).rstrip()
