"""Comparing what was recorded with what came."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.golden.runner.bindings import UNDEFINED, Bindings

Path = tuple[str | int, ...]

LINK_TABLE = "ApiKeyApiKeySalesChannelSalesChannelLink"

_ULID = "[0-9A-HJKMNP-TV-Z]{26}"
PLACEHOLDERS = {
    "id:apk": f"apk_{_ULID}",
    "id:sc": f"sc_{_ULID}",
    "id:pksc": f"pksc_{_ULID}",
    "token:pk": "pk_[0-9a-f]{64}",
    "token:sk": "sk_[0-9a-f]{64}",
    "redacted:pk": r"pk_.{3}\*{3}.{3}",
    "redacted:sk": r"sk_.{3}\*{3}.{3}",
    "scrypt": "[0-9a-f]{128}",
    "salt": "[0-9a-f]{32}",
    "datetime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
}
_PLACEHOLDER = re.compile("<(" + "|".join(PLACEHOLDERS) + ")>")


class Absent:
    """Nothing is there."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT = Absent()


@dataclass(frozen=True)
class Mismatch:
    """One place where what came differs from what was recorded.

    `path` begins with `result`, `error` or `events`. `around` are the values that hold it, from the outermost in, each
    as recorded and as it came (ABSENT where there is none).
    """

    path: Path
    recorded: Any
    came: Any
    around: tuple[tuple[Any, Any], ...] = ()

    def __str__(self) -> str:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path).lstrip(".")
        return f"{where}: recorded {_short(self.recorded)}, came {_short(self.came)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


class Matcher:
    """Compares with the bindings as they are now. `old` are the strings that were bound before the step."""

    def __init__(self, bindings: Bindings, old: set[str], unordered: Sequence[str] = ()) -> None:
        self._bindings = bindings
        self._old = old
        self._unordered = {tuple(path.split(" ")[0].replace("[", ".[").split(".")) for path in unordered}

    def mismatches(self, recorded: Any, came: Any, path: Path) -> list[Mismatch]:
        """Every place where the two differ."""
        return list(self._compare(recorded, came, path, ()))

    def matches(self, recorded: Any, came: Any) -> bool:
        """Whether the two are the same, lists in any order."""
        return next(self._compare(recorded, came, ("?",), ()), None) is None

    def _compare(self, recorded: Any, came: Any, path: Path, around: tuple[Any, ...]) -> Iterator[Mismatch]:
        match recorded, came:
            case dict(), dict():
                inner = (*around, (recorded, came))
                if LINK_TABLE in recorded and LINK_TABLE in came:
                    yield from self._set(_rows(recorded), _rows(came), (*path, LINK_TABLE), inner)
                    return
                for name in {**recorded, **came}:
                    here = (*path, name)
                    if name not in came:
                        yield Mismatch(here, recorded[name], ABSENT, inner)
                    elif name not in recorded:
                        yield Mismatch(here, ABSENT, came[name], inner)
                    else:
                        yield from self._compare(recorded[name], came[name], here, inner)
            case list(), list():
                compare = self._set if self._is_set(path) else self._sequence
                yield from compare(recorded, came, path, (*around, (recorded, came)))
            case str(), _:
                if not self._same_text(recorded, came):
                    yield Mismatch(path, recorded, came, around)
            case _:
                if type(recorded) is not type(came) or recorded != came:
                    yield Mismatch(path, recorded, came, around)

    def _is_set(self, path: Path) -> bool:
        return path[0] == "?" or tuple("[]" if isinstance(part, int) else part for part in path) in self._unordered

    def _set(self, recorded: list[Any], came: list[Any], path: Path, around: tuple[Any, ...]) -> Iterator[Mismatch]:
        left = dict(enumerate(came))
        odd = []
        for index, item in enumerate(recorded):
            found = next((at for at, other in left.items() if self._same(item, other, path)), None)
            if found is None:
                odd.append((index, item))
            else:
                del left[found]
        for index, item in odd:
            found = next((at for at, other in left.items() if self._same_thing(item, other)), None)
            if found is None:
                yield Mismatch((*path, index), item, ABSENT, around)
            else:
                yield from self._compare(item, left.pop(found), (*path, index), around)
        for index, item in left.items():
            yield Mismatch((*path, index), ABSENT, item, around)

    def _sequence(
        self, recorded: list[Any], came: list[Any], path: Path, around: tuple[Any, ...]
    ) -> Iterator[Mismatch]:
        if len(recorded) == len(came):
            for index, (item, other) in enumerate(zip(recorded, came, strict=True)):
                yield from self._compare(item, other, (*path, index), around)
            return
        rows, columns = len(recorded), len(came)
        # The longest common subsequence: what has its like on the other side, in order.
        same = [[self._same(item, other, path) or self._same_thing(item, other) for other in came] for item in recorded]
        length = [[0] * (columns + 1) for _ in range(rows + 1)]
        for i in reversed(range(rows)):
            for j in reversed(range(columns)):
                length[i][j] = max(length[i + 1][j], length[i][j + 1], same[i][j] and 1 + length[i + 1][j + 1])
        i = j = 0
        while i < rows or j < columns:
            if i < rows and j < columns and same[i][j] and length[i][j] == 1 + length[i + 1][j + 1]:
                yield from self._compare(recorded[i], came[j], (*path, i), around)
                i, j = i + 1, j + 1
            elif j == columns or (i < rows and length[i + 1][j] >= length[i][j + 1]):
                yield Mismatch((*path, i), recorded[i], ABSENT, around)
                i += 1
            else:
                yield Mismatch((*path, j), ABSENT, came[j], around)
                j += 1

    def _same(self, recorded: Any, came: Any, path: Path) -> bool:
        return next(self._compare(recorded, came, (*path, 0), ()), None) is None

    def _same_thing(self, recorded: Any, came: Any) -> bool:
        """Whether both are about the same key, channel or pair."""
        if not isinstance(recorded, dict) or not isinstance(came, dict):
            return False
        names = ("publishable_key_id", "sales_channel_id") if "publishable_key_id" in recorded else ("id",)
        return all(name in recorded and self._same_text(recorded[name], came.get(name)) for name in names)

    def _same_text(self, recorded: Any, came: Any) -> bool:
        if recorded == UNDEFINED:
            return came is None
        if not isinstance(recorded, str) or not isinstance(came, str):
            return bool(recorded == came)
        if recorded.startswith("<id:") and came in self._old:
            return False
        return re.fullmatch(self.pattern(recorded), came) is not None

    def pattern(self, recorded: str) -> str:
        """The regular expression of the texts that `recorded` stands for."""
        parts, end = [], 0
        for start, stop, text in self._bindings.references(recorded):
            parts += [_with_placeholders(recorded[end:start]), re.escape(text)]
            end = stop
        return "".join([*parts, _with_placeholders(recorded[end:])])


@lru_cache(maxsize=10_000)
def _with_placeholders(text: str) -> str:
    parts = _PLACEHOLDER.split(text)
    return "".join(PLACEHOLDERS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))


def _rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The two parallel columns of link.delete's and link.restore's answers as rows."""
    columns = answer[LINK_TABLE]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
