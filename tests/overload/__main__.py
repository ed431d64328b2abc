"""`make overload`: offers up to ten times what is sustainable."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.overload import report
from tests.overload.run import DOORS, TIMES, USUAL_DOORS, run


def main() -> None:
    parser = argparse.ArgumentParser(description="Offers the service more than it can do.")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each rate")
    parser.add_argument("--door", choices=list(DOORS), action="append", help="only this one; nothing is written")
    parser.add_argument("--times", type=float, action="append", help="only this multiple; nothing is written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="keyscope-overload-") as folder:
        seen = run(
            Path(folder),
            arguments.seconds,
            arguments.door or USUAL_DOORS,
            arguments.times or TIMES,
            say=lambda line: print(line, flush=True),
        )
    if not arguments.door and not arguments.times:
        report.write(seen)
        print(f"written: {report.FOLDER / 'overload.md'}")
    for violation in seen.violations():
        print(f"VIOLATION {violation}")
    print(f"violations: {len(seen.violations())}")
    sys.exit(bool(seen.violations()))


main()
