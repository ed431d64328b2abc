"""Given what happened, when this is asked, then these events, or this refusal."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from events.api_key import ApiKeyCreated, ApiKeyDeleted, ApiKeyRestored, ApiKeyRevoked, ApiKeyUpdated
from events.base import Event
from events.errors import KeyscopeError, NotAllowed, NotFound
from events.link import DismissReason, LinkCreated, LinkDismissed
from events.sales_channel import SalesChannelCreated, SalesChannelDeleted
from services.domain.api_key import ApiKey
from services.domain.sales_channel import SalesChannel

T0, T1, T2, T3 = (f"2026-01-01T00:00:0{second}.000Z" for second in range(4))


def created(kind: Any = "publishable") -> ApiKeyCreated:
    return ApiKeyCreated(
        id="apk_1", token="pk_1", redacted="pk***1", title="Shop", type=kind, created_by="ann", created_at=T0
    )


def linked(channel: str = "sc_1", link: str = "pksc_1", at: str = T1, *, restored: bool = False) -> LinkCreated:
    return LinkCreated(
        id=link, publishable_key_id="apk_1", sales_channel_id=channel, created_at=T1, updated_at=at, restored=restored
    )


def dismissed(reason: DismissReason = "dismissed", channel: str = "sc_1", link: str = "pksc_1", at: str = T2) -> Event:
    return LinkDismissed(
        id=link, publishable_key_id="apk_1", sales_channel_id=channel, created_at=T1, deleted_at=at, reason=reason
    )


def revoked(at: str = T1) -> ApiKeyRevoked:
    return ApiKeyRevoked(id="apk_1", revoked_by="bob", revoked_at=at, updated_at=T1)


def deleted(at: str = T2, *, permanent: bool = False) -> ApiKeyDeleted:
    return ApiKeyDeleted(id="apk_1", deleted_at=at, permanent=permanent)


def channel(id: str = "sc_1", *, alive: bool = True) -> SalesChannel:
    made = SalesChannelCreated(id=id, name="Web", description=None, is_disabled=False, metadata=None, created_at=T0)
    gone = SalesChannelDeleted(id=id, deleted_at=T1, permanent=False)
    return SalesChannel(id).replay([made] if alive else [made, gone])


def link(at: str = T2, *, alive: bool = True) -> Callable[[ApiKey], Event | None]:
    return lambda key: key.link(channel(alive=alive), lambda: "pksc_new", at)


def delete(*, permanent: bool = False) -> Callable[[ApiKey], Iterable[Event]]:
    return lambda key: key.delete(T2, permanent=permanent)


def restore(*alive: str) -> Callable[[ApiKey], Iterable[Event]]:
    return lambda key: key.restore(T3, lambda channel_id: channel_id in alive)


def relink(*fates: Any, alive: bool = True) -> Callable[[ApiKey], Event | None]:
    return lambda key: key.relink(channel(alive=alive), frozenset(fates), T3)


@dataclass
class Case:
    name: str
    given: list[Event]
    when: Callable[[ApiKey], Any]
    then: list[Event] = field(default_factory=list)
    refused: type[KeyscopeError] | None = None


CASES = [
    Case("linking", [created()], link(), [
        LinkCreated(id="pksc_new", publishable_key_id="apk_1", sales_channel_id="sc_1", created_at=T2, updated_at=T2)
    ]),
    Case("linking what is linked changes nothing", [created(), linked()], link()),
    Case("linking again: a new id, the old created_at", [created(), linked(), dismissed()], link(T3), [
        LinkCreated(id="pksc_new", publishable_key_id="apk_1", sales_channel_id="sc_1", created_at=T1, updated_at=T2)
    ]),
    Case("a secret key cannot be linked", [created("secret")], link(), refused=NotAllowed),
    Case("a revoked key cannot be linked", [created(), revoked(T1)], link(T2), refused=NotAllowed),
    Case("a key that will be revoked still can", [created(), revoked(T3)], link(T2), [
        LinkCreated(id="pksc_new", publishable_key_id="apk_1", sales_channel_id="sc_1", created_at=T2, updated_at=T2)
    ]),
    Case("a deleted key cannot be linked", [created(), deleted()], link(), refused=NotFound),
    Case("nor with a deleted channel", [created()], link(alive=False), refused=NotFound),
    Case("nor when it was linked with it before", [created(), linked()], link(alive=False), refused=NotFound),
    Case("dismissing", [created(), linked()], lambda key: key.dismiss("sc_1", "dismissed", T2), [dismissed()]),
    Case("dismissing what is not linked", [created()], lambda key: key.dismiss("sc_1", "dismissed", T2)),
    Case("dismissing twice", [created(), linked(), dismissed()], lambda key: key.dismiss("sc_1", "dismissed", T3)),
    Case("a new title", [created()], lambda key: key.retitle("New", T1), [
        ApiKeyUpdated(id="apk_1", title="New", updated_at=T1)
    ]),
    Case("the same title", [created()], lambda key: key.retitle("Shop", T1)),
    Case("no title", [created()], lambda key: key.retitle(None, T1)),
    Case("a title for a deleted key", [created(), deleted()], lambda key: key.retitle("New", T3), refused=NotFound),
    Case("revoking", [created()], lambda key: key.revoke("bob", T1, T1), [revoked(T1)]),
    Case("revoking again moves it", [created(), revoked(T3)], lambda key: key.revoke("bob", T1, T1), [revoked(T1)]),
    Case("revoking a deleted key", [created(), deleted()], lambda key: key.revoke("bob", T1, T1), refused=NotFound),
    Case("deleting takes the links along", [created(), linked()], delete(), [deleted(), dismissed("api_key.deleted")]),
    Case("deleting for good", [created()], delete(permanent=True), [deleted(permanent=True)]),
    Case("deleting leaves dismissed links as they are", [created(), linked(), dismissed(at=T1)], delete(), [deleted()]),
    Case("deleting twice", [created(), deleted()], delete()),
    Case("restoring brings back what went with it",
         [created(), linked(), deleted(), dismissed("api_key.deleted")], restore("sc_1"),
         [ApiKeyRestored(id="apk_1", updated_at=T3), linked(at=T3, restored=True)]),
    Case("but not a link that was dismissed on purpose",
         [created(), linked(), dismissed(), deleted()], restore("sc_1"), [ApiKeyRestored(id="apk_1", updated_at=T3)]),
    Case("nor one that link.delete took away",
         [created(), linked(), dismissed("link.deleted"), deleted()], restore("sc_1"),
         [ApiKeyRestored(id="apk_1", updated_at=T3)]),
    Case("nor one whose channel is gone",
         [created(), linked(), deleted(), dismissed("api_key.deleted")], restore(),
         [ApiKeyRestored(id="apk_1", updated_at=T3)]),
    Case("restoring a living key", [created(), linked()], restore("sc_1")),
    Case("a swept link comes back", [created(), linked(), dismissed("sales_channel.deleted")], relink("swept"),
         [linked(at=T3, restored=True)]),
    Case("only for the fates asked for", [created(), linked(), dismissed()], relink("swept", "link.deleted")),
    Case("a dismissal can be undone by name", [created(), linked(), dismissed()], relink("dismissed"),
         [linked(at=T3, restored=True)]),
    Case("not while the channel is gone", [created(), linked(), dismissed("link.deleted")],
         relink("link.deleted", alive=False)),
    Case("not while the key is gone", [created(), linked(), deleted(), dismissed("api_key.deleted")], relink("swept")),
    Case("what is linked stays", [created(), linked()], relink("swept", "dismissed", "link.deleted")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_api_key(case: Case) -> None:
    key = ApiKey("apk_1").replay(case.given)
    if case.refused:
        with pytest.raises(case.refused) as refusal:
            case.when(key)
        assert "_1" in refusal.value.message  # names the id
        return
    assert _events(key, case.when(key)) == case.then


def _events(key: ApiKey, outcome: Any) -> list[Event]:
    """What was decided. Several events are applied as they come, as the write service does."""
    if outcome is None or isinstance(outcome, Event):
        return [] if outcome is None else [outcome]
    seen = []
    for event in outcome:
        key.replay([event])
        seen.append(event)
    return seen


def test_a_snapshot_of_the_state_is_the_key() -> None:
    key = ApiKey("apk_1").replay([created(), linked(), linked("sc_2", "pksc_2"), dismissed(), revoked()])
    again = ApiKey.from_state(key.state())
    assert (again.as_json(), again.version) == (key.as_json(), 5)
    assert [again.link_as_json(id) for id in again.links] == [key.link_as_json(id) for id in key.links]


def test_medusa_shapes() -> None:
    key = ApiKey("apk_1").replay([created(), linked(), dismissed()])
    assert list(key.as_json()) == [
        "id", "token", "redacted", "title", "type", "last_used_at", "created_by", "revoked_by", "revoked_at",
        "created_at", "updated_at", "deleted_at",
    ]  # fmt: skip
    assert key.link_as_json("sc_1") == {
        "publishable_key_id": "apk_1", "sales_channel_id": "sc_1", "id": "pksc_1",
        "created_at": T1, "updated_at": T2, "deleted_at": T2,
    }  # fmt: skip
