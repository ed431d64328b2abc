"""What every event is: a fact with a name, a version and an aggregate it happened to."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict
from pydantic_core import from_json

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


class UnknownEvent(ValueError):
    """A stored event has a name or a version that this release does not know (a newer release wrote it?)."""


class Event(BaseModel):
    """A fact that happened to one aggregate. The fields are the `data` of its CloudEvent.

    `event_name` is `<entity>.<past tense>`; its CloudEvents type is `keyscope.<event_name>`. `version` counts the
    shapes that this event has had; `upcasts[n]` turns the data of version n into that of version n + 1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_name: ClassVar[str]
    version: ClassVar[int] = 1
    upcasts: ClassVar[dict[int, Upcast]] = {}
    private: ClassVar[frozenset[str]] = frozenset()
    """Fields that never leave the event store."""

    @property
    def aggregate_id(self) -> str:
        """The id of the aggregate in whose stream this event stands."""
        raise NotImplementedError

    @property
    def subject(self) -> tuple[str, ...]:
        """The ids that this event is about, as they stand in its subject on the bus."""
        return (self.aggregate_id,)

    topic: ClassVar[str]
    """How the event store names this event in its current version, e.g. `link.dismissed:2`."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if hasattr(cls, "event_name"):
            cls.topic = f"{cls.event_name}:{cls.version}"

    @classmethod
    def upcast(cls, data: dict[str, Any], version: int) -> Self:
        """The event whose `data` was stored as `version`, brought up to date.

        Raises UnknownEvent when `version` is newer than this release.
        """
        if version > cls.version:
            raise UnknownEvent(
                f"{cls.event_name} version {version} is newer than this release, which knows {cls.version}"
            )
        for step in range(version, cls.version):
            data = cls.upcasts[step](data)
        return cls.model_validate(data)


def parse_json(text: bytes | str) -> Any:
    """JSON text as Python values. Raises ValueError for anything that is not JSON (NaN and lone surrogates too)."""
    return from_json(text, allow_inf_nan=False)
