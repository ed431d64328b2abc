"""Results that later steps refer to: `$k1.id` in a step, and in what was recorded."""

import re
from collections.abc import Iterator
from typing import Any

UNDEFINED = "<undefined>"

_REFERENCE = re.compile(r"\$(\w+)((?:\.\w+)*)")


class Bindings:
    """Named results."""

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}

    def bind(self, name: str, result: Any) -> None:
        """`$name` is `result` from now on."""
        self._results[name] = result

    def strings(self) -> set[str]:
        """Every string in every result."""
        return set(_strings(self._results))

    def fill(self, value: Any) -> Any:
        """`value` with its references replaced, and None for JavaScript's undefined, which is Python's word for it.

        A string that is nothing but a reference becomes what it refers to. What refers to nothing stays as it is.
        """
        match value:
            case str():
                whole = _REFERENCE.fullmatch(value)
                if whole:
                    return self._look_up(whole)
                return None if value == UNDEFINED else _REFERENCE.sub(self._as_text, value)
            case list():
                return [self.fill(item) for item in value]
            case dict():
                return {self.fill(name): self.fill(item) for name, item in value.items()}
        return value

    def references(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where in `text` references stand, and the text of what they refer to."""
        for match in _REFERENCE.finditer(text):
            yield match.start(), match.end(), self._as_text(match)

    def _as_text(self, match: re.Match[str]) -> str:
        return str(self._look_up(match))

    def _look_up(self, reference: re.Match[str]) -> Any:
        try:
            value = self._results[reference[1]]
            for part in reference[2].split(".")[1:]:
                value = value[int(part)] if isinstance(value, list) else value[part]
        except (LookupError, TypeError):
            return reference[0]
        return value


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for item in value.values():
                yield from _strings(item)
