"""Graph queries: what is answered, what is refused and in which words, and what it may cost."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

from events.errors import InvalidData, NotFound
from projections import limits
from projections.graph import Plans, answer
from projections.question import read
from tests.projections.world import World, at

LINK = "publishable_api_key_sales_channel"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The three channels and four keys that most recorded cases of Medusa begin with."""
    world = World(tmp_path_factory.mktemp("world") / "read.db")
    world.channel("sc1", "Alpha", "first")
    world.channel("sc2", "beta", is_disabled=True)
    world.channel("sc3", "Gamma_x", "100% third", metadata={"region": "eu", "rank": 3, "on": True, "deep": {"x": [1]}})
    world.key("k1", "Storefront")
    world.key("k2", "Back office")
    world.key("k3", "mobile")
    world.key("sk1", "Server", type="secret")
    for key, channel in (("k1", "sc1"), ("k1", "sc2"), ("k2", "sc2")):
        world.link(key, channel, id=f"l_{key}_{channel}")
    yield world
    world.close()


def titles(world: World, filters: dict[str, Any], **more: Any) -> list[str]:
    return [row["title"] for row in world.data("api_key", ["title"], filters=filters, **more)]


def names(world: World, filters: dict[str, Any], **more: Any) -> list[str]:
    return [row["name"] for row in world.data("sales_channel", ["name"], filters=filters, **more)]


