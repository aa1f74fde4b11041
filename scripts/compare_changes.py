"""The program `compare-changes` (sftlens.commands.measure.compare_changes)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.commands import program
from sftlens.commands.measure.compare_changes import main

if __name__ == "__main__":
    program.run_and_leave(main)
