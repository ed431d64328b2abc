"""A command on its way, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from events.commands import CommandSpec
from events.envelope import Context
from events.errors import KeyscopeError
from services.domain.tokens import Token


class Reply(NamedTuple):
    """What the sender is answered: the reply's text, and the error in it if it is one."""

    text: bytes
    error: KeyscopeError | None = None
    repeated: bool = False
    """It was carried out before, under the same command id."""

    @property
    def outcome(self) -> str:
        """`done`, `repeated`, or the type of the error."""
        return "repeated" if self.repeated else self.error.type if self.error else "done"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was worked out before the writer: the ids that a selector chose, tokens for new keys."""

    ids: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()


@dataclass(slots=True)
class Command:
    """A checked command. `answer` is called once, on the event loop, when its outcome is on disk.

    `repeatable`: the sender gave the id, so that sending it again must give the same outcome.
    """

    spec: CommandSpec
    body: Any
    context: Context
    repeatable: bool
    answer: Callable[[Reply], None]
    prepared: Prepared = field(default_factory=Prepared)
    weight: int = 1
    """About how many events it may record."""


class Result(NamedTuple):
    """What a handler gives: the `data` of the reply, and what of it is kept for a repetition if not all."""

    data: Any
    kept: Any = ...

    @property
    def to_keep(self) -> Any:
        """The data that a repetition of the command is answered."""
        return self.data if self.kept is ... else self.kept
