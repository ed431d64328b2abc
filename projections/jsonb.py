"""JSON as PostgreSQL's type jsonb has it: its order of members, its containment, its equality, its `->>`."""

import json
from typing import Any

JSON = Any


def normalised(value: JSON) -> str:
    """The text of `value` with members in jsonb's order: short names first, then by bytes."""
    return json.dumps(_sorted(value), ensure_ascii=False, separators=(",", ":"))


def _sorted(value: JSON) -> JSON:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: _sorted(value[name]) for name in names}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def same(one: JSON, other: JSON) -> bool:
    """The `=` of jsonb: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def contains(whole: JSON, part: JSON) -> bool:
    """The `@>` of jsonb: every member and element of `part` is in `whole`; an array contains a bare scalar too."""
    if isinstance(whole, list) and not isinstance(part, list | dict):
        return any(same(item, part) for item in whole)
    return _within(whole, part)


def _within(whole: JSON, part: JSON) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and _within(whole[name], part[name]) for name in part)
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(_within(item, wanted) for item in whole) for wanted in part)
    return same(whole, part)


def has_key(value: JSON, key: str) -> bool:
    """The `?` of jsonb: a member's name, an array's string element, or the string itself."""
    return key in value if isinstance(value, dict | list) else isinstance(value, str) and value == key


def at(value: JSON, path: list[str]) -> JSON:
    """The value at the end of `path`, or None."""
    for name in path:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.lstrip("-").isdecimal() and -len(value) <= int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def as_text(value: JSON) -> str | None:
    """The `->>` of jsonb: strings bare, everything else as JSON, null as None."""
    if value is None or isinstance(value, str):
        return value
    return normalised(value)
