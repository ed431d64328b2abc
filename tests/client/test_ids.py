import pytest

from keyscope.ids import Ids


def test_ids_are_ulids_and_rise() -> None:
    ids = Ids()
    made = [ids.next() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {len(id) for id in made} == {26}
    assert set("".join(made)) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_ids_rise_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Ids()
    first = ids.next()
    monkeypatch.setattr("keyscope.ids.time.time_ns", lambda: 0)
    assert ids.next() > first
