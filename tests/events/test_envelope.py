"""An event is one text: as stored, as published, as read again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import envelope
from events.api_key import ApiKeyCreated
from events.base import UnknownEvent
from events.catalog import EVENTS
from events.link import LinkCreated, LinkDismissed
from events.subjects import Subjects, from_token, token

T = "2026-01-01T00:00:00.000Z"
LINKED = LinkCreated(id="pksc_1", publishable_key_id="apk_1", sales_channel_id="sc.1", created_at=T, updated_at=T)
CONTEXT = envelope.Context("cmd_1", actor='Ann "the" \\ Ädmin', traceparent="00-a-b-01", cause="sc_1:2")


def test_published_is_stored_plus_source_and_position() -> None:
    stored = envelope.encode(LINKED, version=7, time=T, context=CONTEXT.as_json_members())
    published = json.loads(envelope.published(stored, position=42, previous=40, source="/a"))
    assert published == {
        "specversion": "1.0",
        "id": "apk_1:7",
        "source": "/a",
        "type": "keyscope.link.created",
        "subject": "apk_1/sc%2E1",
        "time": T,
        "dataschema": "urn:keyscope:event:link.created:1",
        "datacontenttype": "application/json",
        "commandid": "cmd_1",
        "actor": 'Ann "the" \\ Ädmin',
        "traceparent": "00-a-b-01",
        "cause": "sc_1:2",
        "data": LINKED.model_dump(),
        "previous": 40,
        "position": 42,
    }
    added = ("source", "previous", "position")
    assert {name: published[name] for name in published if name not in added} == json.loads(stored)
    event = envelope.decode(json.dumps(published))
    assert (event.data, event.position, event.actor, event.cause) == (LINKED, 42, CONTEXT.actor, "sc_1:2")


def test_secrets_never_leave_the_store() -> None:
    created = ApiKeyCreated(
        id="apk_1", token="", redacted="sk_***", title="S", type="secret", created_by="a", created_at=T,
        hash="HASH", salt="SALT",
    )  # fmt: skip
    stored = envelope.encode(created, version=1, time=T, context='"commandid":"c",')
    assert b"HASH" in stored
    public = envelope.without_private(stored)
    assert b"HASH" not in public
    assert b"SALT" not in public
    assert json.loads(public)["data"]["redacted"] == "sk_***"


def test_version_1_of_a_dismissal_is_upcast() -> None:
    """As the first release stored it: without a reason."""
    stored = (
        b'{"specversion":"1.0","id":"apk_1:3","type":"keyscope.link.dismissed","subject":"apk_1/sc_1",'
        b'"time":"2026-01-01T00:00:00.000Z","dataschema":"urn:keyscope:event:link.dismissed:1",'
        b'"datacontenttype":"application/json","commandid":"c","data":{"id":"pksc_1","publishable_key_id":"apk_1",'
        b'"sales_channel_id":"sc_1","created_at":"2026-01-01T00:00:00.000Z","deleted_at":"2026-01-02T00:00:00.000Z"}}'
    )
    event = envelope.decode(stored)
    assert isinstance(event.data, LinkDismissed)
    assert event.data.reason == "dismissed"


@pytest.mark.parametrize("schema", ["link.dismissed:3", "link.exploded:1"])
def test_what_a_newer_release_stored_is_refused(schema: str) -> None:
    stored = envelope.encode(LINKED, version=1, time=T, context="")
    with pytest.raises(UnknownEvent, match=schema.partition(":")[0]):
        envelope.decode(stored.replace(b"link.created:1", schema.encode()))


def test_every_version_can_be_upcast() -> None:
    for event in EVENTS.values():
        assert set(event.upcasts) == set(range(1, event.version))


@given(st.text(min_size=1))
def test_any_id_is_one_token_of_a_subject_and_back(id: str) -> None:
    if not id.isprintable() or any("\ud800" <= c <= "\udfff" for c in id):
        return
    assert from_token(token(id)) == id
    assert not set(token(id)) & set(" .*>\t\r\n")


def test_subjects() -> None:
    subjects = Subjects("shop")
    assert subjects.command("link", "create") == "shop.cmd.link.create"
    assert subjects.event("link.created", "apk_1", "sc 1") == "shop.evt.link.created.apk_1.sc%201"
    assert subjects.links(api_key_id="apk_1") == "shop.evt.link.*.apk_1.*"
    assert subjects.links("created", sales_channel_id="sc.1") == "shop.evt.link.created.*.sc%2E1"