@pytest.mark.parametrize(
    ("entity", "fields", "expected"),
    [
        ("api_key", ["title"], '{"title":"Storefront"}'),
        ("api_keys", ["title", "id", "title"], '{"title":"Storefront","id":"k1"}'),
        ("api_key", [], "{}"),
        ("api_key", ["+id", "nope", "salt", "sales_channels", "nopes.*", ""], "{}"),
        (
            "api_key",
            ["sales_channels.name"],
            '{"id":"k1","sales_channels":[{"name":"Alpha","id":"sc1"},{"name":"beta","id":"sc2"}]}',
        ),
        ("api_key", ["sales_channels.nope"], '{"id":"k1","sales_channels":[{"id":"sc1"},{"id":"sc2"}]}'),
        (
            "api_key",
            ["sales_channels_link.id", "title"],
            (
                '{"title":"Storefront","id":"k1","sales_channels_link":[{"id":"l_k1_sc1","publishable_key_id":"k1"},'
                '{"id":"l_k1_sc2","publishable_key_id":"k1"}]}'
            ),
        ),
        (
            "api_key",
            ["sales_channels.id", "sales_channels_link.id"],
            (
                '{"id":"k1","sales_channels_link":[{"id":"l_k1_sc1","publishable_key_id":"k1","sales_channel_id":"sc1"},'
                '{"id":"l_k1_sc2","publishable_key_id":"k1","sales_channel_id":"sc2"}],'
                '"sales_channels":[{"id":"sc1"},{"id":"sc2"}]}'
            ),
        ),
        (
            "api_key",
            ["sales_channels_link.sales_channel.name"],
            (
                '{"id":"k1","sales_channels_link":[{"publishable_key_id":"k1","sales_channel_id":"sc1",'
                '"sales_channel":{"name":"Alpha","id":"sc1"}},{"publishable_key_id":"k1","sales_channel_id":"sc2",'
                '"sales_channel":{"name":"beta","id":"sc2"}}]}'
            ),
        ),
        (
            "api_key",
            ["sales_channels.publishable_api_keys.sales_channels_link.api_key.title"],
            None,
        ),
    ],
)
def test_fields(world: World, entity: str, fields: list[str], expected: str | None) -> None:
    question = read({"entity": entity, "fields": fields, "filters": {"id": "k1"}})
    text = answer(world._reader, question, Plans().of(question.shape)).decode()
    if expected is not None:
        assert text == f'{{"data":[{expected}]}}'
    else:
        assert text.count('"title":"Storefront"') == 4


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"title": {"$like": "%o%"}}, ["Storefront", "Back office", "mobile"]),
        ({"title": {"$like": "s%"}}, []),
        ({"title": {"$ilike": "S%"}}, ["Storefront", "Server"]),
        ({"title": {"$re": "^S.*r$"}}, ["Server"]),
        ({"title": {"$fulltext": "OFFICE back"}}, ["Back office"]),
        ({"title": {"$exists": False}}, []),
        ({"revoked_at": {"$exists": False}, "title": "mobile"}, ["mobile"]),
        ({"title": {"$in": ["mobile", None]}}, ["mobile"]),
        ({"title": {"$nin": ["mobile", None]}}, []),
        ({"title": [None]}, []),
        ({"title": {"$gt": None}}, []),
        ({"title": {"$not": {"$like": "%o%"}}}, ["Server"]),
        ({"title": {"$not": "Server"}}, ["Storefront", "Back office", "mobile"]),
        ({"title": {"$or": [{"$eq": "mobile"}, {"$like": "S%"}]}}, ["Storefront", "mobile", "Server"]),
        ({"$not": {"$or": [{"title": "mobile"}, {"type": "secret"}]}}, ["Storefront", "Back office"]),
        ({"$or": [{}, {"title": "mobile"}]}, ["mobile"]),
        ({"$or": [{"sales_channels": {"name": "Alpha"}}, {"title": "mobile"}]}, ["Storefront", "mobile"]),
        ({"$not": {"sales_channels": {"name": "beta"}}}, ["mobile", "Server"]),
        ({"$and": [{"sales_channels": {"name": "beta"}}, {"sales_channels": {"name": "Alpha"}}]}, ["Storefront"]),
        ({"sales_channels": {"name": "beta", "description": "first"}}, []),
        ({"sales_channels": {"description": None}}, ["Storefront", "Back office"]),
        ({"sales_channels": {"$not": {"description": "first"}}}, ["Storefront", "Back office"]),
        ({"sales_channels": {"publishable_api_keys": {"title": "Back office"}}}, ["Storefront", "Back office"]),
        ({"sales_channels_link": {"sales_channel": {"name": {"$re": "^b"}}}}, ["Storefront", "Back office"]),
        ({"sales_channels": {"nope": 1}}, []),
        ({"sales_channels": {"nope": {"$ne": 1}}}, []),
        ({"sales_channels": {"q": "ALPHA fir"}}, ["Storefront"]),
        ({"sales_channels": {}}, ["Storefront", "Back office", "mobile", "Server"]),
        ({"q": None}, ["Storefront", "Back office", "mobile", "Server"]),
        ({"q": "  office\tBACK "}, ["Back office"]),
        ({"created_at": {"$gt": at(4), "$lte": at(6)}}, ["Back office", "mobile"]),
        ({"created_at": "2026-11-23T13:00:05+01:00"}, ["Back office"]),
        ({"created_at": {"$lt": "2026-11-23T12:00:04.0001Z"}}, ["Storefront"]),
        ({"created_at": {"$gt": "-infinity", "$lt": "infinity"}, "type": "secret"}, ["Server"]),
        ({"created_at": {"$gt": "2026-11-23"}, "title": "mobile"}, ["mobile"]),
        ({"id": ["k1", "k1"]}, ["Storefront"]),
        ({"id": ""}, []),
        ({"id": {"$ne": None}, "type": "secret"}, ["Server"]),
    ],
)
def test_filters_of_keys(world: World, filters: dict[str, Any], expected: list[str]) -> None:
    assert titles(world, filters) == expected
    page = world.graph("api_key", ["title"], filters=filters, pagination={"skip": 0, "take": 1})
    assert page["metadata"]["count"] == len(expected)
    assert [row["title"] for row in page["data"]] == expected[:1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"is_disabled": "YES"}, ["beta"]),
        ({"is_disabled": {"$in": ["f", True]}}, ["Alpha", "beta", "Gamma_x"]),
        ({"is_disabled": {"$gt": False}}, ["beta"]),
        ({"description": {"$ne": "first"}}, ["Gamma_x"]),
        ({"$not": {"description": "first"}}, ["Gamma_x"]),
        ({"description": {"$like": "100\\% %"}}, ["Gamma_x"]),
        ({"metadata": None}, ["Alpha", "beta"]),
        ({"metadata": {"rank": {"$gt": 2, "$lte": 3}}}, ["Gamma_x"]),
        ({"metadata": {"rank": {"$eq": "3"}}}, ["Gamma_x"]),
        ({"metadata": {"region": {"$like": "e%"}}}, ["Gamma_x"]),
        ({"metadata": {"region": {"$gt": 1}}}, []),
        ({"metadata": {"on": {"$eq": True}}}, ["Gamma_x"]),
        ({"metadata": {"deep": {"x": {"$eq": "[1]"}}}}, ["Gamma_x"]),
        ({"metadata": {"nope": {"$eq": None}}}, ["Alpha", "beta", "Gamma_x"]),
        ({"metadata": {"$contains": {"deep": {"x": [1]}}}}, ["Gamma_x"]),
        ({"metadata": {"$contained": {"region": "eu"}}}, []),
        ({"metadata": {"$hasKey": "region"}}, ["Gamma_x"]),
        ({"metadata": {"$hasKeys": ["region", "nope"]}}, []),
        ({"metadata": {"$hasSomeKeys": ["region", "nope"]}}, ["Gamma_x"]),
        ({"publishable_api_keys": {"type": "publishable"}}, ["Alpha", "beta"]),
        ({"api_keys_link": {"api_key": {"title": "Back office"}}}, ["beta"]),
    ],
)
def test_filters_of_channels(world: World, filters: dict[str, Any], expected: list[str]) -> None:
    assert names(world, filters) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"entity": "apiKey"}, 'Service with alias "apiKey" was not found.'),
        ({"entity": None}, 'Service with alias "null" was not found.'),
        ({"fields": "id"}, "fields: an array is needed, not a text"),
        ({"fields": [1]}, "fields.0: a text is needed, not a number"),
        ({"filters": []}, "filters: an object is needed, not an array"),
        ({"filters": {"nope": 1}}, "Trying to query by not existing property ApiKey.nope"),
        ({"entity": LINK, "filters": {"nope": 1}}, "Trying to query by not existing property LinkModel.nope"),
        ({"entity": LINK, "filters": {"q": "x"}}, "Trying to query by not existing property LinkModel.q"),
        ({"filters": {"title": {"$nope": 1}}}, "Trying to query by not existing property ApiKey.$nope"),
        ({"filters": {"title": {"nope": 1}}}, "Trying to query by not existing property ApiKey.nope"),
        ({"filters": {"sales_channels": None}}, "Trying to query by not existing property ApiKey.sales_channels"),
        ({"filters": {"sales_channels": "sc1"}}, "Trying to query by not existing property ApiKey.sales_channels"),
        (
            {"filters": {"sales_channels": {"nope": {"$x": 1}}}},
            "Trying to query by not existing property SalesChannel.$x",
        ),
        ({"filters": {"sales_channels.name": "x"}}, "filters.sales_channels.name: write the relation as an object"),
        ({"filters": {"id": None}}, "filters.id: null names no row"),
        ({"filters": {"sales_channels": {"id": None}}}, "filters.sales_channels.id: null names no row"),
        ({"filters": {"title": 1}}, "filters.title: a text is needed, not a number"),
        ({"filters": {"title": ["a", 1]}}, "filters.title.1: a text is needed, not a number"),
        ({"filters": {"title": {"$eq": ["a"]}}}, "filters.title.$eq: a text is needed, not an array"),
        ({"filters": {"title": {"$in": "a"}}}, "filters.title.$in: an array is needed, not a text"),
        (
            {"filters": {"title": {"$contains": "a"}}},
            "filters.title.$contains: $contains does not fit a column of type text",
        ),
        ({"filters": {"created_at": {"$like": "2%"}}}, "filters.created_at.$like: $like does not fit"),
        ({"filters": {"created_at": "not a date"}}, 'filters.created_at: "not a date" is no date or time'),
        ({"filters": {"created_at": 5}}, "filters.created_at: a date or time is needed, not a number"),
        (
            {"filters": {"title": {"$like": "a\\"}}},
            "filters.title.$like: a pattern must not end with its escape character",
        ),
        ({"filters": {"title": {"$re": "("}}}, "filters.title.$re: not a regular expression: missing )"),
        ({"filters": {"title": {"$re": "(a)\\1"}}}, "filters.title.$re: not a regular expression"),
        ({"filters": {"$or": {"title": "x"}}}, "Expected array for $or but got [object Object]"),
        ({"filters": {"$and": [1]}}, "filters.$and.0: an object is needed"),
        ({"filters": {"$not": [1]}}, "filters.$not: an object is needed"),
        ({"filters": {"q": 1}}, "filters.q: a text is needed"),
        ({"filters": {"q": {"a": 1}}}, "filters.q: a text is needed"),
        ({"filters": {"$not": {"q": {".": "x"}}}}, "filters.$not.q: a text is needed"),
        (
            {"entity": "sales_channel", "filters": {"is_disabled": "maybe"}},
            "filters.is_disabled: true or false is needed",
        ),
        ({"entity": "sales_channel", "filters": {"is_disabled": 1}}, "filters.is_disabled: true or false is needed"),
        (
            {"entity": "sales_channel", "filters": {"metadata": {"region": "eu"}}},
            "filters.metadata.region: use an operator",
        ),
        (
            {"entity": "sales_channel", "filters": {"metadata": "eu"}},
            "filters.metadata: an object is needed, not a text",
        ),
        ({"pagination": 1}, "pagination: an object is needed, not a number"),
        ({"pagination": {"skip": -1}}, "pagination.skip: must not be negative"),
        ({"pagination": {"limit": -1}}, "pagination.take: must not be negative"),
        ({"pagination": {"order": {"nope": "ASC"}}}, "Trying to order by not existing property ApiKey.nope"),
        (
            {"pagination": {"order": {"sales_channels": "ASC"}}},
            "Trying to order by not existing property ApiKey.sales_channels",
        ),
        ({"pagination": {"order": {"title": "sideways"}}}, "pagination.order.title: ASC or DESC is needed"),
        ({"pagination": {"order": "title"}}, "pagination.order: an object is needed"),
        (
            {"entity": "sales_channel", "pagination": {"order": {"metadata": "ASC"}}},
            "pagination.order.metadata: a JSON column",
        ),
        ({"pagination": {"after": None}}, "pagination.after: needs a take"),
        ({"pagination": {"after": "x", "take": 1}}, "pagination.after: not a cursor"),
        ({"pagination": {"after": '["a","b"]', "take": 1}}, "pagination.after: a cursor of another order"),
        (
            {"relations": {"sales_channels": {"take": 1}}},
            "relations.sales_channels: is not a list that `fields` selects from",
        ),
        ({"withDeleted": "yes"}, "withDeleted: true or false is needed, not a text"),
        ({"fields": ["sales_channels.publishable_api_keys." * 5 + "id"]}, "fields: at most 8 relations in one path"),
        ({"fields": ["id"] * (limits.MAX_FIELDS + 1)}, "fields: at most 200 fields"),
        ({"filters": {"$or": [{"title": "x"}] * 300}}, "a query has at most 200 conditions"),
        ({"filters": {"title": ["x"] * 10_001}}, "filters.title: at most 10000 values in one list"),
        ({"filters": {"title": "x" * 10_001}}, "filters.title: at most 10000 characters"),
    ],
)
def test_refusals_name_the_place(world: World, query: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData) as refused:
        world.graph(**{"entity": "api_key", "fields": ["id"]} | query)
    assert message in refused.value.message


