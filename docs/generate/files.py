"""What is generated: every file with the text that it should have."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from docs.generate import reference
from docs.generate.asyncapi import asyncapi
from docs.generate.limits import limits
from docs.generate.python import python_package
from docs.generate.schemas import schemas
from services.gateway.app import openapi

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCHEMAS = DOCS / "schemas"

REGIONS: dict[str, Callable[[], str]] = {
    "commands": reference.commands,
    "command limits": reference.command_limits,
    "shapes": reference.shapes,
    "results": reference.results,
    "envelope": reference.envelope,
    "events": reference.events,
    "queries": reference.queries,
    "entities": reference.entities,
    "operators": reference.operators,
    "query limits": reference.query_limits,
    "streams": reference.streams,
    "errors": reference.errors,
    "settings": reference.settings,
    "command line": reference.command_line,
    "python package": python_package,
    "limits": limits,
}
"""A page marks what is generated in it: `<!-- generated: events -->` before, `<!-- end -->` behind."""

_REGION = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file, and every page with generated regions, as they should be."""
    yield DOCS / "asyncapi.json", as_text(asyncapi())
    yield DOCS / "openapi.json", as_text(openapi())
    for name, schema in schemas().items():
        yield SCHEMAS / f"{name}.json", as_text(schema)
    for page in pages():
        text = page.read_text()
        if _REGION.search(text):
            yield page, _REGION.sub(lambda match: f"{match[1]}\n{REGIONS[match[2]]().strip()}\n\n{match[3]}", text)


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def as_text(document: object) -> str:
    """JSON as it is committed: sorted, so that a change shows where it is."""
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
