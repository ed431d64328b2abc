"""From a value in a query to the value that is bound: checked against the column as PostgreSQL would check it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import re2

from projections.functions import regular_expression
from projections.limits import MAX_PATTERN, MAX_TEXT
from projections.model import Kind
from projections.refusals import refuse, shown

Bound = str | int | float | None
Convert = Callable[[Any, str], Bound]
"""Turns a value into what is bound. The second argument is its place in the query, for the refusal."""

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def text(value: Any, place: str) -> Bound:
    """A text, as PostgreSQL compares text with nothing else."""
    if not isinstance(value, str):
        refuse(place, f"a text is needed, not {shown(value)}")
    if len(value) > MAX_TEXT:
        refuse(place, f"at most {MAX_TEXT} characters")
    return value


def as_it_is(value: Any, _: str) -> Bound:
    """A value that was checked before it came here."""
    return value  # type: ignore[no-any-return]


def number(value: Any, _: str) -> Bound:
    """A number, to be compared with one within a JSON column."""
    return float(value)


def boolean(value: Any, place: str) -> Bound:
    """true, false, or one of PostgreSQL's words for them or the beginning of one, in any case."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        word = value.strip().lower()
        is_true = bool(word) and any(name.startswith(word) for name in _TRUE)
        is_false = bool(word) and any(name.startswith(word) for name in _FALSE)
        if is_true is not is_false:
            return int(is_true)
    return refuse(place, "true or false is needed")


_ENDS = {"infinity": "~", "+infinity": "~", "-infinity": "", "epoch": "1970-01-01T00:00:00.000Z"}


def timestamp(value: Any, place: str) -> Bound:
    """An instant, from ISO 8601 text; without a zone it is UTC.

    Stored instants are texts with milliseconds that sort by time. One with finer digits becomes a text that sorts
    between the two milliseconds around it, so every comparison is exact.
    """
    if isinstance(value, str):
        if value.strip().lower() in _ENDS:
            return _ENDS[value.strip().lower()]
        try:
            instant = datetime.fromisoformat(value.strip())
            instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        except (ValueError, OverflowError):
            refuse(place, f"{json.dumps(value[:60])} is no date or time; write one as 2026-11-23T12:00:00.000Z")
        finer = instant.microsecond % 1000
        whole = instant - timedelta(microseconds=finer)
        return f"{whole.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z{f'{finer:03}' if finer else ''}"
    return refuse(place, f"a date or time is needed, not {shown(value)}")


def as_json(value: Any, place: str) -> Bound:
    """Any JSON value, as its text."""
    result = json.dumps(value, ensure_ascii=False)
    if len(result) > MAX_TEXT:
        refuse(place, f"at most {MAX_TEXT} characters of JSON")
    return result


def document(value: Any, place: str) -> Bound:
    """A JSON object or array to compare a JSON column with; PostgreSQL takes no bare text there."""
    if not isinstance(value, dict | list):
        refuse(
            place,
            f'an object is needed, not {shown(value)}; test a member, as {{"member": {{"$eq": …}}}}, or use $contains',
        )
    return as_json(value, place)


def pattern(value: Any, place: str) -> Bound:
    """A pattern of LIKE, whose escape character is the backslash."""
    result = str(text(value, place))
    if len(result) > MAX_PATTERN:
        refuse(place, f"at most {MAX_PATTERN} characters of a pattern or word")
    if (len(result) - len(result.rstrip("\\"))) % 2:
        refuse(place, "a pattern must not end with its escape character")
    return result


_GLOB = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
_PLAIN = {"*": "[*]", "?": "[?]", "[": "[[]"}


def glob(value: Any, place: str) -> Bound:
    """A pattern of LIKE as one of SQLite's GLOB, which is the one that minds case."""
    out: list[str] = []
    characters = iter(str(pattern(value, place)))
    for character in characters:
        if character == "\\":
            escaped = next(characters)
            out.append(_PLAIN.get(escaped, escaped))
        else:
            out.append(_GLOB.get(character, character))
    return "".join(out)


def expression(value: Any, place: str) -> Bound:
    """A regular expression that RE2 takes: all but back references and look-around, which can run away."""
    result = str(text(value, place))
    try:
        regular_expression(result)
    except re2.error as error:
        reason = error.args[0] if error.args else "it does not compile"
        refuse(place, f"not a regular expression: {reason.decode() if isinstance(reason, bytes) else reason}")
    return result


def word(value: Any, place: str) -> Bound:
    """One word of a free text search as a pattern of LIKE; wildcards in it are wildcards, as in Medusa."""
    return pattern(f"%{value}%", place)


def presence(value: Any, place: str) -> Bound:
    """The operand of `$exists`."""
    if not isinstance(value, bool):
        refuse(place, "true or false is needed")
    return int(value)


def key(value: Any, place: str) -> Bound:
    """The name of a member."""
    return json.dumps([text(value, place)])


def keys(value: Any, place: str) -> Bound:
    """The names of members."""
    if not isinstance(value, list):
        refuse(place, "an array of names is needed")
    return json.dumps([text(name, place) for name in value])


SCALAR: dict[Kind, Convert] = {
    Kind.TEXT: text,
    Kind.BOOLEAN: boolean,
    Kind.TIMESTAMP: timestamp,
    Kind.JSON: document,
}


def many(one: Convert) -> Convert:
    """A list of such values as a JSON array, nulls kept: they match nothing, and make `$nin` match nothing."""

    def convert(value: Any, place: str) -> Bound:
        if not isinstance(value, list):
            refuse(place, f"an array is needed, not {shown(value)}")
        return json.dumps([None if item is None else one(item, f"{place}.{index}") for index, item in enumerate(value)])

    return convert