def test_deep_filters_are_refused(world: World) -> None:
    filters: dict[str, Any] = {"title": "x"}
    for _ in range(30):
        filters = {"$not": filters}
    with pytest.raises(InvalidData, match="at most 20 levels"):
        world.graph("api_key", ["id"], filters=filters)


@pytest.mark.parametrize(
    ("pagination", "expected", "metadata"),
    [
        ({"take": 0}, [], None),
        ({"take": 0, "skip": 0}, [], {"skip": 0, "take": 0, "count": 4}),
        ({"take": None, "skip": 2}, ["mobile", "Server"], {"skip": 2, "take": None, "count": 4}),
        ({"skip": 3}, ["Server"], {"skip": 3, "count": 4}),
        (
            {"take": "2", "skip": 0},
            ["Storefront", "Back office", "mobile", "Server"],
            {"skip": 0, "take": "2", "count": 4},
        ),
        (
            {"take": 1.5, "skip": "1"},
            ["Storefront", "Back office", "mobile", "Server"],
            {"skip": "1", "take": 1.5, "count": 4},
        ),
        ({"take": 2.0}, ["Storefront", "Back office"], None),
        ({"limit": 2, "offset": 1}, ["Back office", "mobile"], {"skip": 1, "take": 2, "count": 4}),
        ({"order": {"title": "desc"}, "take": 2}, ["mobile", "Storefront"], None),
        ({"order": [{"type": -1}, {"title": 1}], "take": 2}, ["Server", "Back office"], None),
        ({"order": {"sales_channels": {"name": "DESC"}}}, ["mobile", "Server", "Back office", "Storefront"], None),
        ({"order": {"sales_channels.name": "ASC"}}, ["Storefront", "Back office", "mobile", "Server"], None),
        (
            {"order": {"sales_channels": {"name": "ASC NULLS FIRST"}}},
            ["mobile", "Server", "Storefront", "Back office"],
            None,
        ),
        ({"order": {"sales_channels": {"nope": "DESC"}}}, ["Storefront", "Back office", "mobile", "Server"], None),
        (
            {"order": {"sales_channels": {"publishable_api_keys": {"title": "DESC"}}}, "take": 2},
            ["mobile", "Server"],
            None,
        ),
    ],
)
def test_pagination(world: World, pagination: dict[str, Any], expected: list[str], metadata: Any) -> None:
    page = world.graph("api_key", ["title"], pagination=pagination)
    assert [row["title"] for row in page["data"]] == expected
    assert page.get("metadata") == metadata


