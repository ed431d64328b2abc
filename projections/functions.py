"""The few functions that SQLite lacks for PostgreSQL's semantics, in Python: regular expressions, jsonb, Unicode case.

They run only where a query asks for them; everything on the usual paths is SQLite's own.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import apsw
import re2
from pydantic_core import from_json

from projections import jsonb

SQLValue = str | int | float | None


@lru_cache(maxsize=256)
def regular_expression(pattern: str) -> "re2._Regexp":
    """`pattern` compiled by RE2, whose running time is linear in the text whatever the pattern. Raises re2.error.

    As in PostgreSQL, a dot matches a line break and `^` and `$` are the ends of the text.
    """
    return _compiled(pattern, case_sensitive=True)


def _compiled(pattern: str, *, case_sensitive: bool) -> "re2._Regexp":
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


@lru_cache(maxsize=256)
def _like(pattern: str) -> "re2._Regexp":
    """Not by `re`, which goes back at each wildcard: with four of them a text of 200 letters takes it half a minute."""
    wild = {"%": ".*", "_": "."}
    parts = re.findall(r"\\(.)|(.)", pattern, re.DOTALL)
    return _compiled(
        "".join(re2.escape(escaped) or wild.get(plain, re2.escape(plain)) for escaped, plain in parts),
        case_sensitive=False,
    )


def _matches(pattern: str, text: str | None) -> bool | None:
    return None if text is None else regular_expression(pattern).search(text) is not None


def _ilike(pattern: str, text: str | None) -> bool | None:
    return None if text is None else _like(pattern).fullmatch(text) is not None


def _fulltext(words: str, text: str | None) -> bool | None:
    if text is None:
        return None
    return set(re.findall(r"\w+", words.lower())) <= set(re.findall(r"\w+", text.lower()))


def _json(test: Callable[[jsonb.JSON, jsonb.JSON], bool]) -> Callable[[str | None, str], bool | None]:
    """A test of a JSON column (null tests as null) against a JSON operand."""

    def function(column: str | None, operand: str) -> bool | None:
        return None if column is None else test(from_json(column), from_json(operand))

    return function


def _text_at(column: str | None, path: str) -> str | None:
    return None if column is None else jsonb.as_text(jsonb.at(from_json(column), from_json(path)))


def _number_at(column: str | None, path: str) -> float | None:
    text = _text_at(column, path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


_BOOLEANS = {"true": True, "false": False}

FUNCTIONS: dict[str, tuple[int, Callable[..., SQLValue]]] = {
    "matches": (2, _matches),
    "ilike_unicode": (2, _ilike),
    "fulltext": (2, _fulltext),
    "json_same": (2, _json(jsonb.same)),
    "json_contains": (2, _json(jsonb.contains)),
    "json_contained": (2, _json(lambda whole, part: jsonb.contains(part, whole))),
    "json_has_any": (2, _json(lambda whole, keys: any(jsonb.has_key(whole, key) for key in keys))),
    "json_has_all": (2, _json(lambda whole, keys: all(jsonb.has_key(whole, key) for key in keys))),
    "json_text_at": (2, _text_at),
    "json_number_at": (2, _number_at),
    "json_boolean_at": (2, lambda column, path: _BOOLEANS.get(_text_at(column, path) or "")),
}


def register(connection: apsw.Connection) -> None:
    """Makes FUNCTIONS known to a connection."""
    for name, (arguments, function) in FUNCTIONS.items():
        connection.create_scalar_function(name, function, arguments, deterministic=True)
