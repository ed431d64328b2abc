"""What can be said of the image and the composition without a container engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from keyscope.cli.app import app
from services.runtime.settings import SECRETS, Settings
from tests.deploy.conftest import DEPLOY

ROOT = DEPLOY.parent
CONTAINERFILE = (DEPLOY / "container" / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "keyscope"}
SETTINGS = {f"KEYSCOPE_{name.upper()}" for name in Settings.model_fields} | {
    f"KEYSCOPE_{name.upper()}_FILE" for name in SECRETS
}


def test_the_image_is_made_of_what_is_there_and_gets_nothing_else() -> None:
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE) for name in line.split()
    }
    allowed = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_of_two_stages_and_not_roots() -> None:
    last = CONTAINERFILE.rpartition("\nFROM ")[2]
    assert CONTAINERFILE.count("\nFROM ") == 2
    assert "USER 10001:10001" in last
    assert "HEALTHCHECK" in last
    assert set(re.findall(r"KEYSCOPE_\w+", CONTAINERFILE)) <= SETTINGS


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_the_composition(name: str) -> None:
    service = OURS[name]
    assert set(service["environment"]) <= SETTINGS
    verb, *services = service["command"]
    assert verb == "run"
    usage = CliRunner().invoke(app, [verb, "--help"]).output
    assert all(each in usage for each in services)
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    paths = [value for value in service["environment"].values() if value.startswith("/run/secrets/")]
    assert {Path(path).name for path in paths} == set(service["secrets"])


def test_everything_that_is_named_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        assert set(service.get("depends_on", [])) <= set(COMPOSE["services"]), name
        assert set(service["secrets"]) <= set(COMPOSE["secrets"]), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            there = source in COMPOSE["volumes"] or (DEPLOY / "compose" / source).resolve().is_dir()
            assert there, volume


def test_the_nodes_get_every_variable_that_their_configuration_wants() -> None:
    node = COMPOSE["services"]["nats-1"]
    files = ("cluster.conf", "jetstream.conf", "tls.conf")
    wanted = {name for file in files for name in re.findall(r"\$(NATS_\w+)", (DEPLOY / "nats" / file).read_text())}
    assert set(node["environment"]) == wanted
