"""A service of its own for every case, in this process; and the cases spread over several processes."""

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from nats import connect

from tests.golden.runner.cases import Case
from tests.golden.runner.judging import Verdict, judge
from tests.golden.runner.playing import play
from tests.support.nats import Nats
from tests.support.service import Service

CHUNK = 10
CASE_SECONDS = 60.0
PROCESSES = min(4, os.cpu_count() or 1)


def play_all(cases: Sequence[Case]) -> Iterator[Verdict]:
    """Play cases, each on empty data, in several processes; the verdicts come as they are reached."""
    chunks = [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]
    # Not forked: the process that asks may have threads and an event loop.
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_play_chunk, chunk) for chunk in chunks]):
            yield from done.result()


def _play_chunk(cases: Sequence[Case]) -> list[Verdict]:
    return asyncio.run(_play_here(cases))


async def _play_here(cases: Sequence[Case]) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="keyscope-golden-") as folder:
        nats = Nats(Path(folder) / "nats")
        nats.start()
        try:
            return [await play_one(case, nats, Path(folder) / str(number)) for number, case in enumerate(cases)]
        finally:
            nats.stop()


async def play_one(case: Case, nats: Nats, folder: Path) -> Verdict:
    """On an empty store and empty streams."""
    service = Service(nats.url, folder)
    try:
        async with asyncio.timeout(CASE_SECONDS):
            await service.start()
            try:
                # No actor: in Medusa, who did it is a field of the body, or missing.
                async with await service.connect() as ks:
                    return await judge(await play(case, ks))
            finally:
                await service.stop()
                await delete_streams(nats)
    except Exception as error:  # noqa: BLE001 - whatever breaks is this case's failure, not the end of the others
        return Verdict(case.name, case.area, failures=[f"{type(error).__name__}: {error}"])


async def delete_streams(nats: Nats) -> None:
    """Empty the server."""
    connection = await connect(nats.url)
    stream = connection.jetstream()
    for info in await stream.streams_info():
        await stream.delete_stream(str(info.config.name))
    await connection.close()
