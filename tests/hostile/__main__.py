"""`make fuzz N=100000 SEED=7`."""

import argparse
import asyncio
import secrets
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from tests.hostile.run import run

DOORS = ("command", "job", "query")


def main() -> None:
    parser = argparse.ArgumentParser(description="Throws rubbish at every door of the service.")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", default="", help="to send the same messages again")
    arguments = parser.parse_args()
    seed = arguments.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="keyscope-fuzz-") as folder:
        report = asyncio.run(run(arguments.messages, seed, Path(folder)))
    print("\n".join(report.lines()))
    crashed = bytes_at_the_doors(10 * arguments.messages)
    sys.exit(bool(report.violations or crashed))


def bytes_at_the_doors(runs: int) -> list[str]:
    """Fuzz each door with so many inputs, guided by the branches taken: the doors where one was found that crashes."""
    if find_spec("atheris") is None:
        print("bytes guided by branches: left out, atheris is not installed here")
        return []
    crashed = []
    for door in DOORS:
        with tempfile.TemporaryDirectory(prefix="keyscope-fuzz-") as folder:
            found = Path.cwd() / f"crash-{door}-"
            command = [sys.executable, "-m", "tests.hostile.guided", door, folder]
            done = subprocess.run(
                [*command, f"-runs={runs}", f"-artifact_prefix={found}"], capture_output=True, text=True, check=False
            )
        if done.returncode:
            crashed.append(door)
            print(done.stderr[-5_000:])
        print(f"bytes guided by branches, {door}: {runs} inputs, {'CRASHED' if done.returncode else 'no crash'}")
    return crashed


main()
