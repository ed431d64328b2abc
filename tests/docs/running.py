"""Runs the snippets of one page, in order, against a service of the page's own."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import jsonschema

import keyscope
from docs.generate.files import ROOT, SCHEMAS
from tests.docs.snippets import Snippet
from tests.support.nats import free_port

DOCUMENTED_URL = "nats://127.0.0.1:4222"
DOCUMENTED_PORT = "19080"
"""Of a gateway that a page starts; another run of the tests on this machine may do so at the same time."""
SECONDS = 20.0


class Page:
    """What the snippets of a page share: shell variables, Python names, what was printed and answered last."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._port = str(free_port())
        self._folder = folder
        self._printed = ""
        self._question: tuple[str, Any] | None = None
        self._forever: list[asyncio.subprocess.Process] = []
        self._names: dict[str, Any] = {"asyncio": asyncio, "keyscope": keyscope}
        self._client: keyscope.Keyscope | None = None
        self._environment = _environment(url, folder)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._forever:
            if process.returncode is None:
                process.terminate()
        for process in self._forever:
            await process.wait()
        if self._client is not None:
            await self._client.close()

    async def run(self, snippet: Snippet) -> None:
        """Raises AssertionError when it does not do what the page says."""
        await _RUN[snippet.language](self, snippet)

    async def shell(self, snippet: Snippet) -> None:
        if "elsewhere" in snippet.options:
            return
        if "stop" in snippet.options:
            self._forever[-1].terminate()
            await asyncio.wait_for(self._forever.pop().wait(), SECONDS)
            return
        text = self._here(snippet.text)
        if "make" in snippet.options:
            targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
            assert targets
            await self._finished(await self._start("make", "--dry-run", "--directory", str(ROOT), *targets))
        elif "forever" in snippet.options:
            await self._run_forever(await self._start("bash", "-c", self._with_state(f"exec {text}")))
        else:
            self._printed = await self._finished(await self._start("bash", "-c", self._with_state(text)))

    async def python(self, snippet: Snippet) -> None:
        text = self._here(snippet.text)
        if "elsewhere" in snippet.options:
            compile(text, snippet.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif "asyncio.run(" in text:
            process = await self._start(sys.executable, "-c", text)
            if "forever" in snippet.options:
                await self._run_forever(process)
            else:
                self._printed = await self._finished(process)
        else:
            self._printed = await self._fragment(text, snippet.place)

    async def json(self, snippet: Snippet) -> None:
        document = json.loads(snippet.text)
        asked = snippet.option("ask")
        if "answer" in snippet.options:
            assert self._question is not None, "an answer without a question"
            endpoint, body = self._question
            answer = await (await self._keyscope()).connection.bus.ask(
                f"keyscope.query.{endpoint}", json.dumps(body).encode(), what=endpoint
            )
            jsonschema.validate(answer, _schema(f"answers/{endpoint}"))
            assert _neutral(json.dumps(answer)) == _neutral(json.dumps(document)), json.dumps(answer, indent=2)
        elif asked is not None:
            jsonschema.validate(document, _schema(f"queries/{asked}"))
            self._question = (asked, document)
            await (await self._keyscope()).connection.bus.ask(
                f"keyscope.query.{asked}", json.dumps(document).encode(), what=asked
            )
        else:
            name = snippet.option("schema")
            assert name, "JSON without a schema"
            jsonschema.validate(document, _schema(name))

    async def text(self, snippet: Snippet) -> None:
        if "output" in snippet.options:
            expected = re.escape(_neutral(snippet.text)).replace("…", ".*?")
            assert re.fullmatch(expected, _neutral(self._printed), re.DOTALL), f"it prints\n{self._printed}"

    async def nothing(self, snippet: Snippet) -> None:
        """For what is only shown."""

    async def _fragment(self, text: str, place: str) -> str:
        await self._keyscope()
        # Lines of the code are those of the page, so that a traceback leads there.
        tree = ast.increment_lineno(ast.parse(text), int(place.rpartition(":")[2]))
        code = compile(tree, place.rpartition(":")[0], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, self._names)
            if inspect.isawaitable(result):
                await asyncio.wait_for(result, SECONDS)
        return printed.getvalue()

    async def _keyscope(self) -> keyscope.Keyscope:
        """The client that fragments call `ks`, with a key and a channel that are not linked."""
        if self._client is None:
            ks = self._client = await keyscope.connect(self._url, actor="user_1")
            self._names |= {
                "ks": ks,
                "key": await ks.api_keys.create({"title": "Web storefront", "type": "publishable"}),
                "channel": await ks.sales_channels.create({"name": "Webshop"}),
            }
        return self._client

    def _here(self, text: str) -> str:
        return text.replace(DOCUMENTED_URL, self._url).replace(DOCUMENTED_PORT, self._port)

    def _with_state(self, text: str) -> str:
        state = self._folder / "state.sh"
        return f"set -aeu -o pipefail\n[ ! -f {state} ] || . {state}\n{text}\nexport -p > {state}\n"

    async def _start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def _finished(self, process: asyncio.subprocess.Process) -> str:
        try:
            output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
        except TimeoutError:
            process.kill()
            raise AssertionError("it does not end") from None
        text = output.decode()
        assert process.returncode == 0, f"exit code {process.returncode}:\n{text}"
        return text

    async def _run_forever(self, process: asyncio.subprocess.Process) -> None:
        self._forever.append(process)
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), SECONDS)
        assert line, "it ends, and has printed nothing"
        self._printed = line.decode()


_Run = Callable[[Page, Snippet], Awaitable[None]]
_RUN: dict[str, _Run] = {
    "sh": Page.shell,
    "python": Page.python,
    "json": Page.json,
    "text": Page.text,
    **dict.fromkeys(("js", "ini", "mermaid"), Page.nothing),
}


def _environment(url: str, folder: Path) -> dict[str, str]:
    """Programs that the documentation calls, found wherever they are."""
    programs = folder / "bin"
    programs.mkdir()
    calls = {"keyscope": "-m keyscope", "python": "", "nats": "-m tests.docs.nats_cli"}
    for name, arguments in calls.items():
        if name == "nats" and shutil.which("nats"):
            continue
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("KEYSCOPE_")},
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KEYSCOPE_NATS_URL": url,
        "NATS_URL": url,
        "COLUMNS": "200",
    }


def _schema(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


_NEUTRAL = [
    (re.compile(r"\b(apk|sc|pksc)_[0-9A-Za-z]{3,}\b"), r"\1_ID"),
    (re.compile(r"\b(pk|sk)_[0-9a-f]{3,64}(\b|(?=\*))"), r"\1_TOKEN"),
    (re.compile(r"\*\*\*[0-9a-f]{3}\b"), "***"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "ULID"),
    (re.compile(r"\s+"), " "),
]


def _neutral(text: str) -> str:
    """Without what is another one each time: ids, tokens, times."""
    for pattern, replacement in _NEUTRAL:
        text = pattern.sub(replacement, text)
    return text.strip()
