"""The program `repair` (sftlens.commands.fix.repair)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.commands import program
from sftlens.commands.fix.repair import main

if __name__ == "__main__":
    program.run_and_leave(main)
