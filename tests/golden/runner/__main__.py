"""`python -m tests.golden.runner [FOLDER]`: play a folder of recorded cases and report."""

import sys
from pathlib import Path

from tests.golden.runner.cases import OWN, read_folder
from tests.golden.runner.report import report
from tests.golden.runner.stage import play_all

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else OWN
    cases = read_folder(folder)
    sys.exit(report(list(play_all(cases))))
