"""The runner of snippets fails where a page is wrong."""

from pathlib import Path

import jsonschema
import pytest

from tests.docs.running import Page
from tests.docs.snippets import Snippet, snippets

WRONG = {
    "it exits with an error": ("sh", (), "false"),
    "a command does not exist": ("sh", (), "keyscop status"),
    "it prints something else": ("text", ("output",), "goodbye"),
    "it ends, though it should run": ("sh", ("forever",), "true"),
    "no such target": ("sh", ("make",), "make coffee"),
    "the schema refuses it": ("json", ("schema=commands/link.create",), '{"api_key": {}}'),
    "no schema is named": ("json", (), "{}"),
    "it is not JSON": ("json", ("schema=commands/link.create",), "{…}"),
    "nobody knows the language": ("cobol", (), "STOP RUN."),
}


@pytest.mark.parametrize("reason", WRONG)
async def test_wrong_snippets_fail(reason: str, tmp_path: Path) -> None:
    language, options, text = WRONG[reason]
    async with Page("nats://127.0.0.1:1", tmp_path) as page:
        await page.run(Snippet("sh", (), "echo hello", "README.md:1"))
        with pytest.raises((AssertionError, KeyError, ValueError, jsonschema.ValidationError)):
            await page.run(Snippet(language, options, text, "README.md:2"))


async def test_right_ones_pass(tmp_path: Path) -> None:
    async with Page("nats://127.0.0.1:1", tmp_path) as page:
        await page.run(Snippet("sh", (), "name=world", "README.md:1"))
        await page.run(Snippet("sh", (), 'echo "hello $name apk_01M84ADYE8EE6HZ8W53XZAM6D5"', "README.md:2"))
        await page.run(Snippet("text", ("output",), "hello … apk_123", "README.md:3"))


def test_snippets_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# T\n\n<!-- setup\na = 1\n-->\n\n1. Do:\n\n   ```sh forever\n   ls\n   ```\n")
    assert snippets(page, tmp_path) == [
        Snippet("python", (), "\na = 1\n", "page.md:3"),
        Snippet("sh", ("forever",), "ls\n", "page.md:9"),
    ]
