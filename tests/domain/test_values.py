"""Ids, instants, tokens."""

import multiprocessing
import re
import threading

import pytest

from services.domain import clock, ids, tokens


def test_ids_rise_also_between_threads() -> None:
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        into.extend(ids.link_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(into == sorted(into) for into in made)
    assert len({id for into in made for id in into}) == 20_000
    assert all(re.fullmatch(r"pksc_[0-7][0-9A-HJKMNP-TV-Z]{25}", id) for id in made[0])


def _make(queue: "multiprocessing.SimpleQueue[str]") -> None:
    queue.put(ids.ulid())


@pytest.mark.filterwarnings("ignore:This process")  # forking beside threads: the children only make an id
def test_forked_processes_make_different_ids() -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=_make, args=(queue,)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert len({queue.get()[10:] for _ in children}) == 8


@pytest.mark.parametrize(
    ("instant", "seconds", "expected"),
    [
        ("2026-11-23T12:00:00.000Z", 3.5, "2026-11-23T12:00:03.500Z"),
        ("2026-12-31T23:59:59.999Z", 0.001, "2027-01-01T00:00:00.000Z"),
    ],
)
def test_later(instant: str, seconds: float, expected: str) -> None:
    assert clock.later(instant, seconds) == expected


def test_now_is_text_that_sorts() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", clock.now())


def test_tokens() -> None:
    publishable, secret = tokens.new_token("publishable"), tokens.new_token("secret")
    assert re.fullmatch(r"pk_[0-9a-f]{64}", publishable.raw)
    assert re.fullmatch(r"sk_[0-9a-f]{64}", secret.raw)
    assert secret.redacted == f"{secret.raw[:6]}***{secret.raw[-3:]}"
    assert (publishable.hash, publishable.salt) == ("", "")
    assert re.fullmatch(r"[0-9a-f]{128}", secret.hash)
    assert re.fullmatch(r"[0-9a-f]{32}", secret.salt)
    assert tokens.matches(secret.raw, secret.hash, secret.salt)
    assert not tokens.matches(publishable.raw, secret.hash, secret.salt)


def test_scrypt_is_nodes() -> None:
    """What crypto.scryptSync("sk_test", "00ff", 64).toString("hex") gives in Node.js."""
    assert tokens.scrypt("sk_test", "00ff") == (
        "2e9f5b2acac3bece4ce397ef36c0ba78c36ea201aaa413a4f42976736968ffaf"
        "5b621e11cad7d2fe64535a16606a8f9009f4b92b4f867a493ba9062ec422cc83"
    )
