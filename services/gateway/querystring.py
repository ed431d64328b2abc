"""Query strings as Medusa's web framework reads them: `id[]=a`, `created_at[$gt]=…`, `$or[0][title]=x`.

The rules are those of qs (https://github.com/ljharb/qs) as express 4 calls it, and of what Medusa does afterwards.
"""

import re
from typing import Any
from urllib.parse import unquote_plus

from keyscope import InvalidData

MAX_PARAMETERS = 1000
MAX_DEPTH = 5
MAX_INDEX = 20

_PART = re.compile(r"\[([^\[\]]*)\]")

Tree = dict[str, Any]
"""While it grows, an array is an object whose names are numbers."""


def parse(text: str) -> dict[str, Any]:
    """The parameters as objects, arrays and texts. Raises InvalidData for a name with dots on more than two levels."""
    flat: dict[str, list[str]] = {}
    for pair in [part for part in text.split("&") if part][:MAX_PARAMETERS]:
        name, _, value = pair.partition("=")
        flat.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    tree: Tree = {}
    for name, values in flat.items():
        if name:
            _put(tree, _path(name), values)
    return _without_dots({name: _settled(value) for name, value in tree.items()})


def _path(name: str) -> list[str]:
    """`$or[0][title]` in its parts; what is deeper than MAX_DEPTH stays in one."""
    root, bracket, inner = name.partition("[")
    if not root or not bracket:
        return [name]
    rest = bracket + inner
    parts, at = [root], 0
    while len(parts) <= MAX_DEPTH and (match := _PART.match(rest, at)):
        parts.append(match[1])
        at = match.end()
    return [*parts, rest[at:]] if at < len(rest) else parts


def _put(tree: Tree, path: list[str], values: list[str]) -> None:
    for name in path[:-1]:
        tree = _inner(tree, name or str(len(tree)))
    name = path[-1]
    if name == "":
        tree.update((str(len(tree) + index), value) for index, value in enumerate(values))
    elif isinstance(tree.get(name), dict):
        tree[name].update((str(len(tree[name]) + index), value) for index, value in enumerate(values))
    else:
        tree[name] = values[0] if len(values) == 1 else values


def _inner(tree: Tree, name: str) -> Tree:
    """What is under a name, made an object."""
    there = tree.get(name)
    if not isinstance(there, dict):
        values = [] if there is None else there if isinstance(there, list) else [there]
        there = tree[name] = {str(index): value for index, value in enumerate(values)}
    return there


def _settled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if all(name.isdecimal() and int(name) <= max(MAX_INDEX, len(value)) for name in value):
        return [_settled(value[name]) for name in sorted(value, key=int)]
    return {name: _settled(item) for name, item in value.items()}


def _without_dots(tree: Tree) -> Tree:
    """`created_at.$gt` is `created_at[$gt]`, and an array of one text is what stands between its commas."""
    result: Tree = {}
    for name, value in tree.items():
        one = isinstance(value, list) and len(value) == 1 and isinstance(value[0], str)
        item = value[0].split(",") if one else value
        parent, dot, child = name.partition(".")
        if not dot:
            result[name] = item
        elif "." in child:
            raise InvalidData(f"Key accessor more than 2 levels deep: {name}")
        else:
            there = result.get(parent)
            result[parent] = {**(there if isinstance(there, dict) else {}), child: item}
    return result
