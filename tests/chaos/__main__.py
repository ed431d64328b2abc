"""`make chaos ROUNDS=200 SEED=7`: the fault run."""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from tests.chaos.faults import FAULTS, ON_POSTGRESQL
from tests.chaos.full import FULL, FULL_AT_START, FULL_POSTGRESQL
from tests.chaos.run import run
from tests.chaos.tree import DEATHS, FULL_DISK
from tests.support.disks import small_disks
from tests.support.postgres import Postgres


def main() -> None:
    parser = argparse.ArgumentParser(description="Breaks everything, and proves that nothing was lost or repeated.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", default="", help="to play the same faults and commands again")
    possible = sorted({*FAULTS, *ON_POSTGRESQL, *FULL, *FULL_AT_START, *FULL_POSTGRESQL, *DEATHS, *FULL_DISK})
    parser.add_argument("--fault", choices=possible, action="append", help="only this one")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="where the events are")
    parser.add_argument("--up", action="store_true", help="kill `keyscope up`, whole or in part")
    arguments = parser.parse_args()
    if arguments.up and arguments.store == "postgresql":
        parser.error("--up has its event store in its data folder")
    seed = arguments.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is mounted must be unmounted
    with ExitStack() as stack:
        postgres, disk = None, {}
        if arguments.store == "postgresql":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyscope-chaos-")))
            disk = stack.enter_context(small_disks(folder))
            postgres = stack.enter_context(closing(Postgres(fsync=True, folder=folder)))
            postgres.start()
        report = asyncio.run(
            run(
                arguments.rounds,
                seed,
                faults=arguments.fault or (),
                say=lambda line: print(line, flush=True),
                postgres=postgres,
                disk=disk,
                up=arguments.up,
            )
        )
    print("\n".join(report.lines()))
    sys.exit(bool(report.violations))


main()
