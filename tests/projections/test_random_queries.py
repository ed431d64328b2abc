"""Thousands of random queries on random data, against the plain-Python model of the semantics."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.projections.chance import Chance
from tests.projections.model import ENTITIES, OWN, Model
from tests.projections.world import World, at

ALIAS = {"link": "publishable_api_key_sales_channel"}
QUERIES = 60
"""On each random history."""


class Both(World):
    """A read model and the Python model, filled with the same things."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.model = Model()

    def add_key(self, id: str, title: str, type: str) -> None:
        self.key(id, title, type)
        row = dict.fromkeys(ENTITIES["api_key"]["columns"])
        token = f"pk_{id}" if type == "publishable" else ""
        row |= {"id": id, "token": token, "redacted": f"{type[0]}k_{id[-3:]}***", "title": title, "type": type}
        self.model.rows["api_key"].append(
            row | {"created_by": "tester", "created_at": at(self.clock), "updated_at": at(self.clock)}
        )

    def add_channel(self, id: str, name: str, description: str | None, is_disabled: bool, metadata: Any) -> None:
        self.channel(id, name, description, is_disabled, metadata)
        row = dict.fromkeys(ENTITIES["sales_channel"]["columns"])
        row |= {"id": id, "name": name, "description": description, "is_disabled": is_disabled, "metadata": metadata}
        self.model.rows["sales_channel"].append(row | {"created_at": at(self.clock), "updated_at": at(self.clock)})

    def add_link(self, key: str, channel: str) -> None:
        """Only where both ends are there, as the write side sees to it."""
        if self.model.find("api_key", key)["deleted_at"] or self.model.find("sales_channel", channel)["deleted_at"]:
            return
        id = f"pksc_{len(self.events):03}"
        self.link(key, channel, id)
        links = self.model.rows["link"]
        links[:] = [row for row in links if (row["publishable_key_id"], row["sales_channel_id"]) != (key, channel)]
        row = {"publishable_key_id": key, "sales_channel_id": channel, "id": id, "deleted_at": None}
        links.append(row | {"created_at": at(self.clock), "updated_at": at(self.clock)})

    def remove_link(self, key: str, channel: str) -> None:
        self.dismiss(key, channel)
        self._down({"publishable_key_id": key, "sales_channel_id": channel})

    def change(self, table: str, what: str, id: str, text: str) -> None:
        row = self.model.find(table, id)
        if what == "restore":
            (self.restore_key if table == "api_key" else self.restore_channel)(id)
            row |= {"deleted_at": None, "hidden": False, "updated_at": at(self.clock)}
        elif what == "update" and table == "api_key":
            self.rename(id, text)
            row |= {"title": text, "updated_at": at(self.clock)}
        elif what == "update":
            self.change_channel(id, text)
            row |= {
                "name": text,
                "description": None,
                "is_disabled": False,
                "metadata": None,
                "updated_at": at(self.clock),
            }
        elif what == "revoke":
            if table == "api_key":
                self.revoke(id)
                row |= {"revoked_by": "boss", "revoked_at": at(self.clock), "updated_at": at(self.clock)}
        else:
            permanent = what == "delete"
            (self.delete_key if table == "api_key" else self.delete_channel)(id, permanent=permanent)
            row |= {"deleted_at": at(self.clock), "hidden": permanent}
            self._down({OWN[table]: id})

    def _down(self, ends: dict[str, str]) -> None:
        for row in self.model.rows["link"]:
            if row["deleted_at"] is None and all(row[name] == id for name, id in ends.items()):
                row |= {"deleted_at": at(self.clock), "updated_at": at(self.clock)}


@pytest.mark.timeout(900)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_as_the_model_says(seed: int) -> None:
    chance = Chance(seed)
    with tempfile.TemporaryDirectory() as folder:
        both = Both(Path(folder) / "read.db")
        try:
            for method, arguments in chance.history():
                getattr(both, method)(*arguments)
            for _ in range(QUERIES):
                query = chance.query()
                expected = both.model.answer(query)
                actual = both.graph(**query | {"entity": ALIAS.get(query["entity"], query["entity"])})
                assert actual == expected, json.dumps(query)
        finally:
            both.close()
