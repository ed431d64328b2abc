"""The client has its own small copies of names and errors, since it imports nothing of the server: they must agree."""

import inspect

import pytest

import events.errors
import events.subjects
import keyscope.errors
import keyscope.subjects
from events.commands import COMMANDS, CommandSpec
from events.envelope import TYPE_PREFIX
from events.queries import GraphQuery as GraphQueryModel
from keyscope.api_keys import ApiKeys
from keyscope.event import TYPE_PREFIX as CLIENT_TYPE_PREFIX
from keyscope.links import Links
from keyscope.sales_channels import SalesChannels
from keyscope.types import GraphQuery


def test_error_types_and_codes_are_the_same() -> None:
    assert {name: error.code for name, error in keyscope.errors.ERRORS.items()} == {
        name: error.code for name, error in events.errors.ERRORS.items()
    }
    assert {name: error.__name__ for name, error in keyscope.errors.ERRORS.items()} == {
        name: error.__name__ for name, error in events.errors.ERRORS.items()
    }


@pytest.mark.parametrize("name", ["EVENTS_STREAM", "COMMAND_ID", "ACTOR", "TRACEPARENT", "ERROR"])
def test_constants_are_the_same(name: str) -> None:
    assert getattr(keyscope.subjects, name) == getattr(events.subjects, name)


def test_the_type_prefix_is_the_same() -> None:
    assert CLIENT_TYPE_PREFIX == TYPE_PREFIX


@pytest.mark.parametrize("id", ["apk_01J", "a.b", "a b", "ü", "~", "*", ">", "100%", "a/b"])
def test_ids_are_encoded_alike(id: str) -> None:
    ours, theirs = keyscope.subjects.Subjects("shop"), events.subjects.Subjects("shop")
    assert keyscope.subjects.token(id) == events.subjects.token(id)
    assert ours.outcome(id) == theirs.outcome(id)
    assert ours.links(api_key_id=id) == theirs.links(api_key_id=id)
    assert ours.links("created", sales_channel_id=id) == theirs.links("created", sales_channel_id=id)


@pytest.mark.parametrize("spec", COMMANDS.values(), ids=COMMANDS)
def test_commands_and_jobs_go_where_the_service_listens(spec: CommandSpec) -> None:
    ours, theirs = keyscope.subjects.Subjects(), events.subjects.Subjects()
    assert ours.command(spec.name) == theirs.command(spec.entity, spec.verb)
    assert ours.job(spec.name) == theirs.job(spec.entity, spec.verb)
    assert ours.query("graph") == theirs.query("graph")
    assert ours.events() == theirs.events


@pytest.mark.parametrize("spec", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_a_method(spec: CommandSpec) -> None:
    module = {"api_key": ApiKeys, "sales_channel": SalesChannels}.get(spec.entity, Links)
    assert inspect.iscoroutinefunction(getattr(module, spec.verb))


def test_a_graph_query_has_the_members_of_the_model() -> None:
    assert set(GraphQuery.__annotations__) == set(GraphQueryModel.model_fields)
