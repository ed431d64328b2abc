"""Rubbish at every door, short: the same as `make fuzz`."""

import json
import secrets
from pathlib import Path

import pytest

import keyscope
from tests.hostile.run import run


async def test_every_message_is_answered(tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    report = await run(1_500, seed, tmp_path)
    assert not report.violations, "\n".join([seed, *report.lines()])
    assert sum(report.answers.values()) > 1_000
    assert report.answers["invalid_data"] > 300


@pytest.mark.parametrize("subject", ["keyscope.cmd.link.create", "keyscope.query.graph"])
@pytest.mark.parametrize("body", [b"[" * 8_000_000, b'"' + b"a" * 8_000_000 + b'"', b"[{}" + b",{}" * 2_600_000 + b"]"])
async def test_eight_megabytes(ks: keyscope.Keyscope, subject: str, body: bytes) -> None:
    reply = await ks.nats.request(subject, body, timeout=30)
    assert json.loads(reply.data)["error"]["type"] == "invalid_data"
    assert len(reply.data) < 10_000
