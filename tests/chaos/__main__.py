"""`make chaos ROUNDS=200 SEED=7`: the fault run."""

import argparse
import asyncio
import secrets
import sys

from tests.chaos.faults import FAULTS
from tests.chaos.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description="Breaks everything, and proves that nothing was lost or repeated.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", default="", help="to play the same faults and commands again")
    parser.add_argument("--fault", choices=list(FAULTS), action="append", help="only this one")
    arguments = parser.parse_args()
    seed = arguments.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    report = asyncio.run(
        run(arguments.rounds, seed, faults=arguments.fault or tuple(FAULTS), say=lambda line: print(line, flush=True))
    )
    print("\n".join(report.lines()))
    sys.exit(bool(report.violations))


main()
