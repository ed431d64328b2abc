"""The aggregates that the writer keeps between batches."""

from collections import OrderedDict

from services.domain.aggregate import Aggregate

CACHED_AGGREGATES = 10_000


class AggregateCache:
    """The aggregates used last, up to a number.

    The library's LRUCache locks, and costs ten times a dictionary.
    """

    def __init__(self, size: int = CACHED_AGGREGATES) -> None:
        self._size = size
        self._roomy = size // 2  # until then nothing will have to go soon, and no order has to be kept
        self._aggregates: OrderedDict[str, Aggregate] = OrderedDict()

    def get(self, id: str) -> Aggregate | None:
        """The aggregate, if it is kept."""
        aggregate = self._aggregates.get(id)
        if aggregate is not None and len(self._aggregates) > self._roomy:
            self._aggregates.move_to_end(id)
        return aggregate

    def put(self, aggregate: Aggregate) -> None:
        """Keep an aggregate; the one unused for longest goes when there are too many."""
        self._aggregates[aggregate.id] = aggregate
        if len(self._aggregates) > self._size:
            self._aggregates.popitem(last=False)

    def evict(self, id: str) -> None:
        """Keep it no longer: the next use loads it."""
        self._aggregates.pop(id, None)
