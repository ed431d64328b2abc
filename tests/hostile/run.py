"""Throws rubbish at every door of real processes, and looks whether each message is answered, and nothing grows."""

import asyncio
import json
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from services.runtime.settings import Settings
from services.runtime.verify import verify
from tests.hostile.rubbish import BODIES, COMMAND_NAMES, ENDPOINTS, QUERIES, headers, message
from tests.production.replica import Replica
from tests.support.nats import Nats

AT_ONCE = 32
ANSWER_SECONDS = 15.0
INTERNAL = re.compile(rb"Traceback|pydantic|sqlite3|apsw|SELECT |INSERT |/\w+/\w+\.py|object at 0x")
"""What must not be in a reply, unless the request had it."""


@dataclass
class Report:
    """What came of it."""

    messages: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    megabytes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Resident memory of each service, after a tenth of the messages and in the end."""

    def lines(self) -> list[str]:
        """For the reader; the last line is the verdict."""
        return [
            *(f"{count:>8}  {answer}" for answer, count in self.answers.most_common()),
            *(f"{name}: {first:.0f} MB, in the end {last:.0f} MB" for name, (first, last) in self.megabytes.items()),
            *(f"VIOLATION {violation}" for violation in self.violations[:20]),
            f"messages: {self.messages}, violations: {len(self.violations)}",
        ]


async def run(count: int, seed: str, folder: Path) -> Report:
    """Send `count` messages that follow from the seed."""
    server = Nats(folder / "nats")
    server.start()
    services = {
        name: Replica(name, folder / name, {"NATS_URL": server.url, "DATA_DIR": str(folder / "data")})
        for name in ("commands", "relay", "query")
    }
    try:
        for service in services.values():
            service.start()
        for service in services.values():
            await asyncio.to_thread(service.wait_ready)
        report = await _throw(server.url, services, count, seed)
        settings = Settings(nats_url=server.url, data_dir=folder / "data")
        verdict = await verify(settings, patience=20, progress=lambda done, total: None)
        report.violations += [verdict.difference] if verdict.difference else []
        report.violations += [
            f"{name} has a traceback in its log" for name, s in services.items() if "Traceback" in s.log
        ]
        return report
    finally:
        for service in services.values():
            if service.running:
                service.kill()
        server.kill()


async def _throw(url: str, services: dict[str, Replica], count: int, seed: str) -> Report:
    chance, report = random.Random(seed), Report()
    first: dict[str, float] = {}
    client = await nats.connect(url)
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await _send(client, chance, report)
            if number == count // 10:
                first.update({name: _megabytes(service) for name, service in services.items()})

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    for name, service in services.items():
        if not service.running:
            report.violations.append(f"{name} has ended with {service.process.returncode}")
            continue
        report.megabytes[name] = (first[name], _megabytes(service))
    jobs = client.jetstream()
    async with asyncio.timeout(120):
        while (await jobs.stream_info("KEYSCOPE_JOBS")).state.messages:
            await asyncio.sleep(0.2)
    await client.close()
    return report


async def _send(client: Client, chance: random.Random, report: Report) -> None:
    door = chance.random()
    if door < 0.5:
        subject, body = f"keyscope.cmd.{chance.choice(COMMAND_NAMES)}", message(chance, BODIES)
    elif door < 0.9:
        subject, body = f"keyscope.query.{chance.choice(ENDPOINTS)}", message(chance, QUERIES)
    else:
        subject, body = f"keyscope.job.{chance.choice(COMMAND_NAMES)}", message(chance, BODIES)
    sent = headers(chance)
    report.messages += 1
    try:
        reply = await client.request(subject, body, timeout=ANSWER_SECONDS, headers=sent)
    except (nats.errors.Error, ValueError) as error:
        if not isinstance(error, ValueError):  # nats-py does not send every header
            report.violations.append(f"{type(error).__name__}: {subject} {body[:200]!r} {sent}")
        return
    _judge(report, subject, body, reply.data)


def _judge(report: Report, subject: str, body: bytes, reply: bytes) -> None:
    try:
        answer: Any = json.loads(reply)
    except ValueError:
        report.violations.append(f"the answer is no JSON: {subject} {body[:200]!r}: {reply[:200]!r}")
        return
    kind = answer["error"].get("type", "?") if "error" in answer else "done"
    report.answers[kind] += 1
    found = INTERNAL.search(reply)
    if kind == "unexpected_state" or (found and found[0] not in body):
        report.violations.append(f"{subject} {body[:200]!r}: {reply[:300]!r}")


def _megabytes(service: Replica) -> float:
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return pages * 4_096 / 1e6
