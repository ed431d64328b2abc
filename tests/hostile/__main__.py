"""`make fuzz N=100000 SEED=7`."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.hostile.run import run


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
    sys.exit(bool(report.violations))


main()
