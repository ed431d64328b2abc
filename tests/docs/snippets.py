"""The fenced code blocks of a page, with what is said about them behind the language.

| fence                      | what the test does with it                                                        |
|----------------------------|-----------------------------------------------------------------------------------|
| `sh`                       | runs it in bash; variables last until the end of the page                         |
| `sh forever`               | runs it until the end of the page; it must print something first                  |
| `sh stop`                  | stops what was begun last with `forever`                                          |
| `sh make`                  | only looks whether the Makefile has the targets                                   |
| `sh elsewhere`             | does not run it: it needs another machine, or the network                         |
| `python`                   | runs it in this process, with `ks`, `key` and `channel`; a whole program: by itself |
| `python forever`           | as `sh forever`                                                                   |
| `json schema=NAME`         | validates it against docs/schemas/NAME.json                                       |
| `json ask=NAME`            | validates it, and asks it of the query endpoint NAME, which must answer           |
| `json answer`              | compares it with the answer to the question before                                |
| `text output`              | compares it with what the block before has printed; `…` stands for anything       |
| `text`                     | nothing: a drawing, a list of subjects                                            |
| `js`, `ini`, `yaml`, `sql` | nothing                                                                           |

A comment `<!-- setup … -->` is Python that runs and is not shown; `<!-- no service -->` on a page leaves the services
to its snippets.
"""

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

SETUP = "<!-- setup"
NO_SERVICE = "<!-- no service -->"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block: what it is, what is said about it, and where it stands."""

    language: str
    options: tuple[str, ...]
    text: str
    place: str
    """`README.md:42`."""

    def option(self, name: str) -> str | None:
        """The value of `name=value`."""
        return next(
            (value for key, _, value in (o.partition("=") for o in self.options) if key == name and value), None
        )


def snippets(page: Path, root: Path) -> list[Snippet]:
    """All blocks of a page, in order."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        place = f"{page.relative_to(root)}:{token.map[0] + 1 if token.map else 0}"
        if token.type == "fence":
            language, *options = token.info.split() or [""]
            found.append(Snippet(language, tuple(options), token.content, place))
        elif token.type == "html_block" and token.content.startswith(SETUP):
            text = token.content.removeprefix(SETUP).rpartition("-->")[0]
            found.append(Snippet("python", (), text, place))
    return found