@pytest.mark.parametrize(
    "order",
    [{}, {"title": "DESC"}, {"description": "ASC"}, {"description": "DESC"}, {"is_disabled": "DESC", "name": "ASC"},
     {"publishable_api_keys": {"title": "ASC"}}, {"publishable_api_keys": {"title": "DESC"}}],
)  # fmt: skip
@pytest.mark.parametrize("take", [1, 2, 3, 4])
def test_pages_by_cursor_are_the_whole_list_once(world: World, order: dict[str, Any], take: int) -> None:
    order = {"name" if name == "title" else name: way for name, way in order.items()}
    whole = world.data("sales_channel", ["name"], pagination={"order": order})
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        pagination = {"order": order, "take": take, "after": cursor}
        page = world.graph("sales_channel", ["name"], pagination=pagination)
        assert page["metadata"]["take"] == take
        seen += page["data"]
        cursor, pages = page["metadata"]["next"], pages + 1
    assert seen == whole
    assert pages == -(-len(whole) // take)


def test_lists_of_a_relation_are_cut_for_each_row(world: World) -> None:
    rows = world.data(
        "api_key",
        ["title", "sales_channels.name"],
        filters={"type": "publishable"},
        relations={"sales_channels": {"filters": {"name": {"$ne": "Alpha"}}, "order": {"name": "DESC"}, "take": 1}},
    )
    assert [(row["title"], [channel["name"] for channel in row["sales_channels"]]) for row in rows] == [
        ("Storefront", ["beta"]),
        ("Back office", ["beta"]),
        ("mobile", []),
    ]


def test_a_list_within_a_list_is_cut(world: World) -> None:
    rows = world.data(
        "sales_channel",
        ["publishable_api_keys.sales_channels.name"],
        filters={"id": "sc1"},
        relations={"publishable_api_keys.sales_channels": {"skip": 1}},
    )
    assert rows[0]["publishable_api_keys"][0]["sales_channels"] == [{"name": "beta", "id": "sc2"}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"filters": {"id": "x"}, "throwIfKeyNotFound": True}, "ApiKey id not found: x"),
        ({"filters": {"id": ["k1", "x", "y"]}, "throwIfKeyNotFound": True}, "ApiKey id not found: x, y"),
        ({"filters": {"id": {"$in": ["k1", "x"]}}, "throwIfKeyNotFound": True}, "ApiKey id not found: x"),
        ({"filters": {"id": "k1", "title": "x"}, "throwIfKeyNotFound": True}, "ApiKey id not found: k1"),
        ({"filters": {"title": "x"}, "throwIfKeyNotFound": True}, "ApiKey: Primary key(s) [id] not found in filters"),
        (
            {"filters": {"id": None}, "throwIfKeyNotFound": True},
            "ApiKey: Value for primary key id not found in filters",
        ),
        (
            {"entity": LINK, "filters": {"publishable_key_id": "x"}, "throwIfKeyNotFound": True},
            "LinkPublishableApiKeySalesChannel publishable_key_id not found: x",
        ),
        (
            {"entity": LINK, "throwIfKeyNotFound": True},
            (
                "LinkPublishableApiKeySalesChannel: Primary key(s) [id, publishable_key_id, sales_channel_id]"
                " not found in filters"
            ),
        ),
        (
            {"fields": ["sales_channels.name"], "throwIfRelationNotFound": True},
            "LinkPublishableApiKeySalesChannel publishable_key_id not found: k3, sk1",
        ),
        (
            {"entity": "sales_channel", "fields": ["api_keys_link.id"], "throwIfRelationNotFound": True},
            "LinkPublishableApiKeySalesChannel sales_channel_id not found: sc3",
        ),
    ],
)
def test_what_must_be_there_and_is_not(world: World, query: dict[str, Any], message: str) -> None:
    with pytest.raises(NotFound) as refused:
        world.graph(**{"entity": "api_key", "fields": ["id"]} | query)
    assert refused.value.message == message


