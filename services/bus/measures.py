"""Every measure that the services take, by name. What it means stands here, and in docs/reference/metrics.md.

Plain numbers, so that taking one costs next to nothing: a batch or a query is measured once, in well under 1 µs. They
are made into text only when somebody asks the process for them over HTTP (services.runtime.health).
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable

Labels = tuple[str, ...]


class Counter:
    """Only grows."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.values: defaultdict[Labels, float] = defaultdict(float)
        ALL.append(self)

    def add(self, amount: float, *labels: str) -> None:
        """Count so many more. 0 shows it from now on: Prometheus sees no growth in what it meets for the first time."""
        self.values[labels] += amount


class Histogram:
    """How often a value was at most so much. The last bucket has no bound."""

    def __init__(self, name: str, help: str, bounds: tuple[float, ...], *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.bounds = tuple(map(float, bounds))
        self.counts: defaultdict[Labels, list[int]] = defaultdict(lambda: [0] * (len(self.bounds) + 1))
        self.sums: defaultdict[Labels, float] = defaultdict(float)
        ALL.append(self)

    def observe(self, value: float, *labels: str) -> None:
        """It was this much, once more."""
        self.counts[labels][bisect_left(self.bounds, value)] += 1
        self.sums[labels] += value


class Gauge:
    """How much it is now; asked for when somebody looks."""

    def __init__(self, name: str, help: str) -> None:
        self.name, self.help = name, help
        self.read: Callable[[], float] | None = None
        ALL.append(self)


ALL: list[Counter | Histogram | Gauge] = []

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

COMMANDS = Counter(
    "keyscope_commands",
    "Commands answered: done, repeated (under an old id), or the error's type",
    "command",
    "outcome",
)
TURNED_AWAY = Counter("keyscope_commands_turned_away", "Commands refused unread because too many were waiting")
QUERIES_TURNED_AWAY = Counter("keyscope_queries_turned_away", "Queries refused unread because too many were waiting")
WAITING = Gauge("keyscope_commands_waiting", "Commands that wait for the writer")
BATCHES = Histogram("keyscope_batch_commands", "Commands in a transaction", (1, 2, 4, 8, 16, 32, 64, 128, 256))
COMMITS = Histogram("keyscope_batch_seconds", "From taking a batch to having it on disk", _SECONDS)
CONTENDED = Counter("keyscope_batches_redone", "Batches redone because another replica came first")
AGGREGATES = Counter("keyscope_aggregate_cache", "Keys and channels that commands named: hit or miss", "result")
STORED = Gauge("keyscope_store_position", "The position of the last event that this process has stored or seen stored")
RELAYED = Counter("keyscope_relay_events", "Events appended to the stream by this process")
RELAY_POSITION = Gauge("keyscope_relay_position", "Where the stream ended when this process last looked")
RELAY_LAG = Gauge("keyscope_relay_lag_events", "Events in the store that the stream does not have yet")
PROJECTED = Counter("keyscope_projection_events", "Events applied to the read model by this process")
APPLYING = Histogram("keyscope_projection_batch_seconds", "Applying a batch of events to the read model", _SECONDS)
PROJECTION_POSITION = Gauge("keyscope_projection_position", "The position up to which events are applied")
PROJECTION_LAG = Gauge("keyscope_projection_lag_events", "Events in the stream that are not applied yet")
SELF_CHECKED = Counter(
    "keyscope_self_checks",
    "Keys whose rows were to be compared with their events, by result",
    "result",
)
DIFFERENCES = Gauge("keyscope_self_check_differences", "What was found to differ, until the read model is another one")
QUERIES = Histogram(
    "keyscope_query_seconds",
    "Answering a query, without waiting for its position, by what is asked and where it ran (loop or thread)",
    _SECONDS,
    "shape",
    "ran",
)
COMPILED = Gauge("keyscope_queries_compiled", "Queries whose shape was not in the cache of plans, since the start")
REFUSED = Gauge("keyscope_queries_refused", "Queries that were answered with an error, since the start")

TASKS = Gauge("keyscope_tasks", "Tasks of the event loop, counted every second")

CHECKS: dict[str, Callable[[], str | None]] = {}
"""What must be so for this process to be ready, by name: each tells what is wrong, or None."""
