"""Given what happened, when this is asked, then this event, or this refusal."""

from typing import Any

import pytest

from events.commands import ChannelChange, NewChannel
from events.errors import InvalidData, NotFound
from events.sales_channel import SalesChannelCreated, SalesChannelDeleted, SalesChannelRestored, SalesChannelUpdated
from services.domain.sales_channel import SalesChannel

T0, T1, T2 = (f"2026-01-01T00:00:0{second}.000Z" for second in range(3))
CREATED = SalesChannelCreated(
    id="sc_1", name="Web", description="d", is_disabled=False, metadata={"a": 1, "b": {"c": 2}}, created_at=T0
)
DELETED = SalesChannelDeleted(id="sc_1", deleted_at=T1, permanent=False)

UPDATES: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("a name", {"name": "Shop"}, {"name": "Shop"}),
    ("the same name", {"name": "Web"}, None),
    ("nothing", {}, None),
    ("a name that is null is no change", {"name": None}, None),
    ("description null", {"description": None}, {"description": None}),
    ("disabled", {"is_disabled": True}, {"is_disabled": True}),
    ("metadata merges by its top keys", {"metadata": {"b": 3}}, {"metadata": {"a": 1, "b": 3}}),
    ("an empty text takes a key away", {"metadata": {"a": ""}}, {"metadata": {"b": {"c": 2}}}),
    ("metadata null", {"metadata": None}, {"metadata": None}),
    ("metadata that adds nothing", {"metadata": {"a": 1}}, None),
]


@pytest.mark.parametrize(("change", "becomes"), [case[1:] for case in UPDATES], ids=[case[0] for case in UPDATES])
def test_update(change: dict[str, Any], becomes: dict[str, Any] | None) -> None:
    channel = SalesChannel("sc_1").replay([CREATED])
    event = channel.update(ChannelChange.model_validate(change), T1)
    before = {name: channel.as_json()[name] for name in ("name", "description", "is_disabled", "metadata")}
    expected = None if becomes is None else SalesChannelUpdated(id="sc_1", updated_at=T1, **{**before, **becomes})
    assert event == expected


def test_delete_and_restore() -> None:
    channel = SalesChannel("sc_1").replay([CREATED])
    assert channel.restore(T1) is None
    assert channel.delete(T1, permanent=False) == DELETED
    channel.replay([DELETED])
    assert channel.delete(T2, permanent=False) is None
    with pytest.raises(NotFound, match="sc_1"):
        channel.update(ChannelChange(name="x"), T2)
    assert channel.restore(T2) == SalesChannelRestored(id="sc_1", updated_at=T2)
    assert channel.replay([SalesChannelRestored(id="sc_1", updated_at=T2)]).alive


def test_a_snapshot_of_the_state_is_the_channel() -> None:
    channel = SalesChannel("sc_1").replay([CREATED, DELETED])
    again = SalesChannel.from_state(channel.state())
    assert (again.as_json(), again.version) == (channel.as_json(), 2)


def test_metadata_are_bounded_also_when_they_are_merged() -> None:
    channel = SalesChannel("sc_1").replay([CREATED])
    big = "x" * 40_000
    event = channel.update(ChannelChange(metadata={"one": big}), T1)
    assert event is not None
    channel.replay([event])
    with pytest.raises(InvalidData, match="metadata"):
        channel.update(ChannelChange(metadata={"two": big}), T2)
    with pytest.raises(InvalidData, match="metadata"):
        SalesChannel.create("sc_2", NewChannel(name="N", metadata={"a": big, "b": big}), T1)