@pytest.mark.parametrize(
    "query",
    [
        {"filters": {"id": ["k1", "k2"]}, "throwIfKeyNotFound": True, "pagination": {"take": 1}},
        {"fields": ["sales_channels.name"], "filters": {"id": "k1"}, "throwIfRelationNotFound": True},
        {"fields": ["sales_channels.name"], "throwIfRelationNotFound": ["sales_channel"]},
        {"fields": ["title"], "throwIfRelationNotFound": True},
        {
            "fields": ["sales_channels.name"],
            "throwIfRelationNotFound": True,
            "relations": {"sales_channels": {"filters": {"name": "none"}}},
        },
    ],
)
def test_what_must_be_there_and_is(world: World, query: dict[str, Any]) -> None:
    assert world.data(**{"entity": "api_key", "fields": ["id"]} | query)


def test_an_end_that_is_gone_under_a_deleted_link(tmp_path: Path) -> None:
    world = World(tmp_path / "read.db")
    world.key("k1")
    world.channel("sc1")
    world.link("k1", "sc1", id="l1")
    world.delete_channel("sc1")
    asked: dict[str, Any] = {"entity": LINK, "fields": ["id", "sales_channel.name"], "withDeleted": True}
    assert world.data(**asked) == [{"id": "l1", "sales_channel_id": "sc1"}]
    with pytest.raises(NotFound, match="SalesChannel id not found: sc1"):
        world.graph(**asked, throwIfRelationNotFound=True)
    world.close()


