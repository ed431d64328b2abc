"""Every row: what is measured, with how many calls in flight, and what must be reached. The targets are issue 4's."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a row must reach; what is None does not matter."""

    rate: float | None = None
    """At least so many items a second."""
    p50_ms: float | None = None
    p99_ms: float | None = None

    def met_by(self, row: "dict[str, float]") -> bool:
        """Whether the row reaches all of it."""
        wanted = ((self.rate, row.get("rate")), (row.get("p50_ms"), self.p50_ms), (row.get("p99_ms"), self.p99_ms))
        limits = (self.rate, self.p50_ms, self.p99_ms)
        return all(
            limit is None or (low is not None and high is not None and low <= high)
            for limit, (low, high) in zip(limits, wanted, strict=True)
        )

    def __str__(self) -> str:
        parts = [] if self.rate is None else [f"≥ {self.rate:,.0f}/s"]
        parts += [
            f"{name} ≤ {limit:g} ms"
            for name, limit in (("p50", self.p50_ms), ("p99", self.p99_ms))
            if limit is not None
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table that the load generator can measure. `peer` is the name of Medusa's measurement."""

    name: str
    title: str
    workload: str
    concurrency: int
    target: Target = Target()
    peer: tuple[str, str, int] | None = None
    """(dataset, beginning of the operation's name, calls in flight)"""
    dataset: str = "small"
    seconds: float = 1.0
    """How long it is measured, as a share of the suite's seconds."""


_GET = "graph: api_key by id + sales_channels.* (5)"
_TOKEN = "graph: api_key by token, middleware's query"
_CREATE = "link.create, 1 link per call"

READS = (
    Row(
        "graph_key_by_id_c32",
        "graph: key by id with 5 channels",
        "by_id",
        32,
        Target(12_000, p99_ms=6),
        ("small", _GET, 32),
    ),
    Row("scope_by_token_c32", "scope: token to channels", "scope", 32, Target(15_000), ("small", _TOKEN, 32)),
    Row(
        "graph_key_by_token_c32",
        "graph: key by token, the middleware's query",
        "by_token",
        32,
        Target(12_000),
        ("small", _TOKEN, 32),
    ),
    Row(
        "list_20_c32",
        "graph: list 20 keys with channels",
        "list_20",
        32,
        Target(3_000),
        ("small", "graph: list 20 keys", 32),
    ),
    Row(
        "list_1000_c32",
        "graph: list 1,000 keys with channels",
        "list_1000",
        32,
        Target(90),
        ("small", "graph: list 1000 keys", 32),
        seconds=1.5,
    ),
    Row(
        "reverse_1000_c32",
        "graph: one channel with 1,000 keys",
        "reverse",
        32,
        Target(250),
        ("small", "graph: one channel", 32),
    ),
    Row(
        "graph_key_by_id_c1",
        "one call at a time: key by id with channels",
        "by_id",
        1,
        Target(p50_ms=0.5),
        ("small", _GET, 1),
    ),
)

WRITES = (
    Row(
        "link_create_c32",
        "link.create, one per command",
        "create",
        32,
        Target(6_800, p99_ms=15),
        ("small", _CREATE, 32),
    ),
    Row("link_create_c128", "link.create, one per command", "create", 128, Target(10_000), ("small", _CREATE, 32)),
    Row(
        "link_create_c1",
        "one call at a time: link.create",
        "create",
        1,
        Target(p50_ms=1.5),
        ("small", _CREATE, 1),
    ),
    Row(
        "link_create_100_c32",
        "link.create, 100 per command (rate in links)",
        "create_100",
        32,
        Target(25_000),
        ("small", "link.create, 100 links per call", 32),
    ),
    Row(
        "link_dismiss_c32",
        "link.dismiss, one per command",
        "dismiss",
        32,
        Target(6_800),
        ("small", "link.dismiss, 1 link per call", 32),
    ),
)

FILTER_LINKED = Row(
    "filter_linked_c32",
    "graph: 20 keys filtered by a linked channel's name, 100,000 keys",
    "filter_linked",
    32,
    Target(2_000),
    ("large", "graph: 20 keys filtered", 32),
    dataset="large",
)

LOAD_ROWS = (*READS, *WRITES, FILTER_LINKED)

SWEEP = {"by_id": (4, 8, 16, 64, 128), "create": (4, 8, 16, 64)}
"""Calls in flight, for the plot of throughput over concurrency, beside those of the rows."""

OTHER_TITLES = {
    "resolve_in_process": "resolve a token in the storefront's own process",
    "visible_after_reply": "from a command's reply until the read model shows it, under 1,000 commands/s",
    "rebuild": "read model rebuilt from the stream (events/s)",
    "refill": "relay refills a wiped stream (events/s)",
}
OTHER_TARGETS = {
    "resolve_in_process": Target(1_000_000),
    "visible_after_reply": Target(p50_ms=3, p99_ms=20),
    "rebuild": Target(50_000),
    "refill": Target(20_000),
}
TITLES = {row.name: f"{row.title}, c={row.concurrency}" for row in LOAD_ROWS} | OTHER_TITLES
TARGETS = {row.name: row.target for row in LOAD_ROWS} | OTHER_TARGETS
PEERS = {row.name: row.peer for row in LOAD_ROWS if row.peer}
ORDER = list(TITLES)

FACT_LIMITS = {"start_empty_s": 2.0, "start_1m_events_s": 5.0, "idle_memory_mb": 150.0, "flatness": 1.2}
"""The greatest allowed."""
