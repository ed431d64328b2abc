"""The keys of the channels that a filter names: the one linked filter that is worth a statement of its own.

A list of keys filtered by a channel's name or id is what every storefront's administration asks. Nearly always one
channel satisfies the filter. Its links stand in the index in the order of the keys, so a page of them is read off there
and their number is counted there. Where several channels satisfy it, the keys are collected and sorted.
"""

from dataclasses import dataclass

from projections.conditions import condition, is_selective
from projections.model import API_KEY, SALES_CHANNEL
from projections.question import Shape
from projections.shape import Slot
from projections.sql import Scope


@dataclass(frozen=True, slots=True)
class ByLink:
    """Pieces of the statement: what stands before SELECT, the ids of the keys (to be ordered and cut), their number."""

    before: str
    keys: str
    count: str


_OF_ONE = "FROM link AS l WHERE l.sales_channel_id = (SELECT id FROM one) AND l.deleted_at IS NULL"
_OF_MANY = (
    "FROM far CROSS JOIN link AS l ON l.sales_channel_id = far.id"
    " WHERE NOT EXISTS (SELECT 1 FROM one) AND l.deleted_at IS NULL"
)


def keys_of_channels(shape: Shape, scope: Scope) -> ByLink | None:
    """The pieces, when the filter of a query for live keys in the order of their ids is just one of this kind."""
    if shape.table != API_KEY.table or scope.deleted or shape.part.order or shape.part.after is not None:
        return None
    if len(shape.filters) != 1:
        return None
    (name, node), *_ = shape.filters
    if name != "sales_channels" or isinstance(node, Slot) or not is_selective(node):
        return None
    alias = scope.alias()
    asked = condition(scope, SALES_CHANNEL, alias, node, f"filters.{name}", linked=True)
    return ByLink(
        before=(
            f"WITH far AS MATERIALIZED (SELECT {alias}.id AS id FROM sales_channel AS {alias}"
            f" WHERE {scope.visible(SALES_CHANNEL, alias)} AND {asked}),"
            " one AS MATERIALIZED (SELECT max(id) AS id FROM far HAVING count(*) = 1) "
        ),
        keys=(
            f"SELECT l.publishable_key_id AS id {_OF_ONE}"
            f" UNION ALL SELECT DISTINCT l.publishable_key_id {_OF_MANY} ORDER BY 1"
        ),
        count=(
            f"iif(EXISTS (SELECT 1 FROM one),(SELECT count(*) {_OF_ONE}),"
            f"(SELECT count(DISTINCT l.publishable_key_id) {_OF_MANY}))"
        ),
    )
