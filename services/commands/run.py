"""One command carried out: what it leaves on the batch's work, its reply, and the outcome to keep."""

from collections.abc import Sequence

import structlog
from eventsourcing.persistence import PersistenceError
from pydantic_core import to_json

from events.errors import InvalidData, KeyscopeError, Unavailable, UnexpectedState, error_in
from services.bus import tracing
from services.bus.replies import assembled, failure
from services.commands.command import Command, Reply, Result
from services.commands.handlers import HANDLERS
from services.commands.work import Work
from services.store.commit import Outcome

ROOM = 4_096
"""Bytes of a message beside an answer's data: headers, and the names of its members."""

log = structlog.get_logger(__name__)


class Run:
    """One command carried out on a batch's work; its reply is known once positions are."""

    def __init__(self, command: Command, work: Work, instant: str, longest: int) -> None:
        self.command = command
        self.reply = Reply(b"")
        self.error: KeyscopeError | None = None
        self.result = Result(None)
        self.data = self.changed = b""
        work.begin(command.context, instant)
        self.start = work.first_event
        try:
            self.result = HANDLERS[command.spec.name](work, command)
            self.data, self.changed = to_json(self.result.data), to_json(list(dict.fromkeys(work.changed)))
            if len(self.data) + len(self.changed) + ROOM > longest:
                raise InvalidData(
                    f"the answer would be longer than {longest} bytes, the broker's max_payload; name fewer at once"
                )
        except KeyscopeError as error:
            work.roll_back()
            self.error = error
        except PersistenceError:  # the store cannot be read: that fails the batch
            raise
        except Exception as error:
            log.exception("a handler failed", command=command.spec.name, **tracing.ids_of(command.context.traceparent))
            work.roll_back()
            self.error = UnexpectedState("the command failed; nothing was stored")
            self.error.__cause__ = error
        self.end = len(work.events)

    def settle(self, positions: Sequence[int], position: int) -> Outcome | None:
        """Make the reply; the outcome to keep if the command can be repeated."""
        if self.error is not None:
            self.reply = Reply(failure(self.error), self.error)
            kept = None if isinstance(self.error, (UnexpectedState, Unavailable)) else self.reply.text
        else:
            reached = positions[self.end - 1] if self.end > self.start else position
            self.reply = Reply(assembled(self.data, position=reached, changed=self.changed))
            kept = self.reply.text
            if self.result.to_keep is not self.result.data:
                kept = assembled(to_json(self.result.to_keep), position=reached, changed=self.changed)
        return Outcome(self.command.context.command_id, kept) if kept and self.command.repeatable else None


def settle(runs: Sequence[Run], positions: Sequence[int], position: int) -> list[Outcome]:
    """Make the replies of a batch that is being stored; the outcomes to keep."""
    outcomes = (run.settle(positions, position) for run in runs)
    return [outcome for outcome in outcomes if outcome is not None]


def repeated(text: bytes, longest: int) -> Reply:
    """The reply to a command that was carried out before, with its error if it was refused."""
    if len(text) + ROOM > longest:  # the broker took more then
        lost = UnexpectedState("it was carried out before, and its answer is longer than the broker's max_payload now")
        return Reply(failure(lost), lost, repeated=True)
    return Reply(text, error_in(text), repeated=True)
