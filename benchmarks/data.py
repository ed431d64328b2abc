"""The datasets, shaped as those that Medusa was measured with: ids that count up, five channels to a key."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.wire import Request, ask

BULK = 10_000
"""Items in one command when data are loaded."""
SAMPLE = 50_000
"""Keys, evenly spread, that the point queries ask for."""
LINKS_A_KEY = 5
WRITE_CHANNELS = 1_000
"""Channels beside those of the dataset, which the writing rows link with."""


def key_id(i: int) -> str:
    """The i-th key."""
    return f"apk_01BENCH{i:019d}"


def channel_id(i: int) -> str:
    """The i-th channel."""
    return f"sc_01BENCH{i:019d}"


def write_channel_id(i: int) -> str:
    """The i-th channel that is there to be linked by the writing rows."""
    return f"sc_01WRITE{i:019d}"


def token(i: int) -> str:
    """The i-th key's token, where the benchmark may choose it (the service makes its own)."""
    return f"pk_{hashlib.sha256(str(i).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Dataset:
    """So many keys, each linked with five of so many channels. With a `hub`, channel 0 is one of every key's five."""

    name: str
    keys: int
    channels: int
    hub: bool = False

    def channels_of(self, key: int) -> list[int]:
        """The channels of a key, by number."""
        if not self.hub:
            return [(key + j * (self.channels // LINKS_A_KEY)) % self.channels for j in range(LINKS_A_KEY)]
        step = (self.channels - 1) // (LINKS_A_KEY - 1)
        return [0, *(1 + (key + j * step) % (self.channels - 1) for j in range(1, LINKS_A_KEY))]

    @property
    def events(self) -> int:
        """How many events make it."""
        return self.keys * (1 + LINKS_A_KEY) + self.channels

    def sample(self) -> list[int]:
        """Some keys by number, evenly spread."""
        return list(range(0, self.keys, max(1, self.keys // SAMPLE)))[:SAMPLE]


SMALL = Dataset("small", 1_000, 50, hub=True)
LARGE = Dataset("large", 100_000, 500)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the load generator must know about a loaded dataset."""

    dataset: Dataset
    tokens: dict[int, str]
    """By the number of the key, of the sample."""

    def save(self, path: Path) -> None:
        """Write it for the load generator."""
        path.write_text(json.dumps({"dataset": asdict(self.dataset), "tokens": list(self.tokens.items())}))

    @classmethod
    def read(cls, path: Path) -> "Loaded":
        """What `save` wrote."""
        kept = json.loads(path.read_text())
        return cls(Dataset(**kept["dataset"]), dict(kept["tokens"]))


def link(key: str, channel: str) -> dict[str, Any]:
    """A link as commands name it."""
    return {"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}}


def command(name: str, body: Any, prefix: str = "keyscope") -> Request:
    """A command as a request, without an id."""
    return f"{prefix}.cmd.{name}".encode(), b"", json.dumps(body).encode()


def _bulk(name: str, items: Iterator[dict[str, Any]]) -> Iterator[Request]:
    chunk: list[dict[str, Any]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == BULK:
            yield command(name, chunk)
            chunk = []
    if chunk:
        yield command(name, chunk)


async def load(url: str, dataset: Dataset, write_channels: int = WRITE_CHANNELS) -> Loaded:
    """Load a dataset, and the channels of the writing rows, by commands: each makes room for a link of every key."""
    names = [(channel_id(i), f"Channel {i}", f"channel number {i}") for i in range(dataset.channels)]
    names += [(write_channel_id(i), f"Write {i}", "") for i in range(write_channels)]
    channels = ({"id": id, "name": name, "description": text} for id, name, text in names)
    keys = (
        {"id": key_id(i), "title": f"Key {i}", "type": "publishable", "created_by": "user_bench"}
        for i in range(dataset.keys)
    )
    links = (link(key_id(i), channel_id(c)) for i in range(dataset.keys) for c in dataset.channels_of(i))
    await ask(url, _bulk("sales_channel.create", channels), at_once=2)
    replies = await ask(url, _bulk("api_key.create", keys), at_once=2)
    tokens = [key["token"] for reply in replies for key in reply["data"]]
    await ask(url, _bulk("link.create", links), at_once=2)
    return Loaded(dataset, {i: tokens[i] for i in dataset.sample()})


def write_pair(n: int, keys: int) -> tuple[str, str]:
    """The n-th link of the writing rows: key by key, then channel by channel."""
    return key_id(n % keys), write_channel_id(n // keys)


async def load_write_links(url: str, keys: int, first: int, count: int) -> None:
    """Create the links with numbers from `first` on, by commands."""
    pairs = (link(*write_pair(n, keys)) for n in range(first, first + count))
    await ask(url, _bulk("link.create", pairs), at_once=2)
