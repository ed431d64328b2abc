"""`keyscope run` that ends, as by SIGKILL, when it comes to a chosen step: `python -m tests.chaos.crashing POINT …`.

The rest of the arguments is the command line of keyscope. Only tests use this: the steps are wrapped from outside.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

CRASHED = 99
AFTER = {"before a step of a sweep": 2, "after a step of a sweep": 2}
"""Which time it comes to the step it ends, if not at the fourth: by then there is something before it."""


def _wrapped(owner: Any, name: str, times: int, *, before: bool) -> None:
    """The process ends before, or after, `owner.name` when it is called so many times."""
    original = getattr(owner, name)
    count = 0

    def step() -> bool:
        nonlocal count
        count += 1
        return count >= times

    def call(*arguments: Any, **more: Any) -> Any:
        due = step()
        if due and before:
            os._exit(CRASHED)
        result = original(*arguments, **more)
        if due:
            os._exit(CRASHED)
        return result

    async def wait(*arguments: Any, **more: Any) -> Any:
        due = step()
        if due and before:
            os._exit(CRASHED)
        result = await original(*arguments, **more)
        if due:
            os._exit(CRASHED)
        return result

    setattr(owner, name, wait if asyncio.iscoroutinefunction(original) else call)


def _store() -> Any:
    if os.environ["KEYSCOPE_EVENT_STORE"].startswith("postgres"):
        from services.store.postgres import PostgresStore

        return PostgresStore
    from services.store.sqlite import SQLiteStore

    return SQLiteStore


def _commit() -> tuple[Any, str]:
    return _store(), "insert_batch"


def _inside_commit() -> tuple[Any, str]:
    store = _store()
    return store, "_insert_beside" if hasattr(store, "_insert_beside") else "_write"


def _answer() -> tuple[Any, str]:
    from services.commands.writer import Writer

    return Writer, "_deliver"


def _reply() -> tuple[Any, str]:
    from services.commands.requests import RequestDoor

    return RequestDoor, "_answer"


def _job() -> tuple[Any, str]:
    from nats.aio.msg import Msg

    return Msg, "ack"


def _sweep() -> tuple[Any, str]:
    from services.commands.writer import Writer

    return Writer, "_sweep"


def _publish() -> tuple[Any, str]:
    from services.relay.stream import EventStream

    return EventStream, "append"


def _confirm() -> tuple[Any, str]:
    from nats.js import JetStreamContext

    return JetStreamContext, "publish"


def _project() -> tuple[Any, str]:
    from projections.projector import Projector

    return Projector, "apply"


def _progress() -> tuple[Any, str]:
    from services.query.progress import Progress

    return Progress, "advance"


POINTS: dict[str, tuple[str, Callable[[], tuple[Any, str]], bool]] = {
    "before the commit": ("commands", _commit, True),
    "within the transaction": ("commands", _inside_commit, True),
    "after the commit": ("commands", _commit, False),
    "before the answers": ("commands", _answer, True),
    "after a reply is handed over": ("commands", _reply, False),
    "before a job is acknowledged": ("commands", _job, True),
    "after a job is acknowledged": ("commands", _job, False),
    "before a step of a sweep": ("commands", _sweep, True),
    "after a step of a sweep": ("commands", _sweep, False),
    "before publishing": ("relay", _publish, True),
    "before the last message of a run": ("relay", _confirm, True),
    "after the stream's acknowledgement": ("relay", _publish, False),
    "before events are applied": ("query", _project, True),
    "after events are applied": ("query", _project, False),
    "before waiters are told": ("query", _progress, True),
}
"""Each point: the service that has it, the step, and whether it ends before the step or after it."""


def main() -> None:
    point = sys.argv.pop(1)
    _, step, before = POINTS[point]
    _wrapped(*step(), AFTER.get(point, 4), before=before)
    from keyscope.cli import main as keyscope

    keyscope()


if __name__ == "__main__":
    main()
