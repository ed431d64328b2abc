"""The rules by which an answer may differ from Medusa's on purpose: one table.

Each has the number under which docs/medusa-differences.md gives its reason. A rule looks at one mismatch, at what
Medusa did and at what Keyscope did; no rule knows the name of a case.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.golden.runner import about_answers, about_keys, about_links
from tests.golden.runner.matching import Mismatch
from tests.golden.runner.scene import Scene

Explains = Callable[[Scene, Mismatch], Awaitable[bool]]


@dataclass(frozen=True)
class Rule:
    """One difference."""

    number: int
    explains: Explains


RULES = [
    Rule(0, about_answers.not_recorded),
    Rule(1, about_links.documented_call),
    Rule(2, about_links.ends_exist),
    Rule(3, about_links.linked_stays),
    Rule(4, about_links.restores_what_was_deleted),
    Rule(6, about_keys.secrets_stay),
    Rule(7, about_keys.undone_exactly),
    Rule(8, about_keys.many_at_once),
    Rule(9, about_keys.must_be_there),
    Rule(12, about_answers.errors_have_types),
    Rule(10, about_answers.accidents_are_told),
    Rule(10, about_answers.ids_are_ids),
    Rule(10, about_answers.dates_are_dates),
    Rule(10, about_answers.nothing_is_an_object),
    Rule(10, about_answers.undefined_is_null),
    Rule(11, about_links.goes_with_its_ends),
    Rule(13, about_answers.past_medusa),
    Rule(14, about_answers.times_are_text),
    Rule(15, about_keys.no_default_channel),
    Rule(16, about_keys.failures_are_published),
    Rule(17, about_keys.whole_answers),
    Rule(18, about_links.data_has_no_effect),
    Rule(19, about_keys.nothing_to_change),
    Rule(20, about_keys.taken_has_a_type),
    Rule(21, about_keys.restoring_is_told),
    Rule(22, about_answers.expressions_are_linear),
]
"""In the order in which they are asked. Number 5, an event for each link, is in how events are compared."""
