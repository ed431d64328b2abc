"""The storefront scope in a process of its own, as in a web server: `python -m benchmarks.storefront`.

First how many tokens it resolves in a second, then how soon after a command's reply it resolves to the new channels.
The latter looks every quarter of a millisecond, so it reads up to that much too high.
"""

import asyncio
import json
import sys
from array import array
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import uvloop

import keyscope
from benchmarks.data import Loaded, write_pair
from benchmarks.load import Meter, Spec, percentiles

TOKENS = 1_000
ROUND = 50_000
"""Calls between two looks at the clock; their mean is what the percentiles are of."""
LOOK_EVERY = 0.000_25
CHANGES = 400
PAUSE = 0.003
"""Between two changes: some 200 a second."""


def resolve_all(scope: keyscope.Storefront, tokens: list[str], seconds: float) -> tuple[int, "array[float]"]:
    """(calls, seconds per call in each round). Raises RuntimeError when a token was not in memory."""
    resolve, every = scope.resolve, cycle(tokens)
    calls, each = 0, array("d")
    end = perf_counter() + seconds
    while (begun := perf_counter()) < end:
        for token in islice(every, ROUND):
            if resolve(token) is None:
                raise RuntimeError("a token that was loaded is not in memory")
        each.append((perf_counter() - begun) / ROUND)
        calls += ROUND
    return calls, each


async def changes(ks: keyscope.Keyscope, scope: keyscope.Storefront, loaded: Loaded, first: int) -> "array[float]":
    """Seconds from the reply to link.create until `resolve` knows the channel, for one key after the other."""
    waits = array("d")
    for n in range(first, first + CHANGES):
        key, channel = write_pair(n, loaded.dataset.keys)
        token = loaded.tokens[n % loaded.dataset.keys]
        await ks.link.create({"api_key": {"api_key_id": key}, "sales_channel": {"sales_channel_id": channel}})
        replied = perf_counter()
        while (context := scope.resolve(token)) is None or channel not in context.sales_channel_ids:
            if perf_counter() - replied > 5:
                raise TimeoutError(f"{token} does not resolve to {channel}")
            await asyncio.sleep(LOOK_EVERY)
        waits.append(perf_counter() - replied)
        await asyncio.sleep(PAUSE)
    return waits


async def measure(spec: Spec) -> dict[str, object]:
    """Both."""
    loaded = Loaded.read(Path(spec.loaded))
    tokens = list(loaded.tokens.values())[:TOKENS]
    async with await keyscope.connect(spec.url, actor="benchmark") as ks, await ks.storefront() as scope:
        for token in tokens:
            await scope.load(token)
        resolve_all(scope, tokens, spec.warmup / 2)
        await asyncio.sleep(0.1)
        meter = Meter(spec.pids)
        # In short runs, between which the feed of events is heard, without which nothing is answered from memory.
        calls, each = 0, array("d")
        for _ in range(max(1, round(spec.seconds / 0.25))):
            more, rounds = resolve_all(scope, tokens, 0.25)
            calls, each = calls + more, each + rounds
            await asyncio.sleep(0)
        measured = meter.stop(calls, each)
        measured.rate = round(calls / sum(ROUND * mean for mean in each), 1)
        waits = await changes(ks, scope, loaded, spec.first)
    fresh = percentiles(waits)
    measured.used = CHANGES
    return {**asdict(measured), "fresh_p50_ms": fresh["50"], "fresh_p99_ms": fresh["99"], "changes": CHANGES}


def main() -> None:
    """Measure what stdin specifies."""
    json.dump(uvloop.run(measure(Spec(**json.load(sys.stdin)))), sys.stdout)


if __name__ == "__main__":
    main()
