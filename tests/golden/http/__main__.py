"""`python -m tests.golden.http [FOLDER]`: plays the `http_*.json` of a folder, by default this one, and reports."""

import asyncio
import sys
from pathlib import Path

from tests.golden.http.playing import play_all, read
from tests.golden.runner.judging import failing
from tests.golden.runner.report import report

REPORT = Path("golden-http-report.json")


def main(arguments: list[str]) -> int:
    """Play and report."""
    cases = read(Path(arguments[0]) if arguments else Path(__file__).parent)
    verdicts = sorted(asyncio.run(play_all(cases)), key=lambda verdict: (verdict.area, verdict.name))
    print(report(verdicts, target=REPORT))
    return 1 if failing(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
