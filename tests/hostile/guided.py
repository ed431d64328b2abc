"""Byte-level fuzzing that follows the branches taken (atheris): `python -m tests.hostile.guided DOOR CORPUS [-runs=…]`.

What stands behind each door up to the store, in this process: an input must be taken, or refused with an error that a
client may see. Anything else that is raised ends the run, with the input in a file.
"""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["events", "services.bus", "services.commands", "services.query", "projections"]
):
    from events.commands import COMMANDS
    from events.errors import KeyscopeError
    from projections import question, scope
    from projections.graph import Plans
    from projections.projector import Projector
    from services.bus.replies import error_headers, failure
    from services.commands.reading import read_command
    from services.query.endpoints import _body, _position
    from services.query.readers import Readers
from tests.hostile.rubbish import BODIES, NAMES, QUERIES, RAW
from tests.hostile.run import INTERNAL

COMMAND_NAMES = [*COMMANDS, "no.such"]
LONGEST = 4_096
"""Bytes of an input."""


def _judged(data: bytes, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except KeyscopeError as error:
        text = failure(error)
        json.loads(text)
        error_headers(error)
        found = INTERNAL.search(text)
        if found and found[0] not in data:
            raise AssertionError(f"internal: {text[:500]!r}") from error


def command(data: bytes) -> None:
    """The first byte chooses the command."""
    name = COMMAND_NAMES[(data[:1] or b"\0")[0] % len(COMMAND_NAMES)]
    _judged(data, lambda: read_command(name, data[1:], None, print))


def job(data: bytes) -> None:
    """As a command, with headers before the first NUL byte: id, actor and trace, one a line."""
    name = COMMAND_NAMES[(data[:1] or b"\0")[0] % len(COMMAND_NAMES)]
    lines, _, body = data[1:].partition(b"\0")
    given = lines.decode("utf-8", "surrogateescape").split("\n")
    headers = dict(zip(("Nats-Msg-Id", "Keyscope-Actor", "traceparent"), given, strict=False))
    _judged(data, lambda: read_command(name, body, headers, print, fallback_id="job_1_1"))


def query(folder: Path) -> Callable[[bytes], None]:
    """Both questions, asked of an empty read model."""
    path = folder / "read.db"
    Projector(path).close()
    readers, plans = Readers(path, longest=8_000_000), Plans()

    def graph(data: bytes) -> None:
        body = _body(data)
        _position(body)
        asked = question.read(body)
        readers.at_once(asked, plans.of(asked.shape))

    def scoped(data: bytes) -> None:
        token = _body(data).get("token")
        if isinstance(token, str):
            scope.of_token(readers.inline, token)

    def both(data: bytes) -> None:
        _judged(data, lambda: graph(data))
        _judged(data, lambda: scoped(data))

    return both


def seeds(door: str, folder: Path) -> None:
    """What mutation begins with, and the words it may put in."""
    bodies = [json.dumps(body).encode() for body in (QUERIES if door == "query" else BODIES)] + RAW
    prefixes = {
        "query": [b""],
        "command": [b"%c" % number for number in range(len(COMMAND_NAMES))],
        "job": [b"%cid\nann\n\0" % number for number in range(len(COMMAND_NAMES))],
    }[door]
    short = [body for body in bodies if len(body) < LONGEST]
    for number, (prefix, body) in enumerate(product(prefixes, short)):
        (folder / f"seed{number}").write_bytes(prefix + body)
    words = [name for name in NAMES if name.isascii() and name.replace("_", "").replace("$", "").isalnum()]
    (folder.parent / "words").write_text("".join(f'"{word}"\n' for word in words))


def main() -> None:
    """Does not return: libFuzzer ends the process, with 0 when nothing was found."""
    door, folder = sys.argv[1], Path(sys.argv[2])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    seeds(door, corpus)
    target = command if door == "command" else job if door == "job" else query(folder)
    more = [f"-dict={folder / 'words'}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=1024"]
    atheris.Setup([sys.argv[0], str(corpus), *more, *sys.argv[3:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
