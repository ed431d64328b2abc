"""`make chaos ROUNDS=200 SEED=7`: the fault run."""

import argparse
import asyncio
import secrets
import sys

from tests.chaos.faults import FAULTS, ON_POSTGRESQL
from tests.chaos.run import run
from tests.chaos.tree import DEATHS
from tests.support.postgres import Postgres


def main() -> None:
    parser = argparse.ArgumentParser(description="Breaks everything, and proves that nothing was lost or repeated.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", default="", help="to play the same faults and commands again")
    parser.add_argument(
        "--fault", choices=sorted({*FAULTS, *ON_POSTGRESQL, *DEATHS}), action="append", help="only this one"
    )
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="where the events are")
    parser.add_argument("--up", action="store_true", help="kill `keyscope up`, whole or in part")
    arguments = parser.parse_args()
    if arguments.up and arguments.store == "postgresql":
        parser.error("--up has its event store in its data folder")
    seed = arguments.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    postgres = Postgres(fsync=True) if arguments.store == "postgresql" else None
    if postgres:
        postgres.start()
    try:
        report = asyncio.run(
            run(
                arguments.rounds,
                seed,
                faults=arguments.fault or (),
                say=lambda line: print(line, flush=True),
                postgres=postgres,
                up=arguments.up,
            )
        )
    finally:
        if postgres:
            postgres.close()
    print("\n".join(report.lines()))
    sys.exit(bool(report.violations))


main()
