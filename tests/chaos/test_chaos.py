"""The fault run, short: the same as `make chaos`, with the faults that found most, and a seed that is told."""

import secrets

from tests.chaos.run import run

FAULTS = ("kill everything", "wipe JetStream", "full disk for commands")


async def test_nothing_is_lost_or_repeated() -> None:
    said: list[str] = []
    report = await run(len(FAULTS), secrets.token_hex(4), faults=FAULTS, say=said.append)
    assert not report.violations, "\n".join([*said, *report.lines()])
    assert report.rounds == len(FAULTS)
    assert report.commands > 30
