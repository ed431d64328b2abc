"""Events: what Medusa's are called here (docs/medusa-events.md), and the events of a call as a subscriber gets them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from keyscope import Event
from tests.golden.runner.matching import ABSENT, Matcher, Mismatch

NAMES: dict[str, tuple[str, ...]] = {
    "LinkPublishableApiKeySalesChannel.attached": ("link.created",),
    "LinkPublishableApiKeySalesChannel.detached": ("link.dismissed",),
    "api_key.api-key.created": ("api_key.created",),
    "api_key.api-key.updated": ("api_key.updated", "api_key.revoked"),
    "api_key.api-key.deleted": ("api_key.deleted",),
    "api_key.api-key.restored": ("api_key.restored",),
    "sales_channel.sales-channel.created": ("sales_channel.created",),
    "sales_channel.sales-channel.updated": ("sales_channel.updated",),
    "sales_channel.sales-channel.deleted": ("sales_channel.deleted",),
    "sales_channel.sales-channel.restored": ("sales_channel.restored",),
}
ECHOES = {
    f"sales-channel.{verb}": f"sales_channel.sales-channel.{verb}" for verb in ("created", "updated", "deleted")
} | {f"api-key.{verb}": f"api_key.api-key.{verb}" for verb in ("created", "updated", "deleted")}
"""What a workflow says once more of what the module has said."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A recorded event in Keyscope's terms: one of these names, and the id as recorded."""

    names: tuple[str, ...]
    id: str

    def __repr__(self) -> str:
        return f"{' or '.join(self.names)} of {self.id}"


def facts(events: Iterable[dict[str, Any]]) -> list[Fact]:
    """The recorded events; one of several rows is several here, and an echo is heard once."""
    found: dict[Fact, int] = {}
    echoes: dict[Fact, int] = {}
    for event in events:
        name = ECHOES.get(event["name"], event["name"])
        heard = echoes if name != event["name"] else found
        for fact in (Fact(NAMES[name], id) for id in _ids(event["data"])):
            heard[fact] = heard.get(fact, 0) + 1
    most = {fact: max(found.get(fact, 0), echoes.get(fact, 0)) for fact in {**found, **echoes}}
    return [fact for fact, times in most.items() for _ in range(times)]


def _ids(data: dict[str, Any]) -> list[str]:
    ids: str | list[str] = data["id"]
    return ids if isinstance(ids, list) else [ids]


def mismatches(recorded: Iterable[dict[str, Any]], came: Iterable[Event], matcher: Matcher) -> Iterator[Mismatch]:
    """Recorded events that did not come, and the other way round; order does not count."""
    left = list(came)
    missing = []
    for fact in facts(recorded):
        found = next((event for event in left if _is(fact, event, matcher)), None)
        if found is None:
            missing.append(fact)
        else:
            left.remove(found)
    for fact in missing:
        yield Mismatch(("events",), fact, ABSENT)
    for event in left:
        yield Mismatch(("events",), ABSENT, event)


def _is(fact: Fact, event: Event, matcher: Matcher) -> bool:
    return event.name in fact.names and matcher.matches(fact.id, event.data["id"])
