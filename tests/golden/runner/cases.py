"""Recorded cases as they stand in their files; the folder's README says what each member means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

OWN = Path(__file__).parent.parent
"""The project's own folder of cases."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. `name` is what its result is called afterwards."""

    op: str
    data: Any = None
    options: Any = None
    name: str | None = None

    @classmethod
    def read(cls, step: Mapping[str, Any]) -> Self:
        """From its JSON."""
        return cls(step["op"], step.get("data"), step.get("options"), step.get("as"))


@dataclass(frozen=True, slots=True)
class Look:
    """A step whose outcome was recorded. `unordered` are the paths of arrays to be compared as sets."""

    step: Step
    outcome: dict[str, Any]
    unordered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """What was done first, the call, and what was looked at afterwards."""

    name: str
    area: str
    setup: tuple[Step, ...]
    call: Look
    then: tuple[Look, ...]

    @classmethod
    def read(cls, case: Mapping[str, Any]) -> Self:
        """From its JSON."""
        call = Look(Step.read(case["call"]), case["outcome"], tuple(case.get("unordered", ())))
        then = [
            Look(Step.read(look["call"]), look["outcome"], tuple(look.get("unordered", ())))
            for look in case.get("then", ())
        ]
        return cls(case["name"], case["area"], tuple(map(Step.read, case.get("setup", ()))), call, tuple(then))


def read_folder(folder: Path) -> list[Case]:
    """All cases in a folder and its `own/`, but those of the HTTP gateway.

    Raises OSError, ValueError, KeyError or TypeError when a file holds something else.
    """
    files = sorted({*folder.glob("*.json"), *folder.glob("own/*.json")} - set(http_files(folder)))
    return [Case.read(case) for file in files for case in json.loads(file.read_text())["cases"]]


def http_files(folder: Path) -> list[Path]:
    """The files of cases that are requests to the HTTP gateway."""
    return sorted(folder.glob("http_*.json")) + sorted(folder.glob("http/http_*.json"))
