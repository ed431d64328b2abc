"""The parameter `fields`, as Medusa reads it."""

from collections.abc import Iterable

_MODIFIED = ("+", "-", " ", "*")


def selected(fields: str | None, defaults: Iterable[str]) -> list[str]:
    """The fields of the graph query. Without the parameter the defaults; one name without a modifier replaces them.

    A `+` in a URL is a space, so both mean the same.
    """
    if fields is None:
        return list(defaults)
    names = [name for name in fields.split(",") if name]
    if not names or not all(map(_modifies, names)):
        chosen = dict.fromkeys(map(_plain, names))
    else:
        chosen = dict.fromkeys(defaults)
        for name in names:
            if name.startswith("-"):
                chosen = {it: None for it in chosen if not _is_or_is_in(it.removeprefix("*"), _plain(name))}
            else:
                chosen[_plain(name)] = None
    return [f"{name[1:]}.*" if name.startswith("*") else name for name in {**chosen, "id": None}]


def _modifies(name: str) -> bool:
    return name.startswith(_MODIFIED) or name.endswith(".*")


def _is_or_is_in(name: str, relation: str) -> bool:
    return name == relation or name.startswith(f"{relation}.")


def _plain(name: str) -> str:
    return name.lstrip("+ \t-").strip()
