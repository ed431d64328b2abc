"""Sweeps: dismissing or restoring the links of a channel that was deleted or restored.

A channel vanishes from every answer with its own event. The events of its links, thousands perhaps, are this process
manager's: it is stored with the channel's event, works in steps of one transaction each, and carries on after a crash
where the last step ended. Sweeps are done in the order of their channels' events, so that deleting and restoring a
channel in quick succession ends as it would slowly.
"""

from dataclasses import replace

from events.link import LinkEvent
from services.commands.work import Work
from services.domain.api_key import ApiKey, Fate
from services.store.commit import Direction, Sweep

STEP = 200
"""Keys per step: a step shares the writer with the commands that wait."""

_SWEPT: frozenset[Fate] = frozenset({"swept"})


def begin_sweep(work: Work, channel_id: str, direction: Direction, cause: str) -> None:
    """The channel's event `cause` was recorded: its links follow, the first of them in the same transaction.

    Unless an earlier sweep of it is unfinished: this one then waits its turn.
    """
    sweep = Sweep(channel_id, direction, work.now, work.caused_by(cause))
    if not work.sweeping(channel_id):
        _step(work, sweep)
    # Always stored, to be walked once more after the commit: another replica may have linked a key meanwhile.
    work.new_sweeps.append(sweep)


def step_sweep(work: Work, sweep: Sweep) -> None:
    """The next step of a stored sweep."""
    last = _step(work, sweep)
    if last is None:
        work.done_sweeps.append(sweep.id)
    else:
        work.moved_sweeps.append(replace(sweep, cursor=last))


def _step(work: Work, sweep: Sweep) -> str | None:
    """Sweep the next keys; the last one's id, or None when there are no more."""
    key_ids = work.store.recorder.keys_of(sweep.sales_channel_id, after=sweep.cursor, limit=STEP)
    for key_id in key_ids:
        key = work.find_key(key_id)
        if key is not None:
            _sweep_key(work, key, sweep)
    return key_ids[-1] if len(key_ids) == STEP else None


def _sweep_key(work: Work, key: ApiKey, sweep: Sweep) -> None:
    event: LinkEvent | None
    if sweep.direction == "dismiss":
        event = key.dismiss(sweep.sales_channel_id, "sales_channel.deleted", sweep.time)
    else:
        event = key.relink(work.channel(sweep.sales_channel_id), _SWEPT, work.now)
    if event:
        work.record(key, event, sweep.context)
