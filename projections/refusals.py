"""The refusals of the compiler: what a query gets wrong is `invalid_data`, and the message names the place."""

from typing import Any, NoReturn

from events.errors import InvalidData


def refuse(place: str, why: str) -> NoReturn:
    """Raises InvalidData: `place` is the path in the query, such as `filters.title`."""
    raise InvalidData(f"{place}: {why}", field=place)


def no_property(doing: str, model: str, name: str) -> NoReturn:
    """Raises InvalidData in the words of Medusa: doing is `query` or `order`."""
    raise InvalidData(f"Trying to {doing} by not existing property {model}.{name}", field=name)


def shown(value: Any) -> str:
    """A value as a message may quote it: short, and JSON rather than Python."""
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "a text")
