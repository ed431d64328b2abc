"""What a query may cost. A query beyond one of these is refused with `invalid_data` and a message that names the limit.

The size of an answer is bounded by the broker's `max_payload` (1 MiB unless configured): SQLite stops building a text
that would be longer.
"""

MAX_FIELDS = 200
"""Entries of `fields`."""

MAX_DEPTH = 8
"""Relations in one path of `fields`, `order` or linked filters."""

MAX_CONDITIONS = 200
"""Fields, operators and words searched for in one query's filters, over all levels."""

MAX_NESTING = 20
"""Levels of `$and`, `$or`, `$not` and linked filters within each other."""

MAX_LIST = 10_000
"""Values in one list (`$in`, `$nin` or a plain array)."""

MAX_TEXT = 10_000
"""Characters of one value or regular expression."""

MAX_PATTERN = 256
"""Characters of one pattern of `$like` or `$ilike`, or word of a search: each is tried at every place of a text."""

MAX_ORDER = 10
"""Terms of one `order`."""

MAX_PLANS = 512
"""Compiled queries that are kept, by shape; the least recently used goes first."""

STATEMENT_SECONDS = 5.0
"""How long one statement may run."""

INLINE_STEPS = 40_000
"""Steps of SQLite's virtual machine that a query may take on the event loop (about a millisecond); then it moves to a
thread."""
