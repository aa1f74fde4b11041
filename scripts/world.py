"""`sftlens world` from a clone that is not installed (sftlens.commands.study.world)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from sftlens.cli import main

main("world")
