"""Checking what came against a model, and saying what is wrong in the words of Medusa, whose validator is zod."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from keyscope import InvalidData

MAX_PROBLEMS = 3
"""How many problems a message names; Medusa stops there."""

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]

_BRANCHES = frozenset({"str", "list[str]", "Operators"})
"""How pydantic marks, at the end of a place, which branch of a union it means."""
_TYPES = {
    "string_type": "string",
    "float_type": "number",
    "bool_type": "boolean",
    "list_type": "array",
    "dict_type": "record",
    "model_type": "object",
    "model_attributes_type": "object",
}


def check(model: type[Model], given: Any) -> Model:
    """The model's instance. Raises InvalidData, whose message names each problem."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems = list(_problems(error.errors(include_url=False), given))
        raise InvalidData(f"Invalid request: {'; '.join(problems[:MAX_PROBLEMS])}") from None


def _problems(errors: Sequence[ErrorDetails], given: Any) -> Iterator[str]:
    unknown = [str(error["loc"][0]) for error in errors if error["type"] == "extra_forbidden"]
    fields: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] != "extra_forbidden":
            fields.setdefault(_field(error), []).append(error)
    for path, found in fields.items():
        yield _problem(path, found, given)
    if unknown:
        yield f"Unrecognized fields: '{', '.join(unknown)}'"


def _field(error: ErrorDetails) -> Path:
    """The place up to where a union branches; all problems of a union are one."""
    loc = error["loc"]
    branch = next((at for at, part in enumerate(loc) if at and part in _BRANCHES), len(loc))
    return loc[:branch]


def _problem(path: Path, errors: list[ErrorDetails], given: Any) -> str:
    value = _at(given, path)
    if isinstance(value, dict) and len(errors) > 1:  # of an object, only the branch that takes objects is meant
        errors = [error for error in errors if "Operators" in error["loc"]] or errors
        path = tuple(part for part in errors[0]["loc"] if part not in _BRANCHES)
        value = _at(given, path)
    if value is _MISSING:
        return f"Field '{_shown(path)}' is required"
    say = _SAID.get(errors[0]["type"])
    if say is not None:
        return say(path, errors[0], value)
    expected = ", ".join(_TYPES.get(error["type"], error["type"]) for error in errors)
    return f"Expected type: '{expected}' for field '{_shown(path)}', got: '{as_text(value)}'"


def _choice(path: Path, error: ErrorDetails, value: Any) -> str:
    expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
    return f"Expected: '{expected}' for field '{_shown(path)}', but got: '{as_text(value)}'"


def _own_words(_: Path, error: ErrorDetails, __: Any) -> str:
    return error["msg"]


def _pattern(path: Path, _: ErrorDetails, value: Any) -> str:
    return f"Invalid value for field '{_shown(path)}', got: '{as_text(value)}'"


_SAID: Mapping[str, Callable[[Path, ErrorDetails, Any], str]] = {
    "literal_error": _choice,
    "words": _own_words,
    "string_pattern_mismatch": _pattern,
}
_MISSING = object()


def _at(given: Any, path: Path) -> Any:
    for part in path:
        try:
            given = given[part]
        except (LookupError, TypeError):
            return _MISSING
    return given if path or isinstance(given, dict) else _MISSING


def _shown(path: Path) -> str:
    return ", ".join(map(str, path))


_WORDS = {True: "true", False: "false", None: "null"}


def as_text(value: Any) -> str:
    """A JSON value as JavaScript writes it into a text."""
    match value:
        case None | bool():
            return _WORDS[value]
        case dict():
            return "[object Object]"
        case list():
            return ",".join("" if item is None else as_text(item) for item in value)
        case float() if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
    return str(value)
