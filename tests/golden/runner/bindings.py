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

        A string that is nothing but a reference becomes what it refers to. Raises LookupError for a part that is not there.
        """
        match value:
            case str():
                whole = _REFERENCE.fullmatch(value)
                if whole and whole[1] in self._results:
                    return self._look_up(whole[1], whole[2])
                return None if value == UNDEFINED else _REFERENCE.sub(self._as_text, value)
            case list():
                return [self.fill(item) for item in value]
            case dict():
                return {self.fill(name): self.fill(item) for name, item in value.items()}
        return value

    def references(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Where in `text` references stand, and the text of what they refer to."""
        for match in _REFERENCE.finditer(text):
            if match[1] in self._results:
                yield match.start(), match.end(), str(self._look_up(match[1], match[2]))

    def _as_text(self, match: re.Match[str]) -> str:
        return str(self._look_up(match[1], match[2])) if match[1] in self._results else match[0]

    def _look_up(self, name: str, path: str) -> Any:
        value = self._results[name]
        for part in path.split(".")[1:]:
            value = value[int(part)] if isinstance(value, list) else value[part]
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
