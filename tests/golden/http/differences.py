"""The rules by which an answer over HTTP may differ on purpose, numbered as in docs/medusa-differences.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.golden.runner.matching import ABSENT, Mismatch
from tests.golden.runner.published import Fact

if TYPE_CHECKING:
    from tests.golden.http.playing import HttpPlayed


def explanation(played: HttpPlayed, mismatch: Mismatch) -> int | None:
    """The number of the difference that explains the mismatch, or None."""
    return next((number for number, explains in RULES.items() if explains(played, mismatch)), None)


def _needs_both_ends(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """2: a revoked key is not linked."""
    return _came(played, 400, "not_allowed", "is revoked") and played.asked["path"].endswith("/sales-channels")


def _stays_linked(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """3: linking again is no event."""
    added = (played.asked.get("body") or {}).get("add", [])
    again = (
        mismatch.came is ABSENT and isinstance(mismatch.recorded, Fact) and "link.created" in mismatch.recorded.names
    )
    return bool(added) and again and played.came["status"] == 200


def _secret(_: HttpPlayed, mismatch: Mismatch) -> bool:
    """6: the hash of a token is nobody's business."""
    return mismatch.path[-1:] == ("token",) and mismatch.recorded == "<scrypt>" and mismatch.came == ""


def _not_found(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """9: a write to what does not exist."""
    return played.asked["method"] != "GET" and _came(played, 404, "not_found", "") and not played.events


def _accident(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """10: what Medusa's database stumbles over is told."""
    return played.case.call.outcome.get("status") == 500 and _came(played, 400, "invalid_data", "")


def _links_go_too(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """11: a deleted channel is in no context any more."""
    deleted = {id for step in played.case.setup if step.op == "sales_channel.soft_delete" for id in step.data}
    return "sales_channel_ids" in mismatch.path and mismatch.came is ABSENT and mismatch.recorded in deleted


def _no_default(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """15: no channel is the default."""
    message = str(played.case.call.outcome.get("body", {}).get("message", ""))
    return message.startswith("Cannot delete default sales channels") and bool(played.came["status"] == 200)


def _names_nothing(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """19: an update that names nothing is no event."""
    return played.asked.get("body") == {} and mismatch.path == ("events",) and mismatch.came is ABSENT


def _only_this_area(played: HttpPlayed, mismatch: Mismatch) -> bool:
    """22: of the store's routes there is only the scope."""
    path = played.asked["path"]
    return path.startswith("/store/") and played.came["status"] == 404 and mismatch.path[:1] in {("status",), ("body",)}


RULES: dict[int, Callable[[HttpPlayed, Mismatch], bool]] = {
    2: _needs_both_ends,
    3: _stays_linked,
    6: _secret,
    9: _not_found,
    10: _accident,
    11: _links_go_too,
    15: _no_default,
    19: _names_nothing,
    22: _only_this_area,
}


def _came(played: HttpPlayed, status: int, type: str, words: str) -> bool:
    body = played.came["body"]
    return bool(played.came["status"] == status and body.get("type") == type and words in body.get("message", ""))
