"""`python -m tests.golden.runner [FOLDER]`: plays a folder of recorded cases, by default our own, and reports.

Writes golden-report.json. The exit code is 1 when a case fails, and 2 when the folder cannot be read.
"""

import asyncio
import sys
from pathlib import Path

from tests.golden.http.playing import play_all as play_http
from tests.golden.http.playing import read as read_http
from tests.golden.runner.cases import OWN, read_folder
from tests.golden.runner.judging import failing
from tests.golden.runner.report import report
from tests.golden.runner.stage import play_all

REPORT = Path("golden-report.json")


def main(arguments: list[str]) -> int:
    """Play and report."""
    folder = Path(arguments[0]) if arguments else OWN
    try:
        cases, http_cases = read_folder(folder), read_http(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{folder} does not hold recorded cases: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    if not cases and not http_cases:
        print(f"{folder} holds no recorded cases", file=sys.stderr)
        return 2
    played = [*play_all(cases), *asyncio.run(play_http(http_cases))]
    verdicts = sorted(played, key=lambda verdict: (verdict.area, verdict.name))
    print(report(verdicts, target=REPORT))
    return 1 if failing(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