def test_initial_data_is_merged_in_its_order(world: World) -> None:
    have = [{"id": "k2", "extra": 2}, {"id": "gone", "extra": 0}, {"id": "k1", "title": "mine"}]
    rows = world.data("api_key", ["id", "title"], filters={"type": "publishable"}, initialData=have)
    assert rows == [{"id": "k2", "title": "Back office", "extra": 2}, have[1], {"id": "k1", "title": "mine"}]
    page = world.graph("api_key", ["id"], initialData=have, initialDataOnly=True, pagination={"skip": 0})
    assert page["metadata"]["count"] == 2


def test_a_filter_on_deleted_at_shows_deleted_rows(tmp_path: Path) -> None:
    world = World(tmp_path / "read.db")
    for number in (1, 2):
        world.key(f"k{number}")
    world.delete_key("k1")
    assert world.data("api_key", ["id"], filters={"deleted_at": {"$ne": None}}) == [{"id": "k1"}]
    assert len(world.data("api_key", ["id"], filters={"$or": [{"deleted_at": None}, {"id": "k1"}]})) == 2
    assert len(world.data("api_key", ["id"], filters={"id": ["k1", "k2"]})) == 1
    world.close()


def test_an_answer_is_no_longer_than_allowed(world: World) -> None:
    question = read({"entity": "api_key", "fields": ["*", "sales_channels.*"]})
    world._reader.limit(apsw.SQLITE_LIMIT_LENGTH, 1000)
    try:
        with pytest.raises(apsw.TooBigError):
            answer(world._reader, question, Plans().of(question.shape))
    finally:
        world._reader.limit(apsw.SQLITE_LIMIT_LENGTH, 1 << 20)


