"""From `fields` to the tree of what is selected, with the ids that Medusa adds by itself.

Unknown fields and relations are dropped without a word, a bare relation name selects nothing, and following a relation
adds the join keys at both of its ends, after what was asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from projections.limits import MAX_DEPTH
from projections.model import ENTITIES, Entity, Relation
from projections.refusals import refuse

STAR = "*"


@dataclass(slots=True)
class Selection:
    """What is selected of one entity: columns in order (or all of them), and what lies behind its relations."""

    entity: Entity
    columns: dict[str, None] = field(default_factory=dict)
    star: bool = False
    children: dict[str, "Selection"] = field(default_factory=dict)

    def below(self) -> Iterable[tuple[Relation, "Selection"]]:
        """The selected relations, link rows before what lies behind them, as Medusa has them."""
        both = [(self.entity.relations[name], child) for name, child in self.children.items()]
        return sorted(both, key=lambda pair: not pair[0].to_link)


def select(entity: Entity, fields: Iterable[str]) -> Selection:
    """The tree of `fields`. Raises InvalidData where it is too deep."""
    root = Selection(entity)
    for name in fields:
        _add(root, name)
    _add_keys(root)
    return root


def _add(root: Selection, path: str) -> None:
    *way, last = path.split(".")
    if len(way) > MAX_DEPTH:
        refuse("fields", f"at most {MAX_DEPTH} relations in one path")
    node = root
    for name in way:
        relation = node.entity.relations.get(name)
        if relation is None:
            return
        node = node.children.setdefault(name, Selection(ENTITIES[relation.target]))
    if last == STAR:
        node.star = True
    elif last in node.entity.columns:
        node.columns[last] = None


def _add_keys(node: Selection) -> None:
    for name, child in node.children.items():
        relation = node.entity.relations[name]
        node.columns[relation.far if relation.near is None else "id"] = None
        child.columns[relation.near if relation.near is not None and relation.to_link else "id"] = None
        if relation.near is not None and not relation.to_link:
            _add_shortcut_key(node, relation)
    for child in node.children.values():
        _add_keys(child)


def _add_shortcut_key(node: Selection, shortcut: Relation) -> None:
    """A shortcut goes through the link rows: where those are selected too, they carry the key of its far end."""
    for name, child in node.children.items():
        if node.entity.relations[name].to_link:
            child.columns.setdefault(shortcut.near or "", None)
            child.columns[shortcut.far] = None
