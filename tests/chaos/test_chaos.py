"""The fault run, short: the same as `make chaos`, with the faults that found most, and a seed that is told."""

import secrets

from tests.chaos.run import run

FAULTS = ("kill everything", "wipe JetStream", "full disk for commands", "full disk for JetStream")


async def test_nothing_is_lost_or_repeated() -> None:
    said: list[str] = []
    report = await run(len(FAULTS), secrets.token_hex(4), faults=FAULTS, say=said.append)
    assert not report.violations, "\n".join([*said, *report.lines()])
    assert report.rounds == len(FAULTS)
    assert report.commands > 30


async def test_nothing_is_lost_or_repeated_when_the_whole_tree_is_killed() -> None:
    """`make chaos UP=1`, short."""
    said: list[str] = []
    deaths = ("kill the tree", "kill the process group", "kill the supervisor")
    report = await run(len(deaths), secrets.token_hex(4), faults=deaths, say=said.append, up=True)
    assert not report.violations, "\n".join([*said, *report.lines()])
    assert report.rounds == len(deaths)
    assert report.commands > 30