def test_plans_are_kept_by_shape_and_bounded() -> None:
    plans = Plans(size=2)

    def plan(title: str, *fields: str) -> object:
        return plans.of(read({"entity": "api_key", "fields": list(fields), "filters": {"title": title}}).shape)

    first = plan("a", "id")
    assert plan("b", "id") is first, "values do not make a plan"
    plan("a", "title")
    plan("a", "id")
    plan("a", "token")
    assert plan("a", "id") is first, "the least recently used goes first"
    assert len(plans._plans) == 2


@pytest.mark.parametrize(
    "value", ["'", '"', "'; DROP TABLE api_key; --", "{0}", "?1", "\\", "%", "]]>", "😀", "\u2028"]
)
def test_values_are_never_part_of_the_statement(world: World, value: str) -> None:
    for filters in (
        {"title": value},
        {"title": {"$in": [value]}},
        {"sales_channels": {"name": value}},
        {"sales_channels": {value: 1}},
        {"sales_channels": {value: {"$eq": None}}},
    ):
        with suppress(InvalidData):
            assert titles(world, filters) in ([], ["Storefront", "Back office"])
    assert names(world, {"metadata": {value: {"$eq": "x"}}}) == []
    assert len(titles(world, {})) == 4


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"pagination": {"order": [{"id": "ASC"}] * 5_000}}, "pagination.order"),
        ({"pagination": {"order": [{"id": "ASC", "title": "ASC"}] * 6}}, "pagination.order"),
        ({"filters": {"q": "a " * 5_000}}, "filters.q"),
        ({"filters": {"title": {"$ilike": "%ä" * 200}}}, "filters.title.$ilike"),
        ({"filters": {"title": {"$like": "%a" * 200}}}, "filters.title.$like"),
        ({"filters": {"q": "a" * 300}}, "filters.q"),
    ],
)
def test_what_would_cost_too_much_is_refused(world: World, query: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidData, match="at most") as refused:
        world.graph("api_key", ["id"], **query)
    assert refused.value.message.startswith(place)


def test_a_pattern_of_many_wildcards_takes_no_longer_than_others(world: World) -> None:
    """With a matcher that goes back, this would take longer than anybody lives."""
    world.key("k_long", "ä" * 10_000)
    assert titles(world, {"title": {"$ilike": "%ä" * 100 + "%ö"}}) == []
    assert titles(world, {"title": {"$ilike": "%Ä" * 100 + "_\\Ä%"}}) == ["ä" * 10_000]
    assert titles(world, {"q": "%ä" * 100 + "%ö"}) == []
    world.delete_key("k_long", permanent=True)
