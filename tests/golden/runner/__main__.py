"""`python -m tests.golden.runner [FOLDER]`: plays a folder of recorded cases, by default our own, and reports.

Writes golden-report.json. The exit code is 1 when a case fails, and 2 when the folder cannot be read.
"""

import sys
from pathlib import Path

from tests.golden.runner.cases import OWN, http_files, read_folder
from tests.golden.runner.judging import failing
from tests.golden.runner.report import report
from tests.golden.runner.stage import play_all

REPORT = Path("golden-report.json")


def main(arguments: list[str]) -> int:
    """Play and report."""
    folder = Path(arguments[0]) if arguments else OWN
    try:
        cases = read_folder(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{folder} does not hold recorded cases: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if not cases:
        print(f"{folder} holds no recorded cases", file=sys.stderr)
        return 2
    verdicts = sorted(play_all(cases), key=lambda verdict: (verdict.area, verdict.name))
    print(report(verdicts, others=http_files(folder), target=REPORT))
    return 1 if failing(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
