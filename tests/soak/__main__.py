"""`make soak MINUTES=60`."""

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.soak.growth import ALLOWANCES
from tests.soak.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the service at a moderate rate, and looks whether it grows.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--megabytes", type=float, default=ALLOWANCES["MB"], help="that may be added in the second half"
    )
    arguments = parser.parse_args()
    allowances = {**ALLOWANCES, "MB": arguments.megabytes}
    with tempfile.TemporaryDirectory(prefix="keyscope-soak-") as folder:
        report = uvloop.run(
            run(Path(folder), 60 * arguments.minutes, allowances=allowances, say=lambda line: print(line, flush=True))
        )
    print("\n".join(report.lines()))
    sys.exit(bool(report.violations()))


if __name__ == "__main__":
    main()
